"""Working directories: strace shows them with some calls only, and /proc too late to be believed alone."""

from __future__ import annotations

import pytest

from tests.unit.strace_lines import events
from writeaudit.capture.strace_state import NoHost
from writeaudit.events import Operand

_MADE = b'mkdir("n", 0700) = 0'


class Disk(NoHost):
    """A host on which directories have their names, and the one process its directory."""

    def __init__(self, now: bytes | None = None, **links: bytes) -> None:
        self.now = now
        self._links = {b"/w/" + name.encode(): target for name, target in links.items()}

    def cwd(self, tid: int) -> bytes | None:
        return self.now

    def real_path(self, path: bytes) -> bytes | None:
        return self._links.get(path, path)


def named(*calls: bytes, host: NoHost | None = None) -> list[Operand]:
    """Return the operands of all events but renames and removals of others."""
    found = events(*calls, **({} if host is None else {"host": host}))
    return [event.path for event in found if event.path.name is None or event.path.name.endswith(b"n")]


def test_what_proc_and_the_disk_agree_about_is_known() -> None:
    assert named(b'chdir("d") = 0', _MADE, host=Disk(b"/w/d")) == [Operand(b"/w/d", b"n")]
    assert named(b'chdir("l") = 0', _MADE, host=Disk(b"/w/d", l=b"/w/d")) == [Operand(b"/w/d", b"n")]


@pytest.mark.parametrize(
    ("calls", "base", "name"),
    [
        ([b'chdir("l") = 0'], b"/w", b"l/n"),
        ([b'chdir("l") = 0', b'chdir("..") = 0'], b"/w", b"l/../n"),
        ([b'chdir("d") = 0', b'chdir("/w/l") = 0', b'chdir("e") = 0'], b"/", b"/w/l/e/n"),
        ([b'chdir("/d") = -1 ENOENT (No such file or directory)', b'chdir("l") = 0'], b"/w", b"l/n"),
    ],
)
@pytest.mark.parametrize("now", [None, b"/later"])
def test_what_they_do_not_agree_about_is_looked_up_by_its_name(
    calls: list[bytes], base: bytes, name: bytes, now: bytes | None
) -> None:
    # The process is gone, or has another directory by now; whose symlinks held then, the resolver knows.
    assert named(*calls, _MADE, host=Disk(now, l=b"/w/d")) == [Operand(base, name)]


def test_a_directory_that_strace_shows_is_known_from_there_on() -> None:
    lost, shown, after = named(
        b'chdir("l") = 0',
        _MADE,
        b'mkdirat(AT_FDCWD</real>, "n", 0700) = 0',
        _MADE,
    )
    assert lost == Operand(b"/w", b"l/n")
    assert shown == after == Operand(b"/real", b"n")


def test_threads_and_children_go_on_from_there() -> None:
    child = [b"10 6.000001 fork() = 11 <0.000001>", b'11 6.000002 mkdir("n", 0700) = 0 <0.000001>']
    assert named(b'chdir("l") = 0', *child) == [Operand(b"/w", b"l/n")]


@pytest.mark.parametrize(
    "call",
    [
        b'rename("l", "x") = 0',
        b'renameat2(AT_FDCWD</w>, "x", AT_FDCWD</w>, "l", RENAME_EXCHANGE) = 0',
        b'unlink("/w/l") = 0',
        b'unlinkat(3</w>, "l", 0) = 0',
        b'rmdir("/w/l/../d/") = 0',
        b'rmdir(".") = 0',
        b'mount("tmpfs", "/w/d", "tmpfs", 0, NULL) = 0',
    ],
)
def test_names_that_were_taken_away_since_lead_nowhere(call: bytes) -> None:
    other = b"10 6.000001 fork() = 11 <0.000001>", b"11 6.000002 " + call + b" <0.000001>"
    (made,) = named(*other[:1], b'chdir("l") = 0', *other[1:], _MADE, host=Disk(None, l=b"/w/d"))
    assert made.guessed
    # Only a name from the root is better then.
    again = b'chdir("m") = 0', _MADE, b'chdir("/a") = 0', _MADE
    *_, below, rooted = named(*other[:1], b'chdir("l") = 0', *other[1:], *again, host=Disk(None, l=b"/w/d"))
    assert below.guessed
    assert rooted == Operand(b"/", b"/a/n")


@pytest.mark.parametrize(
    "call",
    [
        b'unlink("elsewhere") = 0',
        b'unlink("l") = -1 EACCES (Permission denied)',
        b'rename("/tmp/a", "/tmp/b") = 0',
        b'mkdir("/w/q", 0700) = 0',
    ],
)
def test_other_names_may_be_taken_away(call: bytes) -> None:
    assert named(b'chdir("l") = 0', call, _MADE, host=Disk(None, l=b"/w/d")) == [Operand(b"/w", b"l/n")]


