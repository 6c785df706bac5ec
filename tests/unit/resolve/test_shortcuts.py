"""The short ways of the resolver answer as the long way does, and as it was."""

from __future__ import annotations

import os
import random
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from writeaudit.events import OK, Access, Certainty, FsEvent, Op, Operand, RawEvent
from writeaudit.resolve.resolver import Resolver
from writeaudit.resolve.shortcuts import Shortcuts

_RUNS, _STEPS = 12, 100


class _Truth(NamedTuple):
    """What really happened: paths, and which file it was."""

    path: bytes
    source: bytes | None
    ino: int | None


class _Command:
    """Does things in a directory at random, and says of them what the kernel side would."""

    def __init__(self, directory: Path, seed: int) -> None:
        self._random = random.Random(seed)
        self._top = os.fsencode(directory)
        self._names = [b"a", b"b", b"c", b"d", b"e", b"f"]
        self._directories = [self._top]
        self._mount = next(
            int(line.split()[0])
            for line in Path("/proc/self/mountinfo").read_text().splitlines()[::-1]
            if os.fsdecode(self._top).startswith(line.split()[4])
            and os.stat(line.split()[4]).st_dev == os.stat(directory).st_dev
        )

    def step(self) -> tuple[RawEvent, _Truth] | None:
        """Do one thing; None if nothing came of it that would be told."""
        do = self._random.choice(
            [self._create, self._create, self._link, self._link, self._rename, self._rename, self._unlink,
             self._write, self._chmod, self._mkdir, self._move_directory, self._symlink]
        )  # fmt: skip
        return do()

    def _name(self) -> bytes:
        return os.path.join(self._random.choice(self._directories), self._random.choice(self._names))

    def _named(self, path: bytes) -> Operand:
        if self._random.random() < 0.3:
            return Operand(os.path.dirname(path), os.path.basename(path), mount=self._mount)
        return Operand(b"/", path)

    def _file(self, path: bytes) -> Operand | None:
        try:
            found = os.lstat(path)
        except OSError:
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        return Operand(
            path, None, mount=self._mount, dev=found.st_dev, ino=found.st_ino, fmt=stat.S_IFREG,
            nlink=found.st_nlink,
        )  # fmt: skip

    def _told(
        self, op: Op, path: Operand, truth: _Truth, error: OSError | None, **more: Any
    ) -> tuple[RawEvent, _Truth]:
        result = (
            OK
            if error is None
            else {1: "EPERM", 2: "ENOENT", 17: "EEXIST", 21: "EISDIR", 39: "ENOTEMPTY"}.get(
                error.errno or 0, "EINVAL"
            )
        )
        told = RawEvent(time.monotonic_ns(), 7, 7, op, result, path, follow=False, lasted_ns=1000)
        return told._replace(**more), truth

    def _try(self, do: Callable[[], object]) -> OSError | None:
        try:
            do()
        except OSError as error:
            return error
        return None

    def _create(self) -> tuple[RawEvent, _Truth] | None:
        path = self._name()
        made = not os.path.lexists(path)
        if not made:
            return None
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        file = self._file(path)
        assert file is not None
        truth = _Truth(path, None, file.ino)
        flags = ("creat", "excl")
        return self._told(
            Op.OPEN, file, truth, None, access=Access.WRITE, flags=flags, created=True, mode=0o600
        )

    def _link(self) -> tuple[RawEvent, _Truth]:
        path, source = self._name(), self._name()
        error = self._try(lambda: os.link(source, path, follow_symlinks=False))
        ino = os.lstat(path).st_ino if error is None else None
        return self._told(
            Op.LINK, self._named(path), _Truth(path, source, ino), error, source=self._named(source)
        )

    def _rename(self) -> tuple[RawEvent, _Truth] | None:
        path, source = self._name(), self._name()
        if os.path.isdir(source) or os.path.isdir(path):
            return None
        ino = os.lstat(source).st_ino if os.path.lexists(source) else None
        error = self._try(lambda: os.rename(source, path))
        return self._told(
            Op.RENAME, self._named(path), _Truth(path, source, ino), error, source=self._named(source)
        )

    def _unlink(self) -> tuple[RawEvent, _Truth]:
        path = self._name()
        error = self._try(lambda: os.unlink(path))
        return self._told(Op.UNLINK, self._named(path), _Truth(path, None, None), error)

    def _write(self) -> tuple[RawEvent, _Truth] | None:
        file = self._file(self._name())
        if file is None or file.base is None:
            return None
        return self._told(Op.WRITE, file, _Truth(file.base, None, file.ino), None, bytes=1, calls=1)

    def _chmod(self) -> tuple[RawEvent, _Truth] | None:
        file = self._file(self._name())
        if file is None or file.base is None:
            return None
        return self._told(Op.CHMOD, file, _Truth(file.base, None, file.ino), None, mode=0o600)

    def _mkdir(self) -> tuple[RawEvent, _Truth]:
        path = self._name()
        error = self._try(lambda: os.mkdir(path))
        if error is None:
            self._directories.append(path)
        ino = os.lstat(path).st_ino if error is None else None
        return self._told(Op.MKDIR, self._named(path), _Truth(path, None, ino), error, mode=0o777)

    def _move_directory(self) -> tuple[RawEvent, _Truth] | None:
        source, path = self._random.choice(self._directories), self._name()
        if source == self._top or path.startswith(source) or os.path.lexists(path):
            return None
        ino = os.lstat(source).st_ino
        os.rename(source, path)
        self._directories = [
            path + other[len(source) :] if other == source or other.startswith(source + b"/") else other
            for other in self._directories
        ]
        truth = _Truth(path, source, ino)
        return self._told(Op.RENAME, Operand(b"/", path), truth, None, source=Operand(b"/", source))

    def _symlink(self) -> tuple[RawEvent, _Truth]:
        path = self._name()
        error = self._try(lambda: os.symlink(b"a", path))
        truth = _Truth(path, b"a", os.lstat(path).st_ino if error is None else None)
        return self._told(Op.SYMLINK, self._named(path), truth, error, target_text=b"a")


