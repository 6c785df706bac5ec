"""Carries out a list of operations, each by the process and thread that it names.

    executor.py LIST token|free PAUSE_S

LIST is a file with a JSON list a line: [actor, kind, arguments…]; what they mean is in `Actor`. With
``token`` one operation is made at a time, in the order of the list, whoever makes it, with a pause
before a name changes its meaning: if that is long enough, what is resolved behind the run has then
caught up. With ``free`` every actor makes its own as fast as it can, all at once.

Names lead out of the directory that it runs in, by up to four levels at a time. Who has climbed by
more than three is brought back, so nothing happens beyond the seventh directory above.

An actor is a thread. Actors 0 and 1 are threads of one process, 2 and 3 of another; the odd ones
have a working directory of their own, and actor 3 a table of open files of its own.

Tells what was done, between an open of START and one of END: only what lies between them counts. Of
what came of it, device and inode are told, and whether an open made its file.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from tests.workloads.calls import CWD, GROUND, NAMES, call, do, quiet, says, tell

_FS, _FILES = 0x200, 0x400
_PAIRS = 2
_MOVES_NAMES = frozenset({"unlink", "rmdir", "rename", "symlink"})
_PATIENCE_S = 30
_AROUND = GROUND.rsplit(b"/", 3)[0]
"""How far an actor may climb out of the ground."""
_OPEN = {"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR, "path": os.O_PATH}


class Actor:
    """One thread with its open directories and files."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._slots: dict[int, int] = {}

    def begin(self) -> None:
        """Take on what only this thread has."""
        if self.number % 2:
            quiet("unshare", _FS | (_FILES if self.number == 3 else 0))

    def act(self, kind: str, *args: object) -> None:
        """Carry out one operation; whatever comes of it is told."""
        self._come_back()
        getattr(self, f"_{kind}")(*args)

    def _come_back(self) -> None:
        """Leave the directories that lie too far outside, or nobody knows where."""
        if not _is_near("cwd"):
            quiet("chdir", GROUND + b"/w")
        for slot, fd in list(self._slots.items()):
            if not _is_near(f"fd/{fd}"):
                del self._slots[slot]
                os.close(fd)

    # Names.

    def _base(self, slot: int | None) -> int:
        return CWD if slot is None else self._slots.get(slot, CWD)

    def _where(self, base: int, path: str, *, follow: bool = False) -> bytes | None:
        """Return the absolute path of a name, free of symlinks; None where there is no such place."""
        try:
            if path.startswith("/"):
                start = ""
            else:
                link = "/proc/thread-self/" + ("cwd" if base == CWD else f"fd/{base}")
                start = os.readlink(link)
                # Not if it was removed, or moved out of the mount that it was reached by.
                if not os.path.samefile(start, link):
                    return None
        except OSError:
            return None
        full = os.path.join(start, path)
        head, _, last = full.rpartition("/")
        directory = os.path.realpath(head or "/")
        if last in (".", ".."):
            return None  # refused, or seen through, in more ways than are worth telling
        # Every directory on the way must be there, or the kernel never came to the last name.
        if not _walks(head):
            return None
        if follow:
            try:
                os.stat(full)
            except FileNotFoundError:
                target = os.path.realpath(full)
                return (
                    os.fsencode(target)
                    if os.path.isdir(os.path.dirname(target)) and not _tangled(full)
                    else None
                )
            except OSError:
                return None
            return os.fsencode(os.path.realpath(full))
        return os.fsencode(f"{directory.rstrip('/')}/{last}")

    def _tell(
        self,
        op: str,
        path: bytes | None,
        result: int,
        source: bytes | None = None,
        files: Mapping[str, int] | None = None,
    ) -> None:
        name = "ok" if result >= 0 else NAMES[-result]
        is_text = op == "symlink"
        step = says(op, path or b"/?", None if is_text else source, name, text=source if is_text else None)
        tell(replace(step, more={"tid": threading.get_native_id(), **(files or {})}))

    def _mkdir(self, slot: int | None, path: str) -> None:
        base = self._base(slot)
        where = self._where(base, path)
        result = call("mkdirat", base, path.encode(), 0o755)
        self._tell("mkdir", where, result, files=_file(where, result))

    def _mknod(self, slot: int | None, path: str) -> None:
        base = self._base(slot)
        where = self._where(base, path)
        result = call("mknodat", base, path.encode(), 0o10600, 0)
        self._tell("mknod", where, result, files=_file(where, result))

    def _symlink(self, slot: int | None, path: str, text: str) -> None:
        base = self._base(slot)
        where = self._where(base, path)
        result = call("symlinkat", text.encode(), base, path.encode())
        self._tell("symlink", where, result, text.encode(), files=_file(where, result))

    def _link(self, slot: int | None, old: str, new: str, flags: int) -> None:
        base = self._base(slot)
        source, where = self._where(base, old, follow=bool(flags)), self._where(CWD, new)
        result = call("linkat", base, old.encode(), CWD, new.encode(), flags)
        files = _file(where, result) | _file(where, result, "source_")
        self._tell("link", where, result, source or b"/?", files)

    def _rename(self, slot: int | None, old: str, new: str, flags: int) -> None:
        base = self._base(slot)
        source, where = self._where(CWD, old), self._where(base, new)
        result = call("renameat2", CWD, old.encode(), base, new.encode(), flags)
        files = _file(where, result) | _file(source if flags & 2 else where, result, "source_")
        files["climbs"] = not {"..", "up"}.isdisjoint(f"{old}/{new}".split("/"))
        self._tell("exchange" if flags & 2 else "rename", where, result, source or b"/?", files)

    def _unlink(self, slot: int | None, path: str) -> None:
        base = self._base(slot)
        where = self._where(base, path)
        self._tell("unlink", where, call("unlinkat", base, path.encode(), 0))

    def _rmdir(self, slot: int | None, path: str) -> None:
        base = self._base(slot)
        where = self._where(base, path)
        self._tell("rmdir", where, call("unlinkat", base, path.encode(), 0x200))

    # Files.

    def _open(self, slot: int | None, path: str, access: str, flags: int, into: int) -> None:
        base = self._base(slot)
        where = self._where(base, path, follow=not flags & (os.O_EXCL | os.O_NOFOLLOW))
        absent = bool(flags & os.O_CREAT) and not self._is_there(base, path)
        fd = call("openat", base, path.encode(), _OPEN[access] | flags | os.O_NONBLOCK, 0o644)
        if fd < 0:
            self._tell("open", where, fd)
            return
        where = os.fsencode(os.readlink(f"/proc/thread-self/fd/{fd}"))
        file = os.fstat(fd)
        self._tell("open", where, fd, files={"created": absent, **_numbers(file)})
        self._close(into)
        self._slots[into] = fd

    def _is_there(self, base: int, path: str) -> bool:
        try:
            os.stat(path, dir_fd=None if base == CWD else base)
        except OSError:
            return False
        return True

    def _close(self, slot: int) -> None:
        if slot in self._slots:
            quiet("close", self._slots.pop(slot))

    def _write(self, slot: int, length: int) -> None:
        # Told by nobody: writes are sums. The disk tells whether they were seen.
        if slot in self._slots:
            call("write", self._slots[slot], b"w" * length, length)

    def _copy(self, slot: int, source: int) -> None:
        if slot in self._slots and source in self._slots:
            call("copy_file_range", self._slots[source], 0, self._slots[slot], 0, 64, 0)

    def _ftruncate(self, slot: int, length: int) -> None:
        if slot not in self._slots:
            return
        fd = self._slots[slot]
        where, file = os.fsencode(os.readlink(f"/proc/thread-self/fd/{fd}")), os.fstat(fd)
        self._tell("truncate", where, call("ftruncate", fd, length), files=_numbers(file))

    def _truncate(self, path: str, length: int) -> None:
        where = self._where(CWD, path, follow=True)
        result = call("truncate", path.encode(), length)
        self._tell("truncate", where, result, files=_file(where, result))

    def _chmod(self, slot: int | None, path: str, mode: int) -> None:
        base = self._base(slot)
        where = self._where(base, path, follow=True)
        result = call("fchmodat", base, path.encode(), mode)
        self._tell("chmod", where, result, files=_file(where, result))

    def _utime(self, slot: int | None, path: str) -> None:
        base = self._base(slot)
        where = self._where(base, path)
        result = call("utimensat", base, path.encode(), None, 0x100)
        self._tell("utime", where, result, files=_file(where, result))

    def _chdir(self, path: str) -> None:
        call("chdir", path.encode())

    def _fchdir(self, slot: int) -> None:
        call("fchdir", self._slots.get(slot, -1))


