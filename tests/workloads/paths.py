"""Names and places that a path can hide behind."""

from __future__ import annotations

import os

from tests.workloads.calls import CWD, GROUND, do, here, quiet, says

_COMPONENT = b"p" * 200


def make(path: bytes, name: bytes, base: int = CWD) -> None:
    do(says("mkdir", path), "mkdirat", base, name, 0o755)


def create(path: bytes, name: bytes, base: int = CWD) -> None:
    step = says("open", path, access="w", flags="creat", created=True)
    quiet("close", do(step, "openat", base, name, os.O_CREAT | os.O_WRONLY, 0o600))


def odd_bytes() -> None:
    for name in (
        b"new\nline", b"tab\there", b"\x1b[31mred\x1b[0m", b"\xff\xfe not utf-8", "schön".encode(),
        b'"quoted" \\ back\\012slash', b"<b>&amp;", b" leading", b"trailing ", b"(deleted)", b"x (deleted)",
        b"-> arrow", b"comma, paren) = 3", b"n" * 255, b"...", b"..x", b"\x01", b"a\x7fb", b"%s%n", b"]>",
        b"~", b"#12", b"\\n",
    ):  # fmt: skip
        create(name, name)
        do(says("rename", b"r", name), "rename", name, b"r")
        do(says("symlink", name, text=name + b"*"), "symlink", name + b"*", name)
        do(says("unlink", name), "unlink", name)
        do(says("unlink", b"r"), "unlink", b"r")
        make(name, name)
        fd = do(says("open", name, access="r"), "openat", CWD, name, os.O_RDONLY | os.O_DIRECTORY)
        create(name + b"/" + name, name, fd)
        do(says("chmod", name + b"/" + name), "fchmodat", fd, name, 0o644)
        quiet("close", fd)
    do(says("mkdir", b"n" * 256, result="ENAMETOOLONG"), "mkdir", b"n" * 256, 0o700)


def very_long() -> None:
    """Down to where no path of PATH_MAX bytes can reach."""
    here_now = GROUND
    for depth in range(30):
        name = b"%02d" % depth + _COMPONENT
        here_now += b"/" + name
        make(here_now, name)
        quiet("chdir", name)
    create(here_now + b"/deep", b"deep")
    do(says("rename", here_now + b"/deeper", here_now + b"/deep"), "rename", b"deep", b"deeper")
    fd = do(says("open", here_now + b"/deeper", access="w"), "openat", CWD, b"deeper", os.O_WRONLY)
    do(says("write", here_now + b"/deeper", bytes=4, calls=1), "write", fd, b"deep", 4)
    quiet("close", fd)
    long_name = b"./" * 2040 + b"via-dots"
    create(here_now + b"/via-dots", long_name)
    # As much of the name as can be read: "." after "." after "."
    too_long = b"./" * 2100 + b"too-long"
    do(says("open", here_now, result="ENAMETOOLONG"),
       "openat", CWD, too_long, os.O_CREAT | os.O_WRONLY, 0o600)  # fmt: skip
    quiet("chdir", GROUND)


def removed_cwd() -> None:
    make(b"cwd", b"cwd")
    quiet("chdir", b"cwd")
    do(says("rmdir", b"cwd"), "rmdir", here(b"cwd"))
    do(says("open", b"cwd/x", result="ENOENT"), "openat", CWD, b"x", os.O_CREAT | os.O_WRONLY, 0o600)
    do(says("mkdir", b"cwd/y", result="ENOENT"), "mkdir", b"y", 0o700)
    quiet("chdir", GROUND)
    make(b"moved-cwd", b"moved-cwd")
    quiet("chdir", b"moved-cwd")
    do(says("rename", b"now-here", b"moved-cwd"), "rename", here(b"moved-cwd"), here(b"now-here"))
    create(b"now-here/x", b"x")
    create(b"dot-dot", b"../dot-dot")
    quiet("chdir", GROUND)


def symlinked() -> None:
    make(b"a", b"a")
    make(b"a/b", b"a/b")
    make(b"a/b/c", b"a/b/c")
    do(says("symlink", b"l1", text=b"a/b"), "symlink", b"a/b", b"l1")
    do(says("symlink", b"a/l2", text=b"../l1/c"), "symlink", b"../l1/c", b"a/l2")
    do(says("symlink", b"l3", text=here(b"a/l2")), "symlink", here(b"a/l2"), b"l3")
    make(b"a/b/c/made", b"l3/made")
    make(b"a/b/dotdot", b"l3/../dotdot")
    make(b"a/b/c/slash", b"l1//.//c/./slash/")
    do(says("rename", b"a/b/renamed", b"a/b/c/made"), "rename", b"a/l2/made", b"l1/renamed")
    do(says("link", b"a/linked", b"a/b/file", result="ENOENT"), "link", b"l1/file", b"a/linked")
    create(b"a/b/file", b"l1/file")
    do(says("link", b"a/b/c/linked", b"a/b/file"), "link", b"l1/file", b"l3/linked")
    # The link is put elsewhere between two calls that go through it.
    make(b"other", b"other")
    do(says("unlink", b"l1"), "unlink", b"l1")
    do(says("symlink", b"l1", text=b"other"), "symlink", b"other", b"l1")
    make(b"other/x", b"l1/x")
    do(says("symlink", b"l4", text=b"a/b"), "symlink", b"a/b", b"l4")
    do(says("rename", b"l1", b"l4"), "rename", b"l4", b"l1")
    make(b"a/b/x", b"l1/x")
    do(says("exchange", b"a", b"other"), "renameat2", CWD, b"other", CWD, b"a", 2)
    do(says("mkdir", b"other/b/y"), "mkdir", b"other/b/y", 0o700)
    quiet("chdir", b"other/b/c")
    make(b"other/b/via-cwd", b"../via-cwd")
    quiet("chdir", GROUND)


def main() -> None:
    odd_bytes()
    very_long()
    removed_cwd()
    symlinked()


if __name__ == "__main__":
    main()
