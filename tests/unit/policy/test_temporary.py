"""Temporary names: judged by the allowed name that they are moved to, and by nothing else."""

from __future__ import annotations

import pytest

from writeaudit.events import Access, FsEvent, Op
from writeaudit.judgement import Policy, Verdict, Zone, ZoneAccess
from writeaudit.policy import MOVES, Classifier

_POLICY = Policy(
    "p",
    "test",
    (
        Zone("project", ZoneAccess.READ_ONLY, (b"/p",)),
        Zone("target", ZoneAccess.READ_WRITE, (b"/p/target",)),
        Zone("lockfile", ZoneAccess.READ_WRITE, (b"/p/lock",)),
    ),
)


def _event(op: Op, path: str, source: str | None = None, **fields: object) -> FsEvent:
    made = FsEvent(0, 0, 1, 1, op, path.encode(), source.encode() if source else None)
    return made._replace(**fields)  # type: ignore[arg-type]


def _new(path: str, **fields: object) -> FsEvent:
    wanted: dict[str, object] = {"access": Access.WRITE, "flags": ("creat", "excl"), "created": True}
    return _event(Op.OPEN, path, None, **(wanted | fields))


def _judge(*events: FsEvent) -> list[Verdict]:
    numbered = [event._replace(seq=seq) for seq, event in enumerate(events, 1)]
    classifier = Classifier(_POLICY)
    classifier.look_ahead((event for event in numbered if event.op in MOVES), lambda: numbered)
    return [classifier.judge(event).verdict for event in numbered]


A, V = Verdict.ALLOWED, Verdict.VIOLATION


@pytest.mark.parametrize(
    ("events", "verdicts"),
    [
        pytest.param(
            (_new("/p/.x"), _event(Op.WRITE, "/p/.x", bytes=3), _event(Op.RENAME, "/p/lock", "/p/.x")),
            [A, A, A],
            id="a file that is renamed into place",
        ),
        pytest.param(
            (
                _event(Op.MKDIR, "/p/targetQ"),
                _new("/p/targetQ/tag"),
                _event(Op.RENAME, "/p/target", "/p/targetQ"),
                _new("/p/targetQ"),
            ),
            [A, A, A, V],
            id="a directory, and nothing that happens at its name afterwards",
        ),
        pytest.param(
            (_new("/p/a"), _event(Op.RENAME, "/p/b", "/p/a"), _event(Op.RENAME, "/p/lock", "/p/b")),
            [A, A, A],
            id="by way of a second temporary name",
        ),
        pytest.param(
            (_new("/p/a"), _event(Op.LINK, "/p/lock", "/p/a"), _event(Op.UNLINK, "/p/a")),
            [A, A, A],
            id="by a link, and the temporary name goes",
        ),
        pytest.param(
            (_new("/p/a"), _event(Op.LINK, "/p/lock", "/p/a")), [V, V], id="by a link, and the name stays"
        ),
        pytest.param(
            (_new("/p/a"), _event(Op.EXCHANGE, "/p/lock", "/p/a"), _event(Op.UNLINK, "/p/a")),
            [A, A, A],
            id="by an exchange, and the old file goes",
        ),
        pytest.param(
            (_event(Op.CHMOD, "/p/main.py"), _event(Op.RENAME, "/p/lock", "/p/main.py")),
            [V, V],
            id="a file that was there before is none",
        ),
        pytest.param(
            (_new("/p/src/a"), _event(Op.RENAME, "/p/target/a", "/p/src/a")), [V, V], id="no sibling"
        ),
        pytest.param(
            (_new("/p/a"), _event(Op.RENAME, "/p/target/deep/a", "/p/a")), [A, A], id="beside the zone's root"
        ),
        pytest.param(
            (_new("/p/a"), _event(Op.RENAME, "/p/lock", "/p/a", result="EXDEV")),
            [V, V.FAILED],
            id="it never came there",
        ),
        pytest.param(
            (_new("/p/a", created=False, flags=("creat",)), _event(Op.RENAME, "/p/lock", "/p/a")),
            [V, V],
            id="nobody can tell whether it was there before",
        ),
        pytest.param(
            (_new("/p/x.tmp", created=False, flags=("creat",)), _event(Op.RENAME, "/p/lock", "/p/x.tmp")),
            [A, A],
            id="its name can",
        ),
    ],
)
def test_temporary_names(events: tuple[FsEvent, ...], verdicts: list[Verdict]) -> None:
    assert _judge(*events) == verdicts


def test_zone_of_a_temporary_name_is_that_of_its_target() -> None:
    classifier = Classifier(_POLICY)
    events = [_new("/p/a")._replace(seq=1), _event(Op.RENAME, "/p/lock", "/p/a")._replace(seq=2)]
    classifier.look_ahead(events[1:], lambda: events)
    assert classifier.zone_name(b"/p/a") == "lockfile"
    assert classifier.zone_name(b"/p/b") == "project"
