"""What the kernel side tells of files beside their names, so that the disk need not be asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from writeaudit.capture.interface import Backend, CaptureLimits, Command, Record
from writeaudit.events import Op, RawEvent

pytestmark = pytest.mark.requires_root

_SCRIPT = """
: > kept; ln kept other; echo more >> kept; mkdir below; cd below; : > deep; mv deep moved; rm moved
"""


def _events(backend: Backend, ground: Path) -> list[RawEvent]:
    if backend.name == "strace":
        pytest.skip("strace prints names and results, no inodes")
    records: list[Record] = []
    script = f"cd {ground} && {_SCRIPT}"
    outcome = backend.capture(
        Command((b"/bin/sh", b"-c", script.encode()), {b"PATH": b"/usr/bin:/bin"}),
        records.extend,
        CaptureLimits(),
    )
    assert outcome.exit_status == 0
    return [record for record in records if isinstance(record, RawEvent)]


def test_links_and_directories_come_with_the_event(backend: Backend, tmp_path: Path) -> None:
    ground = tmp_path / "ground"
    ground.mkdir()
    events = _events(backend, ground)
    kept, where, below = os.stat(ground / "kept"), os.stat(ground), os.stat(ground / "below")
    opens = [e.path for e in events if e.op is Op.OPEN and e.path.base == os.fsencode(ground / "kept")]
    assert [path.nlink for path in opens] == [1, 2]
    for path in opens:
        assert (path.dev, path.ino) == (kept.st_dev, kept.st_ino)
        assert (path.parent_dev, path.parent_ino) == (where.st_dev, where.st_ino)
    [link] = (e for e in events if e.op is Op.LINK)
    assert link.source is not None
    for side in (link.path, link.source):  # names: of the directory that they begin at
        assert (side.parent_dev, side.parent_ino) == (where.st_dev, where.st_ino)
        assert side.nlink is None
    for op in (Op.RENAME, Op.UNLINK):
        [event] = (e for e in events if e.op is op)
        assert (event.path.parent_dev, event.path.parent_ino) == (below.st_dev, below.st_ino)
