"""The build hook: when the objects are compiled anew."""

from __future__ import annotations

import os
from pathlib import Path

import hatch_build
from writeaudit.capture.kernel import compiler


def test_up_to_date(tmp_path: Path) -> None:
    sources = tmp_path / "probes"
    sources.mkdir()
    header = sources / "events.h"
    header.touch()
    target = tmp_path / compiler.OBJECT_NAME
    assert not hatch_build.up_to_date(sources, target)
    target.touch()
    assert hatch_build.up_to_date(sources, target)
    later = target.stat().st_mtime_ns + 1_000_000_000
    os.utime(header, ns=(later, later))
    assert not hatch_build.up_to_date(sources, target)
