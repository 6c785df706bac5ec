"""What the buffer had no room for is counted, and said; what it had room for is all there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.audited import run
from tests.conftest import Cli
from writeaudit.capture.interface import Backend, CaptureLimits
from writeaudit.events import Op

pytestmark = [pytest.mark.requires_root, pytest.mark.requires_gcc]

_COUNTING = ("ebpf", "bcc")
"""The backends with a buffer that can overflow: strace's pipe makes the command wait instead."""


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    directory = tmp_path / "ground"
    directory.mkdir()
    return directory


def _counts_losses(backend: Backend) -> None:
    if backend.name not in _COUNTING:
        pytest.skip(f"{backend.name} makes the command wait rather than lose anything")


def test_every_lost_record_is_counted(
    backend: Backend, ground: Path, tmp_path: Path, compiled: Callable[..., Path]
) -> None:
    _counts_losses(backend)
    limits = CaptureLimits(buffer_bytes=4096)
    audited = run([compiled("flood"), "20000", "2"], ground, backend.name, tmp_path / "run.wa", limits=limits)
    said = audited.completeness
    assert said.lost_events > 0
    assert not said.complete
    for kind, emitted in said.emitted.items():
        assert emitted == said.received[kind] + said.lost[kind], kind
    assert said.emitted["event"] >= 40_000
    assert sum(said.lost.values()) == said.lost_events
    # What was received is what can be read.
    assert len(audited.everywhere) == said.received["event"]


def test_the_loss_is_said_first(
    backend: Backend, ground: Path, tmp_path: Path, compiled: Callable[..., Path], cli: Cli
) -> None:
    _counts_losses(backend)
    report = tmp_path / "report.json"
    done = cli(
        "run", "--backend", backend.name, "--buffer", "4K", "-o", tmp_path / "run.wa", "--json", report,
        "--zone", f"here={ground}:rw", "--", compiled("flood"), "20000", "2",
        cwd=ground,
    )  # fmt: skip
    assert done.returncode == 101, done.stderr
    told = json.loads(report.read_text())
    assert told["summary"]["status"] == "incomplete"
    assert told["completeness"]["complete"] is False
    assert told["completeness"]["lost_events"] > 0
    assert "WA901" in {finding["rule"] for finding in told["findings"]}
    first = next(line for line in done.stderr.splitlines() if line.strip(" ─━│╭╮"))
    assert "incomplete" in first.lower()


def test_the_default_buffer_holds_200_000_creations(
    backend: Backend, ground: Path, tmp_path: Path, compiled: Callable[..., Path]
) -> None:
    count = 200_000 if backend.name in _COUNTING else 5_000
    audited = run([compiled("flood"), str(count), "4"], ground, backend.name, tmp_path / "run.wa")
    assert audited.completeness.lost_events == 0
    assert audited.completeness.complete
    found = Counter((event.op, event.created) for event in audited.events if event.ok)
    assert found[Op.OPEN, True] == count
    assert found[Op.UNLINK, False] == count
