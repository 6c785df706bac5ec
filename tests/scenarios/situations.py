"""Situations that people report bugs about, and what the right answer to each is.

`docs/reports.md` is made of this table (``python -m tests.scenarios.situations``), and
`test_situations.py` plays each of them with real mounts, under each backend: ``command`` raises the rule and
says the words, ``quiet`` does the same thing in a healthy way and stays silent.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reports.md"


@dataclass(frozen=True)
class Situation:
    """One situation. In commands and zones ``{name}`` stands for a directory of the stage."""

    key: str
    what: str
    """The situation, for the page."""
    rule: str
    says: str
    """Words that the summary must hold; ``…`` stands for anything."""
    why: str
    """Why that is the right answer."""
    command: str
    """For sh."""
    quiet: str
    """Stays silent."""
    zones: tuple[str, ...] = ("work={here}:rw", "other={other}:rw", "bound={bound}:rw")
    needs: str = ""
    """A program that must be there."""
    status: int | None = 0
    """None: not looked at."""


_LANDLOCK = (
    "import ctypes, os, struct; c = ctypes.CDLL(None); "
    'fd = c.syscall(444, ctypes.c_char_p(struct.pack("Q", 1 << 6 | 1 << 11)), ctypes.c_size_t(8), 0); '
    "c.prctl(38, 1, 0, 0, 0); c.syscall(446, fd, 0); "
)

SITUATIONS = (
    Situation(
        "move-to-another-disk",
        "`mv` moves a file to another file system.",
        "WA111",
        "1 rename from … was refused with EXDEV; 1 file (… was copied instead",
        "The command looks like a rename and is a copy: both mounts and the bytes are named.",
        "echo x > {here}/f && mv {here}/f {other}/f",
        "echo x > {here}/f && mv {here}/f {here}/g",
    ),
    Situation(
        "rename-is-fatal",
        "A program renames a file onto another mount, and has no other way.",
        "WA111",
        "The command failed (exit status 1), most likely because the rename from … was refused with "
        "EXDEV, as these "
        "lie on two mounts",
        "The first sentence says that the command failed, and of what; it was the last thing that it tried.",
        'echo x > {here}/f && exec python3 -c \'import os; os.rename("{here}/f", "{other}/f")\'',
        'echo x > {here}/f && exec python3 -c \'import os; os.rename("{here}/f", "{here}/g")\'',
        status=1,
    ),
    Situation(
        "rename-across-a-bind-mount",
        "Two directories of one disk, one of them seen through a bind mount.",
        "WA112",
        "rename refused: same device, different mounts",
        "`stat` and `df` show one file system, so the user looks in the wrong place; only the mounts differ.",
        "echo x > {here}/f && mv {here}/f {bound}/f",
        "echo x > {bound}/f && mv {bound}/f {bound}/g",
    ),
    Situation(
        "landlock",
        "A sandbox without the right LANDLOCK_ACCESS_FS_REFER refuses a hard link within one mount.",
        "WA113",
        "refused with EXDEV, probably by Landlock (landlock_restrict_self was called by `python3",
        "One mount, so mounts and project ids are not the reason; the call that set up the sandbox was seen.",
        "mkdir -p {here}/a {here}/b; echo x > {here}/a/f; exec python3 -c '"
        + _LANDLOCK
        + 'os.execlp("sh", "sh", "-c", "ln {here}/a/f {here}/b/f 2>&-; cp {here}/a/f {here}/b/f")\'',
        "mkdir -p {here}/a {here}/b; echo x > {here}/a/f; ln {here}/a/f {here}/b/f",
    ),
    Situation(
        "two-binds-of-a-sandbox",
        "bubblewrap binds cache and project one by one; outside, both lie on one disk.",
        "WA112",
        "1 rename from `…/here/src` (… to `…/here/work` (… was refused with EXDEV",
        "The kernel asks the mounts of the process: for it they are two, though the host shows one.",
        "echo x > {here}/src/f; bwrap --dev-bind / / --bind {here}/src {here}/src --bind {here}/work "
        "{here}/work "
        # Long enough for its mounts to be read: those of a process that is gone are not known.
        "sh -c 'sleep 0.5; mv {here}/src/f {here}/work/f'",
        "echo x > {here}/src/f; "
        "bwrap --dev-bind / / --bind {here} {here} sh -c 'sleep 0.5; mv {here}/src/f {here}/work/f'",
        needs="bwrap",
        status=None,
    ),
    Situation(
        "one-link-for-the-whole-run",
        "An installer tries one hard link, is refused, and copies every file of every package.",
        "WA101",
        "1 hard link from … was refused with EXDEV; 6 files (… were copied instead",
        "The one refused link stands for all that the same process copied between the same two mounts.",
        "exec python3 {here}/install.py {here}/store {other}",
        "exec python3 {here}/install.py {here}/store {here}/target",
    ),
    Situation(
        "who-may-write",
        "A cache belongs to root, and the command runs as somebody else.",
        "WA205",
        "was refused with EACCES, as the directory … belongs to root:root, mode 0755",
        "Owner, mode and user in one sentence: nobody has to look them up on a machine that is gone.",
        "setpriv --reuid=65534 --clear-groups mkdir {here}/roots/x; true",
        "mkdir {here}/roots/x",
    ),
    Situation(
        "cache-turned-off",
        "A program asks whether it may write its cache, and goes on without it.",
        "WA205",
        "asked beforehand",
        "No open fails, and the run is clean; the question itself is what explains why everything is "
        "downloaded again.",
        "setpriv --reuid=65534 --clear-groups test -w {here}/roots; true",
        "test -w {here}/roots",
    ),
    Situation(
        "temporary-directory-full",
        "TMPDIR is a small tmpfs and fills up, while the disks are empty.",
        "WA205",
        "refused with ENOSPC, as … (tmpfs, 1.0 MiB in all",
        "The user looks at the disk; the file system that is full is named, with its size.",
        "head -c 2000000 /dev/zero > {other}/wheel; true",
        "head -c 200000 /dev/zero > {other}/wheel",
    ),
    Situation(
        "edited-through-a-link",
        "Somebody edits an installed file that is a hard link into the cache, made long ago; the cache "
        "may be written.",
        "WA307",
        "1 file with other names was changed in place: … is also `…/cache/six.py`",
        "Every other environment gets the edit, though nothing was written in the cache.",
        "echo edit >> {venv}/six.py",
        "echo edit > {venv}/new && mv {venv}/new {venv}/six.py",
        ("cache={cache}:rw", "venv={venv}:rw"),
    ),
    Situation(
        "protected-cache-edited",
        "The same, with a cache that may not change.",
        "WA301",
        "1 path of zone cache was changed through a hard link",
        "The policy protects the file, not one of its names: an error.",
        "echo edit >> {venv}/six.py",
        "echo edit > {venv}/new && mv {venv}/new {venv}/six.py",
        ("cache={cache}:ro", "venv={venv}:rw"),
        status=100,
    ),
    Situation(
        "renamed-directory-above-a-link",
        "A link into the cache, below a directory that is renamed before the file is edited.",
        "WA301",
        "1 path of zone cache was changed through a hard link",
        "The name under which the link was made is gone; the file is still the cache's.",
        "mkdir {venv}/old; ln {cache}/six.py {venv}/old/l; mv {venv}/old {venv}/new; echo edit >> "
        "{venv}/new/l",
        "mkdir {venv}/old; cp {cache}/six.py {venv}/old/l; mv {venv}/old {venv}/new; echo edit >> "
        "{venv}/new/l",
        ("cache={cache}:ro", "venv={venv}:rw"),
        status=100,
    ),
    Situation(
        "link-into-a-protected-cache",
        "The run links its own file into a protected cache, and overwrites it afterwards.",
        "WA301",
        "1 path of zone cache was changed through a hard link",
        "The entry of the cache changed with it, after it was checked, say.",
        "echo good > {venv}/o; ln {venv}/o {cache}/k; echo bad > {venv}/o",
        "echo good > {venv}/o; echo bad > {venv}/o",
        ("cache={cache}:ro", "venv={venv}:rw"),
        status=100,
    ),
    Situation(
        "startup-file",
        "An install script appends to a shell's start file.",
        "WA206",
        "file that starts programs or grants access changed: start files of shells",
        "Such a file runs a program later; it stands first, with the program that wrote it.",
        "echo evil >> {here}/home/.bashrc",
        "echo text >> {here}/home/notes",
        ("work={here}/work:rw",),
        status=None,
    ),
    Situation(
        "setuid-in-a-writable-zone",
        "A package makes a set-user-ID program in its own directory.",
        "WA304",
        "1 file was given rights of its own",
        "The place may be written, so no zone objects; who starts the program gets the owner's rights.",
        "cp /bin/true {here}/s; chmod 4755 {here}/s",
        "cp /bin/true {here}/s; chmod 755 {here}/s",
    ),
    Situation(
        "shared-cache-closed",
        "A cache that a group shares, and a run with umask 077 that fills it.",
        "WA303",
        "1 entry of the shared cache … cannot be read by its group",
        "The others' runs fail, or fetch everything again, and nobody knows since when.",
        "chmod 2775 {cache}; echo x > {cache}/entry; chmod 600 {cache}/entry",
        "chmod 2775 {cache}; echo x > {cache}/entry; chmod 664 {cache}/entry",
        ("cache={cache}:rw", "venv={venv}:rw"),
    ),
    Situation(
        "world-writable",
        "A directory is made that everybody may write to.",
        "WA302",
        "1 path may be written by every user",
        "Any user of the machine can change what is run from there.",
        "mkdir {here}/d; chmod 777 {here}/d",
        "mkdir {here}/d; chmod 1777 {here}/d",
    ),
    Situation(
        "program-overwritten",
        "`cp` writes a new version of a program into the old one's file.",
        "WA305",
        "1 program or library was overwritten in place",
        "Whoever runs it meanwhile gets half of each; a rename would have been safe.",
        "cat {here}/install.sh > {here}/tool.sh",
        "cp {here}/install.sh {here}/new; mv {here}/new {here}/tool.sh",
    ),
    Situation(
        "library-search-path",
        "A build leaves the path of its build directory in a library.",
        "WA306",
        "unsafe ELF file: with a R…PATH into a build or home directory",
        "Whoever can write to that directory on a user's machine runs code in every program that loads "
        "the library.",
        "gcc -shared -nostdlib -Wl,-rpath,/build/lib -o {here}/x.so -x c /dev/null",
        "gcc -shared -nostdlib -Wl,-rpath,\\$ORIGIN -o {here}/x.so -x c /dev/null",
        needs="gcc",
    ),
    Situation(
        "library-cut-off",
        "A library is cut off after its first bytes (a download that broke off).",
        "WA306",
        "unsafe ELF file: cannot be parsed",
        "A note, and no error of writeaudit's own: such files are made to confuse, too.",
        "printf '\\177ELF\\2\\1\\1' > {here}/x.so",
        "cp /bin/true {here}/x.so",
    ),
    Situation(
        "symlinks-into-the-cache",
        "A link mode `symlink`: the environment consists of symlinks into the cache.",
        "WA106",
        "1 symlink leads into the cache",
        "When the cache is cleaned, what was installed is gone.",
        "ln -s {cache}/six.py {venv}/link.py",
        "cp {cache}/six.py {venv}/link.py",
        ("cache={cache}:rw", "venv={venv}:rw"),
    ),
    Situation(
        "left-behind",
        "A build leaves its temporary directory behind.",
        "WA401",
        "1 temporary path is still there",
        "It stays in the image, or fills the disk in the end.",
        "mkdir {other}/build && echo x > {other}/build/o",
        "mkdir {other}/build && echo x > {other}/build/o && rm -r {other}/build",
        ("tmp={other}:rw",),
    ),
    Situation(
        "lock-in-a-read-only-zone",
        "A tool that only reads its cache takes a lock in it.",
        "WA402",
        "1 lock file of zone cache was opened for writing",
        "Nothing changes; on a read-only mount the tool would fail there.",
        "exec 9>>{cache}/.lock; cat {cache}/six.py",
        "cat {cache}/six.py",
        ("cache={cache}:ro", "venv={venv}:rw"),
        status=None,
    ),
    Situation(
        "daemon",
        "The command leaves a process behind.",
        "WA904",
        "1 process still ran when the audit ended: `sleep 30`",
        "The number of a process is of no use once it is gone: its program is named, and `--linger`.",
        "setsid sleep 30 </dev/null >/dev/null 2>&1 & exit 0",
        "sleep 0.1 & wait",
        status=101,
    ),
    Situation(
        "failed-for-another-reason",
        "A refusal that the program lives with, and a failure of something else.",
        "WA205",
        "The command failed (exit status 3), and the system refused",
        "A process that goes on to do a lot after a refusal did not fail of it: none is blamed.",
        "mkdir {sealed}/x 2>&-; for i in 1 2 3 4 5 6 7 8 9 10; do echo > {here}/$i; done; exit 3",
        "for i in 1 2 3 4 5 6 7 8 9 10; do echo > {here}/$i; done; exit 3",
        ("work={here}:rw", "sealed={sealed}:rw"),
        status=3,
    ),
)


def page() -> str:
    """Return the text of docs/reports.md."""
    rows = "".join(
        f"| {each.what} | [{each.rule}](rules/{each.rule}.md): {each.says} | {each.why} |\n"
        for each in SITUATIONS
    )
    return (
        "# What writeaudit says, and why\n\n"
        "Situations from bug reports about installers, the answer to each, and why it is the right one. "
        "The table is made\n"
        "of the scenario tests (`tests/scenarios/situations.py`), which play each situation with real "
        "mounts under each\n"
        "backend: `python -m tests.scenarios.situations` writes this page. `…` stands for names and "
        "figures of the run.\n\n"
        "| situation | what writeaudit says | why that is right |\n| --- | --- | --- |\n" + rows
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")
