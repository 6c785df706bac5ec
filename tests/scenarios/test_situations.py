"""Each situation of `situations`, played twice: as it was reported, and in a healthy way."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.scenarios.conftest import Audit, Audited, Mounts
from tests.scenarios.situations import SITUATIONS, Situation

_INSTALL = """\
import os, sys
store, target = sys.argv[1:]
link = True
for package in sorted(os.listdir(store)):
    place = f"{target}/{package.split('@')[0]}"
    os.makedirs(place)
    for name in sorted(os.listdir(f"{store}/{package}")):
        one, two = f"{store}/{package}/{name}", f"{place}/{name}"
        if link:
            try:
                os.link(one, two)
                continue
            except OSError:
                link = False
        with open(one, "rb") as source, open(two, "wb") as copy:
            os.sendfile(copy.fileno(), source.fileno(), 0, 1000)
"""

pytestmark = [pytest.mark.requires_root, pytest.mark.about_answers]


@pytest.fixture
def stage(tmp_path: Path, mounts: Mounts) -> dict[str, str]:
    """The directories that the situations name."""
    tmp_path.chmod(0o755)
    for part in tmp_path.parents:
        if part.name.startswith("pytest-"):
            part.chmod(0o755)
    here, cache, venv = tmp_path / "here", tmp_path / "cache", tmp_path / "venv"
    for made in (here, cache, venv, here / "src", here / "roots", here / "home", here / "work"):
        made.mkdir()
    for package in ("a", "b", "c"):
        (here / "store" / f"{package}@1.0").mkdir(parents=True)
        for name in ("1", "2"):
            (here / "store" / f"{package}@1.0" / name).write_bytes(b"x" * 1000)
    (here / "install.py").write_text(_INSTALL)
    for name in ("install.sh", "tool.sh"):
        (here / name).write_text("#!/bin/sh\n")
        (here / name).chmod(0o755)
    (cache / "six.py").write_text("six\n")
    (venv / "six.py").hardlink_to(cache / "six.py")
    other = mounts.tmpfs(tmp_path / "other", "1m")
    bound = mounts.bind(here / "src", tmp_path / "bound")
    sealed = mounts.bind(here / "work", tmp_path / "sealed", read_only=True)
    places = {"here": here, "cache": cache, "venv": venv, "other": other, "bound": bound, "sealed": sealed}
    return {name: str(path) for name, path in places.items()}


def _fill(text: str, stage: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: stage[found[1]], text)


def _play(audit: Audit, situation: Situation, command: str, stage: dict[str, str]) -> Audited:
    if situation.needs and shutil.which(situation.needs) is None:
        pytest.skip(f"{situation.needs} is not installed")
    zones = [word for zone in situation.zones for word in ("--zone", _fill(zone, stage))]
    return audit(
        ("sh", "-c", _fill(command, stage)), "--linger", "0.5", *zones, cwd=Path(stage["here"]) / "work"
    )


@pytest.mark.parametrize("situation", SITUATIONS, ids=[each.key for each in SITUATIONS])
def test_the_situation_is_told(situation: Situation, audit: Audit, stage: dict[str, str]) -> None:
    audited = _play(audit, situation, situation.command, stage)
    assert situation.rule in audited.rules, audited.stderr
    words = ".*".join(map(re.escape, situation.says.split("…")))
    assert re.search(words, " ".join(audited.stderr.split())), audited.stderr
    if situation.status is not None:
        assert audited.status == situation.status, audited.stderr
    for finding in audited.findings(situation.rule):
        assert len(finding["evidence_pids"]) == len(finding["evidence"])


@pytest.mark.parametrize("situation", SITUATIONS, ids=[each.key for each in SITUATIONS])
def test_a_healthy_run_is_not(situation: Situation, audit: Audit, stage: dict[str, str]) -> None:
    audited = _play(audit, situation, situation.quiet, stage)
    assert situation.rule not in audited.rules, audited.stderr
