"""The file collector's way for the commonest events gives the summaries that the long way gives."""

from __future__ import annotations

import random

import pytest

from writeaudit.analysis.files import collector
from writeaudit.analysis.files.collector import FileCollector
from writeaudit.events import NAMESPACE_OPS, OK, Access, FsEvent, Op
from writeaudit.judgement import Judged, Policy, Zone, ZoneAccess
from writeaudit.policy import Classifier

_POLICY = Policy(
    "test",
    "test",
    (Zone("rw", ZoneAccess.READ_WRITE, (b"/w",)), Zone("none", ZoneAccess.NONE, (b"/n",))),
)
_PATHS = [directory + name for directory in (b"/w/", b"/w/d/", b"/n/", b"/") for name in (b"a", b"b", b"#7")]


class _Plain(FileCollector):
    """Looks each name up and counts it by the functions that are there for it."""

    def add_event(self, event: FsEvent, judged: Judged) -> None:
        op, path = event.op, event.path
        if op in collector._TWO_SIDED:
            self._feed_both(event, judged)
            return
        if op in NAMESPACE_OPS:
            return
        if judged.on_source and event.source is not None:
            self._count_operation(
                self._table.history_of(event.source, event.source_mount), op, judged.verdict
            )
            judged = self._classifier.judge_sides(event).path
        if op is Op.OPEN and "tmpfile" in event.flags and event.result == OK:
            path = collector._unnamed_path(event)
        history = self._table.history_of(path, event.mount)
        self._count_operation(history, op, judged.verdict)
        if event.result != OK:
            self._note_failure(history, event)
        else:
            self._note_success(history, event)


def _event(chance: random.Random, seq: int) -> FsEvent:
    op = chance.choice(list(Op))
    sided = op in (Op.LINK, Op.RENAME, Op.EXCHANGE, Op.COPY, Op.CLONE)
    return FsEvent(
        seq, 0, 1, 1, op, chance.choice(_PATHS), chance.choice(_PATHS) if sided else None,
        access=chance.choice(list(Access)) if op is Op.OPEN else None,
        flags=chance.choice([(), ("creat",), ("trunc",), ("tmpfile",)]) if op is Op.OPEN else (),
        created=op is Op.OPEN and chance.random() < 0.3,
        result=chance.choice([OK, OK, OK, "ENOENT", "EROFS", "EEXIST"]),
        bytes=chance.choice([None, 0, 5]) if op in (Op.WRITE, Op.COPY, Op.CLONE) else None,
        mount=chance.choice([None, 1, 2]), source_mount=1, ino=chance.choice([None, 7]),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_the_summaries_are_those_of_the_long_way(seed: int) -> None:
    chance = random.Random(seed)
    classifier = Classifier(_POLICY)
    fast, plain = FileCollector(classifier), _Plain(classifier)
    for seq in range(1, 601):
        event = _event(chance, seq)
        judged = classifier.judge(event)
        fast.add_event(event, judged)
        plain.add_event(event, judged)
    assert list(fast.list_summaries()) == list(plain.list_summaries())
