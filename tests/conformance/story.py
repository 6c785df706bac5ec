"""What a workload says it did, and how that compares with what was recorded.

A workload writes a line of JSON for each operation: ``op``, ``path``, ``source``, ``result``, and
under ``more`` whatever else is promised of the event. Paths are texts in which each character stands
for a byte (Latin-1). ``but`` names a known difference (differences.py) that concerns the step.
"""

from __future__ import annotations

import difflib
import json
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from tests.conformance.differences import Difference, differences
from tests.conformance.wording import describe
from writeaudit.events import Certainty, FsEvent

Value = str | int | bool | list[str] | None


@dataclass(frozen=True, slots=True)
class StoryStep:
    """One operation, as the workload that made it says it must be recorded."""

    op: str
    path: bytes
    source: bytes | None
    result: str
    more: tuple[tuple[str, Value], ...] = ()
    """Other fields of the event that must be so; ``flags`` in any order."""
    but: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, bytes, bytes | None, str]:
        """What every backend must have recorded."""
        return self.op, self.path, self.source, self.result


def parse_story(text: bytes) -> tuple[StoryStep, ...]:
    """Return the steps of a story, in its order."""
    return tuple(_step(json.loads(line)) for line in text.splitlines())


def _step(raw: dict[str, object]) -> StoryStep:
    source, more = raw.get("source"), raw.get("more")
    assert isinstance(more, dict)
    return StoryStep(
        str(raw["op"]),
        str(raw["path"]).encode("latin-1"),
        None if source is None else str(source).encode("latin-1"),
        str(raw["result"]),
        tuple(more.items()),
        tuple(str(raw["but"]).split()),
    )


def compare(steps: Sequence[StoryStep], events: Sequence[FsEvent], backend: str) -> list[str]:
    """Return each difference between a story and a recording that the backend is not known for."""
    known = differences(backend)
    expected = [step for step in steps if not _unseen(step, known)]
    wanted = [step.key for step in expected]
    found = [(event.op.value, event.path, event.source, event.result) for event in events]
    complaints: list[str] = []
    spare = {
        (step.op, step.path) for step in steps for name in step.but if name in known and known[name].extra
    }
    matcher = difflib.SequenceMatcher(None, wanted, found, autojunk=False)
    for tag, low, high, from_, to in matcher.get_opcodes():
        if tag == "equal":
            for step, event in zip(expected[low:high], events[from_:to], strict=True):
                complaints.extend(_fields(step, event, known))
            continue
        complaints.extend(f"not recorded: {_told(step)}" for step in expected[low:high])
        complaints.extend(
            f"not told:     {describe(event)}"
            for event in events[from_:to]
            if (event.op.value, event.path) not in spare
        )
    return complaints


def compare_doubtful(steps: Sequence[StoryStep], events: Sequence[FsEvent], backend: str) -> list[str]:
    """Return what is wrong where names may be: as told, or else said to be text only.

    Each step needs an event of its own; one of another name will do if its certainty is `lexical`.
    Events that no step explains are all right only if they are lexical too.
    """
    known = differences(backend)
    exact: dict[tuple[str, bytes, bytes | None, str], deque[FsEvent]] = defaultdict(deque)
    for event in events:
        exact[event.op.value, event.path, event.source, event.result].append(event)
    complaints: list[str] = []
    missing: list[StoryStep] = []
    for step in steps:
        if exact[step.key]:
            complaints.extend(_fields(step, exact[step.key].popleft(), known))
        else:
            missing.append(step)
    spare = [event for left in exact.values() for event in left]
    complaints.extend(
        f"not told:     {describe(event)}" for event in spare if event.certainty is not Certainty.LEXICAL
    )
    doubtful = Counter((event.op.value, event.result) for event in spare)
    for step in missing:
        if doubtful[step.op, step.result]:
            doubtful[step.op, step.result] -= 1
        else:
            complaints.append(f"not recorded: {_told(step)}")
    return complaints


def _unseen(step: StoryStep, known: dict[str, Difference]) -> bool:
    return any(name in known and known[name].unseen for name in step.but)


def _fields(step: StoryStep, event: FsEvent, known: dict[str, Difference]) -> list[str]:
    excused = {field for name in step.but if name in known for field in known[name].fields}
    complaints: list[str] = []
    for name, promised in step.more:
        if name in excused:
            continue
        wanted: object = promised
        found: object = getattr(event, name)
        if name == "flags":
            assert isinstance(promised, list)
            wanted, found = sorted(promised), sorted(event.flags)
        elif isinstance(found, bytes):
            found = found.decode("latin-1")
        if found != wanted:
            complaints.append(f"{name} is {found!r}, not {wanted!r}: {describe(event)}")
    return complaints


def _told(step: StoryStep) -> str:
    source = "" if step.source is None else f" from {step.source!r}"
    return f"{step.op} {step.path!r}{source} {step.result} {dict(step.more)}"
