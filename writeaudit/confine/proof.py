"""Shows that a writable set is enough, and that each part of it is needed: by running the command again.

Pure but for the `Rerun` that it asks for. A command is content with a set if it ends as it did when it was
recorded.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from writeaudit.audit import RunInfo
from writeaudit.confine.sandbox import SandboxUnavailable, Shown
from writeaudit.confine.writable import (
    REFUSED,
    DiskFacts,
    Kind,
    Need,
    Place,
    WritableSet,
    is_below,
    outermost,
)
from writeaudit.text import escape_path

_MOST_ROUNDS = 8
"""So often a set is corrected by what a rerun shows, before it counts as not proven."""
_MOST_PLACES = 24
"""So many places are left out in turn."""


class Refusal(NamedTuple):
    """A change that the system refused in a rerun."""

    op: str
    path: bytes
    result: str
    source: bytes | None = None


@dataclass(frozen=True, slots=True)
class Rerun:
    """How the command fared under a set."""

    status: int | None
    """As the shell shows it; None if it did not end in time."""
    refusals: tuple[Refusal, ...] = ()
    complete: bool = True
    """Whether nothing was refused that is not among ``refusals``."""
    output: str = ""
    """The end of what it wrote to its standard streams, safe to show."""


Rerunner = Callable[[Sequence[Shown]], Rerun]
"""Runs the command with these places. Raises `SandboxUnavailable`."""


class Trial(NamedTuple):
    """One rerun, and what it was to show."""

    without: tuple[bytes, ...]
    """Places that were left out; empty for the whole set."""
    status: int | None
    content: bool
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Proof:
    """What the reruns came to."""

    places: tuple[Place, ...]
    """The set that was proven, with what each place is needed for; as it was if nothing was proven."""
    trials: tuple[Trial, ...]
    proven: bool
    expected: tuple[int, ...]
    """The statuses that count as content."""
    failure: str = ""
    """Why nothing was proven: a sentence."""
    corrections: tuple[str, ...] = ()
    """What the reruns changed about the set. Sentences."""
    dropped: tuple[Place, ...] = ()
    """Places that were left out of it for good, as the command is content without (``minimal``)."""
    output: str = ""
    """The end of the command's output when it was not content with the set."""


def expected_statuses(run: RunInfo, writable: WritableSet) -> tuple[int, ...]:
    """Return how a rerun has to end: as the recording did, or well if refusals may have made that one
    fail.
    """
    if run.signal is not None:
        return (128 + run.signal, 0)
    if run.exit_status and not any(place.refused for place in writable.places):
        return (run.exit_status,)
    return (0,)


def prove_writable_set(
    writable: WritableSet, run: RunInfo, rerun: Rerunner, disk: DiskFacts, *, minimal: bool = False
) -> Proof:
    """Run the command with the set, then without each place in turn."""
    return _Prover(writable, run, rerun, disk).prove(minimal=minimal)


