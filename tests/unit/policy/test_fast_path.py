"""The classifier's way for the commonest case gives the verdicts that the long way gives."""

from __future__ import annotations

import itertools
import random
import stat

import pytest

from writeaudit.events import OK, Access, FsEvent, Op
from writeaudit.judgement import Judged, Policy, Zone, ZoneAccess
from writeaudit.policy.classify import Classifier, pick_worse

_POLICY = Policy(
    "test",
    "test",
    (
        Zone("cache", ZoneAccess.READ_ONLY, (b"/c", b"/home/*/.cache")),
        Zone("venv", ZoneAccess.READ_WRITE, (b"/w/.venv", b"/deep/way/to")),
        Zone("keys", ZoneAccess.NONE, (b"/w/.venv/keys", b"/k")),
        Zone("tmp", ZoneAccess.READ_WRITE, (b"/tmp", b"/w/.tmp??????")),
    ),
)
_DIRECTORIES = (
    b"/c", b"/c/d", b"/w", b"/w/.venv", b"/w/.venv/keys", b"/home/a/.cache/x", b"/k", b"/tmp", b"/tmp/a",
    b"/deep", b"/deep/way", b"", b"/else", b"/w/.tmpAbCdEf", b"pipe:[4]", b"/memfd:x",
)  # fmt: skip
_NAMES = (b"", b"f", b"way", b".tmpAbCdEf", b"keys")
_RESULTS = (OK, OK, OK, "EROFS", "ENOENT", "EEXIST", "ENOSPC")
_FLAGS = ((), ("creat",), ("creat", "excl"), ("trunc",), ("tmpfile",), ("deleted",))
_TYPES = (None, stat.S_IFREG, stat.S_IFCHR, stat.S_IFDIR)


def _event(chance: random.Random, seq: int) -> FsEvent:
    op = chance.choice(list(Op))
    path = chance.choice(_DIRECTORIES) + b"/" + chance.choice(_NAMES)
    source = None
    if op in (Op.LINK, Op.RENAME, Op.EXCHANGE, Op.COPY, Op.CLONE, Op.SYMLINK) and chance.random() < 0.9:
        source = chance.choice(_DIRECTORIES) + b"/" + chance.choice(_NAMES)
    return FsEvent(
        seq, 0, 1, 1, op, path, source,
        access=chance.choice([None, *Access]) if op is Op.OPEN else None,
        flags=chance.choice(_FLAGS),
        created=op is Op.OPEN and chance.random() < 0.3,
        result=chance.choice(_RESULTS),
        fmt=chance.choice(_TYPES),
    )  # fmt: skip


def _the_long_way(event: FsEvent) -> Judged:
    on_path, on_source = Classifier(_POLICY).judge_sides(event)
    return on_path if on_source is None else pick_worse(on_path, on_source)


@pytest.mark.parametrize("seed", range(4))
def test_every_verdict_is_that_of_the_long_way(seed: int) -> None:
    """A classifier that has seen many events answers as one that sees the event for the first time."""
    chance = random.Random(seed)
    events = [_event(chance, seq) for seq in range(1, 401)]
    warm = Classifier(_POLICY)
    for event in itertools.chain(events, events):
        assert warm.judge(event) == _the_long_way(event), event