def _numbers(file: os.stat_result, prefix: str = "") -> dict[str, int]:
    return {f"{prefix}ino": file.st_ino, f"{prefix}dev": file.st_dev}


def _file(path: bytes | None, result: int, prefix: str = "") -> dict[str, int]:
    """Return what to tell of the file that a call which succeeded left under a name."""
    if result < 0 or path is None:
        return {}
    try:
        return _numbers(os.lstat(path), prefix)
    except OSError:
        return {}  # the name leads through what the call itself moved


def _is_near(link: str) -> bool:
    """Whether a link of the thread's own in /proc leads to a place that may be changed."""
    link = f"/proc/thread-self/{link}"
    try:
        place = os.readlink(os.fsencode(link))
        return place.startswith(_AROUND + b"/") and (
            place.endswith(b" (deleted)") or os.path.samefile(place, link)
        )
    except OSError:
        return False


def _walks(head: str) -> bool:
    """Whether every component of a directory's name leads somewhere."""
    try:
        return not head or (os.path.isdir(head) and bool(os.stat(head + "/.")))
    except OSError:
        return False


def _tangled(full: str) -> bool:
    """Whether a name ends in a symlink that leads nowhere by more than a missing last name."""
    for _ in range(41):
        if not os.path.islink(full):
            return False
        text = os.readlink(full)
        full = os.path.join(os.path.dirname(full), text)
        if text.endswith(("/", "/.", "..")) or not _walks(os.path.dirname(full)):
            return True
    return True