class _Prover:
    def __init__(self, writable: WritableSet, run: RunInfo, rerun: Rerunner, disk: DiskFacts) -> None:
        self._writable = writable
        self._uid = run.uid
        self._rerun = rerun
        self._disk = disk
        self._expected = expected_statuses(run, writable)
        self._trials: list[Trial] = []
        self._corrections: list[str] = []

    def prove(self, *, minimal: bool) -> Proof:
        try:
            places, last = self._whole([*self._writable.places])
            if places is None:
                return self._failed(self._why(last), last.output)
            places = self._each(places)
            kept, dropped = self._least(places) if minimal else (places, [])
        except SandboxUnavailable as error:
            hint = f" ({error.hint})" if error.hint else ""
            return self._failed(f"The reruns could not be made: {error.message}{hint}.")
        return Proof(
            tuple(kept),
            tuple(self._trials),
            True,
            self._expected,
            "",
            tuple(self._corrections),
            tuple(dropped),
        )

    def _failed(self, why: str, output: str = "") -> Proof:
        places = self._writable.places
        return Proof(
            places, tuple(self._trials), False, self._expected, why, tuple(self._corrections), (), output
        )

    def _try(self, places: Sequence[Place], without: Iterable[Place] = ()) -> tuple[Rerun, bool]:
        left_out = tuple(place.path for place in without)
        outcome = self._rerun([Shown(place, place.path not in left_out) for place in places])
        content = outcome.status in self._expected
        self._trials.append(Trial(left_out, outcome.status, content, outcome.refusals[:20]))
        return outcome, content

    def _whole(self, places: list[Place]) -> tuple[list[Place] | None, Rerun]:
        """Return the set that the command is content with, as corrected by what the reruns show."""
        outcome, content = self._try(places)
        tried: set[str] = set()
        for _round in range(_MOST_ROUNDS):
            if content:
                break
            step = next((step for step in self._steps(places, outcome) if step[0] not in tried), None)
            if step is None:
                break
            what, corrected = step
            tried.add(what)
            after, content = self._try(corrected)
            # A step that changes nothing is taken back; one that leads on to another refusal is kept.
            if content or after.refusals != outcome.refusals or after.status != outcome.status:
                places, outcome = corrected, after
                self._corrections.append(what)
        return (places if content else None), outcome

    def _steps(self, places: list[Place], outcome: Rerun) -> Iterable[tuple[str, list[Place]]]:
        """Yield what may help, the most likely first: a sentence and the corrected set."""
        missing = self._missing(places, outcome)
        if missing:
            names = ", ".join(escape_path(place.path) for place in missing)
            yield f"{names}: asked for by a rerun, not by the recording.", self._joined(places, missing)
        for refusal in outcome.refusals:
            if refusal.result == "EXDEV" and refusal.source is not None:
                merged = self._merged(places, refusal)
                if merged is not None:
                    sides = f"{escape_path(refusal.source)} and {escape_path(refusal.path)}"
                    yield f"{sides} have to be in one mount: a rename or link between them got EXDEV.", merged
        if any(refusal.result == "ENOSPC" for refusal in outcome.refusals):
            yield "No limit of size: a rerun ran out of space.", [replace(each, size=None) for each in places]
        for number, place in enumerate(places):
            if place.kind is Kind.TMPFS and not place.copy_up:
                state = self._disk(place.path, place.made)
                if state is not None and state.entries:
                    copied = replace(place, copy_up=True)
                    changed = [*places[:number], copied, *places[number + 1 :]]
                    yield f"{escape_path(place.path)}: what is there is needed, too.", changed
        for number, place in enumerate(places):
            if place.kind is Kind.TMPFS and not place.executed:
                changed = [*places[:number], replace(place, executed=True), *places[number + 1 :]]
                yield f"{escape_path(place.path)}: must not be mounted noexec.", changed

    def _missing(self, places: list[Place], outcome: Rerun) -> list[Place]:
        found: dict[bytes, Place] = {}
        for refusal in outcome.refusals:
            if refusal.result not in REFUSED or any(is_below(refusal.path, each.path) for each in places):
                continue
            directory = os.path.dirname(refusal.path)
            while directory != b"/":
                state = self._disk(directory, None)
                if state is not None and state.fmt == stat.S_IFDIR:
                    break
                directory = os.path.dirname(directory)
            if directory != b"/" and directory not in found:
                found[directory] = self._new_place(directory, refusal.path)
        return [found[path] for path in outermost(found)]

    def _new_place(self, directory: bytes, example: bytes, parts: Sequence[Place] = ()) -> Place:
        made = tuple(outermost(path for part in parts for path in part.made))
        state = self._disk(directory, made)
        assert state is not None
        data = any(part.kind is Kind.VOLUME for part in parts)
        return Place(
            directory, Kind.VOLUME if data else Kind.TMPFS, True, state.mode, state.uid, state.gid,
            sum(part.written for part in parts), None, any(part.executed for part in parts), state.entries
            > 0,
            because=tuple(sorted(seq for part in parts for seq in part.because)),
            changes=sum(part.changes for part in parts), refused=sum(part.refused for part in parts),
            examples=(example,), made=made, notes=("Found by a rerun.",),
        )  # fmt: skip

    @staticmethod
    def _joined(places: list[Place], more: list[Place]) -> list[Place]:
        tops = set(outermost([*(each.path for each in places), *(each.path for each in more)]))
        return [each for each in [*places, *more] if each.path in tops]

    def _merged(self, places: list[Place], refusal: Refusal) -> list[Place] | None:
        """Return the set with one place around both sides of a rename or link."""
        assert refusal.source is not None
        common = os.path.commonpath([os.path.dirname(refusal.source), os.path.dirname(refusal.path)])
        state = self._disk(common, None) if common != b"/" else None
        inner = [each for each in places if is_below(each.path, common)]
        if state is None or not inner or state.fmt != stat.S_IFDIR:
            return None
        if any(is_below(common, each.path) for each in places):
            return None
        others = [each for each in places if each not in inner]
        return [*others, self._new_place(common, refusal.path, inner)]

    def _each(self, places: list[Place]) -> list[Place]:
        """Leave each place out in turn."""
        judged = []
        for number, place in enumerate(places):
            if number >= _MOST_PLACES:
                judged.append(replace(place, need=Need.UNPROVEN))
                continue
            outcome, content = self._try(places, [place])
            judged.append(replace(place, need=_need_of(place, outcome, content=content)))
        return judged

    def _least(self, places: list[Place]) -> tuple[list[Place], list[Place]]:
        """Leave out all that can be left out together."""
        spare = [place for place in places if place.need in (Need.OPTIONAL, Need.NOT_NEEDED)]
        while len(spare) > 1:  # without one alone has been tried
            _outcome, content = self._try(places, spare)
            if content:
                break
            # Each of two may do without the other, and not without both.
            spare = spare[1:]
        return [place for place in places if place not in spare], spare

    def _why(self, outcome: Rerun) -> str:
        names = ", ".join(escape_path(place.path) for place in self._writable.places) or "nothing"
        ended = "did not end in time" if outcome.status is None else f"ended with status {outcome.status}"
        wanted = " or ".join(map(str, self._expected))
        text = f"With {names} writable, the command {ended}, not with {wanted}"
        if outcome.refusals:
            last = outcome.refusals[-1]
            text += f"; the last refusal was {last.op} {escape_path(last.path)}: {last.result}"
        return text + "."


def _need_of(place: Place, outcome: Rerun, *, content: bool) -> Need:
    if not content:
        return Need.NEEDED
    if any(
        is_below(refusal.path, place.path)
        or (refusal.source is not None and is_below(refusal.source, place.path))
        for refusal in outcome.refusals
    ):
        return Need.OPTIONAL
    return Need.NOT_NEEDED if outcome.complete else Need.UNPROVEN