class _Run:
    """A resolver, and what it makes of events in the end."""

    def __init__(self, directory: Path, *, asks: int) -> None:
        self.resolver = Resolver()
        self.resolver._shortcuts.asks = asks
        self.resolver.look_at([os.fsencode(directory)])
        self.events: list[FsEvent] = []

    def take(self, *told: RawEvent) -> None:
        self.resolver.look_ahead(told)
        for raw in told:
            self.events.append(self.resolver.resolve_event(raw))
            self._correct()

    def end(self) -> list[FsEvent]:
        self.resolver._ask_of_links()
        self._correct()
        self.resolver.close()
        return self.events

    def _correct(self) -> None:
        for seq in self.resolver.take_doubtful():
            self.events[seq - 1] = self.events[seq - 1]._replace(certainty=Certainty.LEXICAL)
        for seq, dev, ino, fmt in self.resolver.take_identified():
            self.events[seq - 1] = self.events[seq - 1]._replace(
                dev=dev, ino=ino, source_dev=dev, source_ino=ino, fmt=fmt
            )
        for seq in self.resolver.take_unidentified():
            self.events[seq - 1] = self.events[seq - 1]._replace(
                ino=None, source_ino=None, source_dev=None, fmt=None
            )


def _without_file(event: FsEvent) -> FsEvent:
    return event._replace(dev=None, ino=None, source_dev=None, source_ino=None, fmt=None)


@pytest.mark.parametrize("asks", [0, 3, 1000])
@pytest.mark.parametrize("seed", range(_RUNS))
def test_events_that_come_at_once_are_resolved_as_on_the_long_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, asks: int
) -> None:
    command = _Command(tmp_path, seed)
    short, long = _Run(tmp_path, asks=asks), _Run(tmp_path, asks=asks)
    taken = 0
    resolve = Shortcuts.resolve_plainly

    def counting(self: Shortcuts, raw: RawEvent, seq: int) -> FsEvent | None:
        nonlocal taken
        if self is long.resolver._shortcuts:
            return None
        event = resolve(self, raw, seq)
        taken += event is not None
        return event

    monkeypatch.setattr(Shortcuts, "resolve_plainly", counting)
    told: list[tuple[RawEvent, _Truth]] = []
    for _ in range(_STEPS):
        if (step := command.step()) is not None:
            told.append(step)
            short.take(step[0])
            long.take(step[0])
    quick, slow = short.end(), long.end()
    assert list(map(_without_file, quick)) == list(map(_without_file, slow))
    for one, other in zip(quick, slow, strict=True):
        # Whether a link's name still stood for its file when it was asked, is another matter.
        assert one.ino == other.ino or (one.op is Op.LINK and one.ino is None), (one, other)
    assert taken > 3


@pytest.mark.parametrize("every", [5, _STEPS])
@pytest.mark.parametrize("seed", range(_RUNS))
def test_events_that_come_late_are_never_wrong(tmp_path: Path, seed: int, every: int) -> None:
    command = _Command(tmp_path, seed)
    run = _Run(tmp_path, asks=seed % 3)
    told: list[tuple[RawEvent, _Truth]] = []
    done = 0
    for number in range(_STEPS):
        if (step := command.step()) is not None:
            told.append(step)
        if number % every == every - 1:
            run.take(*(raw for raw, _ in told[done:]))
            done = len(told)
    run.take(*(raw for raw, _ in told[done:]))
    for event, (_, truth) in zip(run.end(), told, strict=True):
        if event.certainty is not Certainty.LEXICAL:
            assert (event.path, event.source) == (truth.path, truth.source)
        if event.ino is not None and event.result == OK:
            assert event.ino == truth.ino, (event, truth)


def test_links_are_asked_about_once_a_file_with_several_names_is_changed(tmp_path: Path) -> None:
    kept, other = os.fsencode(tmp_path / "kept"), os.fsencode(tmp_path / "other")
    Path(os.fsdecode(kept)).touch()
    os.link(kept, other)
    file = os.stat(kept)
    run = _Run(tmp_path, asks=0)
    now = time.monotonic_ns()
    missing = Operand(b"/", other + b"2")
    # The first name in a directory goes the long way.
    run.take(RawEvent(now, 7, 7, Op.UNLINK, "ENOENT", missing, follow=False, lasted_ns=1000))
    link = RawEvent(
        now, 7, 7, Op.LINK, OK, Operand(b"/", other), Operand(b"/", kept), follow=False, lasted_ns=1000
    )
    run.take(link)
    assert not run.events[1].ino
    seen = Operand(
        other,
        None,
        mount=_Command(tmp_path, 0)._mount,
        dev=file.st_dev,
        ino=file.st_ino,
        fmt=stat.S_IFREG,
        nlink=1,
    )
    write = RawEvent(now + 1000, 7, 7, Op.WRITE, OK, seen, lasted_ns=1000)
    run.take(write)
    assert not run.events[1].ino, "nothing with several names was changed"
    run.take(write._replace(time_ns=now + 2000, path=seen._replace(nlink=2)))
    assert (run.events[1].dev, run.events[1].ino) == (file.st_dev, file.st_ino)
    assert (run.events[1].source_dev, run.events[1].source_ino) == (file.st_dev, file.st_ino)
    run.end()
