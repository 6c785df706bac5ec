"""`writeaudit image` on what real tools write: podman builds an image, and saves it in each form."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.scenarios.containers.engines import in_namespace

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="podman as root, in a mount namespace of its own"),
    pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed"),
]
FORMS = ("docker-archive", "oci-archive", "oci-dir")
_CONTAINERFILE = """\
FROM localhost/base
COPY --chmod=600 key /root/key
COPY big /big
ENV APP_PASSWORD=not-a-placeholder
USER 1000
"""
_KEY = f"-----BEGIN PRIVATE KEY-----\n{'MIIEvQIBADANBgkqhkiG' * 8}\n-----END PRIVATE KEY-----\n"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with an image in each form."""
    directory = tmp_path_factory.mktemp("images")
    root = directory / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
    (root / "big").write_bytes(b"\1" * 70_000)
    (root / "su").write_text("su")
    (root / "su").chmod(0o4755)
    with tarfile.open(directory / "base.tar", "w") as archive:
        archive.add(root, ".")
    (directory / "key").write_text(_KEY)
    (directory / "big").write_bytes(b"\2" * 80_000)  # of one size and second it would pass for unchanged
    (directory / "Containerfile").write_text(_CONTAINERFILE)
    podman = f"podman --root {directory}/graph --runroot {directory}/run --storage-driver vfs"
    saves = "\n".join(f"{podman} save -q --format {form} -o {directory}/{form} shop && " for form in FORMS)
    done = in_namespace(
        f"""
        mount -t tmpfs tmpfs /run && cd {directory} &&
        {podman} import -q base.tar base &&
        {podman} build --isolation chroot --network host --format oci --layers -q -t shop . &&
        {saves} true
        """,
        timeout=180,
    )
    if done.returncode != 0:
        pytest.skip(f"podman cannot build an image here: {done.stderr.strip()[-300:]}")
    return directory


def _review(source: Path) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "writeaudit", "image", "--static", str(source), "--json", "-", "-q"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 100, done.stderr
    report: dict[str, object] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize("form", FORMS)
def test_every_form_that_podman_saves(saved: Path, form: str) -> None:
    report = _review(saved / form)
    image = report["image"]
    assert isinstance(image, dict)
    facts = {(fact["kind"], fact["path"], fact["layer"]) for fact in image["facts"]}
    steps = [layer["created_by"] for layer in image["layers"]]
    upper = next(number for number, step in enumerate(steps) if "key" in step or number == len(steps) - 1)
    assert {("added", "/etc/passwd", 0), ("setuid", "/su", 0), ("added", "/root/key", upper)} <= facts
    assert ("secret-visible", "/root/key", upper) in facts
    assert ("wasted", "/big", 0) in facts
    assert {kind for kind, path, _layer in facts if path == "/big"} >= {"added", "overwritten"}
    assert image["user"] == "1000"
    assert image["remarks"] == []
    assert isinstance(report["completeness"], dict)
    assert report["completeness"]["complete"] is True
    assert isinstance(report["findings"], list)
    assert {finding["rule"] for finding in report["findings"]} == {"WA501", "WA503"} | {
        finding["rule"] for finding in report["findings"] if finding["severity"] == "note"
    }
