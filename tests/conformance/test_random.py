"""Random operations of several processes and threads, under every backend, judged by the disk.

Where the replay needs an order the operations are made one at a time (``token``). System calls that
run at the same time and concern the same names may return in another order than they took effect in,
so a recording of such has no defined replay; those that run at the same time here (``free``) keep
out of each other's way.

Each program is judged twice: what every event claims, by what the program told of it (`honesty`);
and, where nothing was said to be doubtful, the whole by the disk (`oracle`).

WRITEAUDIT_RANDOM_PROGRAMS=2000 tries as many new, longer programs in each test, instead of the same few.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.audited import Audited, run
from tests.conformance.differences import differences
from tests.conformance.honesty import entangled, lies, pairs, vague
from tests.conformance.operations import Operation, generate, plant, private, uproot
from writeaudit.capture.interface import Backend
from writeaudit.capture.select import list_backends
from writeaudit.errors import BackendUnavailable
from writeaudit.events import FsEvent, Op

Check = Callable[..., None]
Normal = tuple[str, bytes, bytes | None, str, str | None, tuple[str, ...]]

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="makes the system calls of x86-64"),
    pytest.mark.requires_root,
]

_PROGRAMS = int(os.environ.get("WRITEAUDIT_RANDOM_PROGRAMS", "3"))
_LONG = "WRITEAUDIT_RANDOM_PROGRAMS" in os.environ
_SUMS = frozenset({Op.WRITE, Op.COPY})
_PAUSES_S = (0.04, 0.3)
"""Longer than any backend waits before it looks at what has come; much longer, for a busy machine."""


_NESTED = b"/0" * 10
"""How deep the tree lies: programs climb out of it, but not far (`tests.workloads.executor`)."""


def _place() -> bytes:
    """Return a directory of this process's own."""
    return os.path.realpath(os.fsencode(tempfile.gettempdir())) + b"/writeaudit-random-%d" % os.getpid()


def _ground() -> bytes:
    """Return where the tree is: in every example the same, for paths are part of the operations."""
    return _place() + _NESTED + b"/ground"


def _audited(
    operations: Sequence[Operation], how: str, backend: str, *, bind: bool, pause_s: float = 0
) -> Audited:
    """Carry operations out in a fresh tree, always at the same place."""
    place, ground = Path(os.fsdecode(_place())), Path(os.fsdecode(_ground()))
    ground.mkdir(parents=True)
    try:
        plant(ground, bind=bind)
        listed = place / "operations"
        listed.write_text("".join(json.dumps(operation) + "\n" for operation in operations))
        argv: list[str | Path] = [
            sys.executable,
            "-S",
            "-B",
            "-P",
            "-m",
            "tests.workloads.executor",
            listed,
            how,
            str(pause_s),
        ]
        return run(argv, ground, backend, place / "run.wa")
    finally:
        if bind:
            uproot(ground)
        shutil.rmtree(place)


def _between_marks(audited: Audited) -> list[FsEvent]:
    """Return what happened between the executor's opens of START and END."""
    events = list(audited.everywhere)
    names = [event.path for event in events]
    start = names.index(audited.ground + b"/START")
    end = len(names) - 1 - names[::-1].index(audited.ground + b"/END")
    return events[start : end + 1]


def _events(audited: Audited) -> list[FsEvent]:
    """Return the events that are told; writes are sums and told by the disk."""
    return [event for event in _between_marks(audited) if event.op not in _SUMS]


def _wrong(audited: Audited, *, created_known: bool) -> list[str]:
    """Return what is wrong with a recording; what it calls doubtful is not."""
    found, complaints = pairs(audited.story, _events(audited))
    for pair in found:
        complaints += lies(pair, created_known=created_known)
    if not audited.completeness.unresolved:
        complaints += [f"disk: {line}" for line in audited.disk_complaints(created_known=created_known)]
    return complaints


def _vague(audited: Audited) -> list[str]:
    found, _ = pairs(audited.story, _events(audited))
    complaints = [line for pair in found for line in vague(pair)]
    if not audited.completeness.complete and not any(map(entangled, found)):
        complaints.append(f"not complete: {audited.completeness}")
    return complaints


def _programs(*, factor: int = 1) -> Callable[[Check], Check]:
    """Have Hypothesis try a test with programs: the seed decides everything but the length.

    A shorter program is the beginning of a longer one, so a failure is shrunk to where it begins.
    """
    least, most = (150, 500) if _LONG else (40, 120)
    tried = settings(
        max_examples=_PROGRAMS,
        derandomize=not _LONG,
        deadline=None,
        # The fixture, a backend, keeps nothing from one program to the next.
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        print_blob=False,
    )
    lengths = st.integers(least * factor, most * factor)
    return lambda check: tried(given(seed=st.integers(0, 2**32 - 1), length=lengths)(check))


def _approve(wrong: Sequence[str]) -> None:
    if wrong:
        raise AssertionError("\n".join(wrong[:20]))


@_programs()
def test_one_at_a_time(backend: Backend, seed: int, length: int) -> None:
    """With time to look at a name before it goes: everything must be right, and nothing left out."""
    operations, complaints = generate(seed, length, _ground()), []
    for pause_s in _PAUSES_S:
        audited = _audited(operations, "token", backend.name, bind=True, pause_s=pause_s)
        wrong = _wrong(audited, created_known=True)
        complaints = wrong + _vague(audited)
        if wrong or not complaints:
            break
    _approve(complaints)


@_programs()
def test_in_quick_succession(backend: Backend, seed: int, length: int) -> None:
    """Names change faster than they can be looked at: what comes out wrong must be said to be doubtful."""
    audited = _audited(generate(seed, length, _ground()), "token", backend.name, bind=True)
    _approve(_wrong(audited, created_known="made-and-gone" not in differences(backend.name)))


@_programs(factor=3)
def test_at_the_same_time(backend: Backend, seed: int, length: int) -> None:
    """Truly concurrent, on disjoint subtrees."""
    audited = _audited(private(seed, length), "free", backend.name, bind=False)
    _approve(_wrong(audited, created_known="made-and-gone" not in differences(backend.name)))


@_programs()
def test_backends_agree(able: list[Backend], seed: int, length: int) -> None:
    """The same operations in the same tree: the same events, but for numbers of files and processes.

    Whether an open made its file is left to `test_one_at_a_time` (see made-and-gone in differences.py).
    """
    operations = generate(seed, length, _ground())
    wrong: list[str] = []
    first: list[Normal] | None = None
    for candidate in able:
        audited = _audited(operations, "token", candidate.name, bind=True, pause_s=_PAUSES_S[0])
        events = [_normal(event) for event in _events(audited)]
        if first is None:
            first = events
        wrong += [
            f"{able[0].name}: {one}, {candidate.name}: {other}"
            for one, other in zip_longest(first, events)
            if one != other
        ]
    _approve(wrong)


@pytest.fixture(scope="module")
def able() -> list[Backend]:
    """Every backend that works here."""
    found = [candidate for candidate in list_backends() if _works(candidate)]
    if len(found) < 2:
        pytest.skip("fewer than two backends can run here")
    return found


def _normal(event: FsEvent) -> Normal:
    """Return what must not depend on the backend. A name the kernel made up has a number in it."""
    path, source = (
        None if name is None else re.sub(rb"#\d+", b"#", name) for name in (event.path, event.source)
    )
    access = None if event.access is None else event.access.value
    return (
        event.op.value, path or b"", source, event.result, access, tuple(sorted(event.flags)),
    )  # fmt: skip


def _works(candidate: Backend) -> bool:
    try:
        candidate.check()
    except BackendUnavailable:
        return False
    return True