Operations = list[tuple[int, str, list[object]]]


def _serve(actor: Actor, operations: Operations, orders: int, done: int) -> None:
    """Make the operations that one is told to, until told to stop."""
    actor.begin()
    os.write(done, b"b")
    while len(order := os.read(orders, 4)) == 4:
        index = int.from_bytes(order, "little")
        if index == 0xFFFFFFFF:
            # All of one's own, as fast as they go.
            for number, kind, args in operations:
                if number == actor.number:
                    actor.act(kind, *args)
        else:
            _number, kind, args = operations[index]
            actor.act(kind, *args)
        os.write(done, b"d")


def _die(args: threading.ExceptHookArgs) -> None:
    """End the process with a thread that fails: nobody else would notice."""
    threading.__excepthook__(args)
    os._exit(1)


def _process(first: int, work: Callable[[int], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    threads = [threading.Thread(target=work, args=(number,)) for number in (first, first + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os._exit(0)


def _await(done: int) -> None:
    """Wait until an actor has done what it was told to."""
    ready, _, _ = select.select([done], [], [], _PATIENCE_S)
    if not ready or not os.read(done, 1):
        sys.exit("an actor does not answer")


def main() -> None:
    sys.setswitchinterval(1e-4)
    threading.excepthook = _die
    pause_s = float(sys.argv[3])
    with open(sys.argv[1], encoding="utf-8") as file:
        operations: Operations = [(line[0], line[1], line[2:]) for line in map(json.loads, file)]
    orders = [os.pipe() for _ in range(2 * _PAIRS)]
    done_read, done_write = os.pipe()

    def work(number: int) -> None:
        _serve(Actor(number), operations, orders[number][0], done_write)

    quiet("chdir", GROUND + b"/w")
    for pair in range(_PAIRS):
        _process(2 * pair, work)
    os.close(done_write)
    for _ in orders:
        _await(done_read)
    quiet("close", do(says("open", b"START"), "openat", CWD, GROUND + b"/START", os.O_RDONLY))
    if sys.argv[2] != "free":
        for index, (number, kind, _args) in enumerate(operations):
            if pause_s and kind in _MOVES_NAMES:
                time.sleep(pause_s)
            os.write(orders[number][1], index.to_bytes(4, "little"))
            _await(done_read)
    else:
        for _read, write in orders:
            os.write(write, b"\xff" * 4)
        for _ in orders:
            _await(done_read)
    quiet("close", do(says("open", b"END"), "openat", CWD, GROUND + b"/END", os.O_RDONLY))
    for _read, write in orders:
        os.write(write, b"x")
    for _ in range(_PAIRS):
        os.wait()


if __name__ == "__main__":
    main()
