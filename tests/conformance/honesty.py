"""Whether a recording claims nothing that is wrong, event by event.

What is recorded with a certainty better than `lexical` must be as the workload told it; device and
inode must be right or left out. How much was left out is another question (`vague`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from tests.conformance.story import StoryStep
from tests.conformance.wording import describe
from writeaudit.events import Certainty, FsEvent, Op

_UNTOLD = b"/?"
"""What a workload tells as a path that it could not find out itself."""
_FILES = (("dev", "ino"), ("source_dev", "source_ino"))

Pair = tuple[StoryStep, FsEvent]


def pairs(steps: Sequence[StoryStep], events: Sequence[FsEvent]) -> tuple[list[Pair], list[str]]:
    """Return each step with its event, thread by thread, and complaints about those that have none."""
    told: dict[object, list[StoryStep]] = defaultdict(list)
    recorded: dict[object, list[FsEvent]] = defaultdict(list)
    for step in steps:
        told[dict(step.more).get("tid")].append(step)
    for event in events:
        recorded[event.tid].append(event)
    found: list[Pair] = []
    complaints: list[str] = []
    for tid, mine in told.items():
        if tid is None:
            continue
        for step, event in zip(mine, recorded[tid], strict=False):
            if (step.op, step.result) != (event.op.value, event.result):
                complaints.append(f"told {_told(step)}, recorded {describe(event)}")
                break
            found.append((step, event))
        if len(mine) != len(recorded[tid]):
            complaints.append(f"{tid} told {len(mine)} steps, {len(recorded[tid])} were recorded")
    return found, complaints


def lies(pair: Pair, *, created_known: bool) -> Iterator[str]:
    """Yield what an event claims and is not so."""
    step, event = pair
    more = dict(step.more)
    if event.certainty is not Certainty.LEXICAL and not _same_names(step, event):
        yield f"told {_told(step)}, recorded {describe(event)}"
    for dev, ino in _FILES:
        claimed = getattr(event, dev), getattr(event, ino)
        if ino in more and claimed[1] is not None and claimed != (more[dev], more[ino]):
            yield f"its {ino} is {more[ino]} on {more[dev]}, recorded is {claimed}: {describe(event)}"
    if created_known and "created" in more and more["created"] != event.created:
        yield f"it did {'' if more['created'] else 'not '}make its file: {describe(event)}"


def vague(pair: Pair) -> Iterator[str]:
    """Yield what an event could have said and does not."""
    step, event = pair
    if not event.ok or "deleted" in event.flags or entangled(pair):
        return  # no file of that name is there to be looked at
    if event.certainty is Certainty.LEXICAL:
        yield f"told {_told(step)}, recorded {describe(event)}"
    for _dev, ino in _FILES:
        if ino in dict(step.more) and getattr(event, ino) is None:
            yield f"its {ino} is {dict(step.more)[ino]}, none is recorded: {describe(event)}"


def entangled(pair: Pair) -> bool:
    """Whether a rename may have moved what its own names lead through: that can be looked at no more."""
    step, event = pair
    if event.certainty is not Certainty.LEXICAL or event.op not in (Op.RENAME, Op.EXCHANGE):
        return False
    return bool(dict(step.more)["climbs"]) or event.path.startswith((event.source or b"") + b"/")


def _same_names(step: StoryStep, event: FsEvent) -> bool:
    shown = event.path + b" (deleted)" if "deleted" in event.flags else event.path
    return step.path in (_UNTOLD, shown) and step.source in (_UNTOLD, event.source)


def _told(step: StoryStep) -> str:
    origin = "" if step.source is None else f" from {step.source!r}"
    return f"{step.op} {step.path!r}{origin} {step.result}"