def test_what_was_moved_out_of_its_mount_reads_as_the_root() -> None:
    shown, after = named(b'mkdirat(AT_FDCWD</>, "n", 0700) = 0', _MADE)
    for made in (shown, after):
        assert (made.base, made.name, made.guessed, made.truncated) == (b"/w", b"n", True, True)
    (made,) = named(b'openat(AT_FDCWD</>, "n", O_WRONLY|O_CREAT, 0600) = 3</>')
    assert (made.base, made.name, made.truncated) == (b"/w", b"n", True)
    (read,) = named(b'openat(AT_FDCWD</w>, "link", O_RDONLY|O_DIRECTORY) = 3</>')
    assert (read.base, read.name, read.truncated) == (b"/", None, False)
    # A chdir from there cannot be looked up either.
    (below,) = named(b'chdir("../d") = 0', _MADE, host=Disk(b"/"))
    assert below.guessed


def test_the_root_itself_is_no_riddle() -> None:
    went = named(b'chdir("/") = 0', b'mkdirat(AT_FDCWD</>, "n", 0700) = 0', _MADE, host=Disk(b"/"))
    assert went == [Operand(b"/", b"n")] * 2
    by_name = named(b'chdir("/") = 0', b'mkdirat(AT_FDCWD</>, "n", 0700) = 0', _MADE)
    assert by_name == [Operand(b"/", b"n")] * 2


def test_an_open_directory_that_was_moved_out_of_its_mount() -> None:
    opened = b'openat(AT_FDCWD</w>, "d", O_RDONLY|O_DIRECTORY) = 3</w/d>'
    assert named(opened, b'mkdirat(3</>, "n", 0700) = 0')[-1].guessed
    root = b'openat(AT_FDCWD</w>, "/", O_RDONLY|O_DIRECTORY) = 3</>'
    assert not named(root, b'mkdirat(3</>, "n", 0700) = 0')[-1].guessed


def test_a_chdir_through_proc_leads_where_the_descriptor_does() -> None:
    opened = b'openat(AT_FDCWD</w>, "d", O_RDONLY|O_DIRECTORY) = 3</w/d>'
    assert named(opened, b'chdir("/proc/self/fd/3") = 0', _MADE)[-1] == Operand(b"/w/d", b"n")


def test_the_link_of_proc_to_the_working_directory_is_no_better_known_than_that() -> None:
    made = b'mkdir("/proc/self/cwd/n", 0700) = 0'
    assert named(b'chdir("d") = 0', made, host=Disk(b"/w/d")) == [Operand(b"/w/d", b"n")]
    assert named(b'chdir("l") = 0', made) == [Operand(b"/w", b"l/n")]
    assert named(b'chdir("l") = 0', b'rename("l", "x") = 0', made)[-1].guessed
    assert named(b'chdir("in") = 0', b'chmod("/proc/self/cwd", 0700) = 0') == [Operand(b"/w", b"in")]


@pytest.mark.parametrize(
    ("call", "base", "name"),
    [
        (b'rename("/w/e", "f") = 0', b"/w/f/d", b"n"),
        (b'rename("e/", "f/") = 0', b"/w/f/d", b"n"),
        (b'rename("e", "up/f") = 0', b"/w", b"up/f/d/n"),
        (b'rename("e", "/w/up/f") = 0', b"/", b"/w/up/f/d/n"),
        (b'renameat2(AT_FDCWD</w>, "e", AT_FDCWD</w>, "f", RENAME_EXCHANGE) = 0', b"/w/f/d", b"n"),
        (b'renameat2(AT_FDCWD</w>, "up/f", AT_FDCWD</w>, "e", RENAME_EXCHANGE) = 0', b"/w", b"up/f/d/n"),
        (b'rename("/x/e", "/x/f") = 0', b"/w/e/d", b"n"),
        (b'rename("e", "f") = -1 EACCES (Permission denied)', b"/w/e/d", b"n"),
    ],
)
def test_a_directory_that_was_renamed_goes_on_by_its_new_name(call: bytes, base: bytes, name: bytes) -> None:
    fork = b"10 6.000001 fork() = 11 <0.000001>"
    entered = b"11 6.000002 fchdir(3</w/e/d>) = 0 <0.000001>"
    after = b'11 6.000004 mkdir("n", 0700) = 0 <0.000001>'
    host = Disk(b"/w/e/d") if b'"/x/' in call else None
    assert named(fork, entered, call, after, host=host)[-1] == Operand(base, name)


@pytest.mark.parametrize("now", [None, b"/w/f/d"])
def test_a_directory_that_may_have_been_renamed_by_another_of_its_paths(now: bytes | None) -> None:
    # /w/up may be a symlink to /w.
    moved = b'rename("/w/up/e", "/w/up/f") = 0'
    (made,) = named(b"fchdir(3</w/e/d>) = 0", moved, _MADE, host=Disk(now, up=b"/w"))
    assert made.guessed
