"""docs/lockdown.md shows what is printed, and what each release of uv needs to be writable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.scenarios.containers import lockdown

pytestmark = [pytest.mark.requires_root, pytest.mark.requires_ebpf, pytest.mark.requires_program("unshare")]


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("uv-releases")
    for version in lockdown.VERSIONS:
        if trouble := lockdown.install_uv(version, place / version):
            pytest.skip(trouble)
    return place


def test_the_page_shows_what_is_printed(releases: Path) -> None:
    page = lockdown.PAGE.read_text(encoding="utf-8")
    outputs = lockdown.play_session(releases, lockdown.commands_of(page))
    assert lockdown.level_text(lockdown.fill_page(page, outputs)) == lockdown.level_text(page)


def test_a_release_with_the_fault_needs_the_environment(tmp_path: Path) -> None:
    if trouble := lockdown.install_uv("0.7.18", tmp_path / "0.7.18"):
        pytest.skip(trouble)
    (document,) = lockdown.play_session(
        tmp_path,
        ["writeaudit suggest last --prove --json 2>/dev/null"],
        "export UV_FROZEN=1 UV_NO_CACHE=1; writeaudit run -q -- uv run python -c pass",
    )
    found = json.loads(document)
    assert found["proof"]["proven"]
    assert {place["path"]: place["need"] for place in found["writable"]} == {
        "/srv/app/.venv": "needed",
        "/tmp": "needed",
    }
    without = {tuple(rerun["without"]): rerun for rerun in found["proof"]["reruns"]}
    (refusal,) = without["/srv/app/.venv",]["refusals"][-1:]
    assert refusal["path"].startswith("/srv/app/.venv/.tmp")
    assert refusal["result"] == "EROFS"
