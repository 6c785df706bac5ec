"""References that only skopeo can fetch: from a registry, docker's daemon, podman's storage."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from writeaudit.image.documents import Platform
from writeaudit.image.errors import ImageError
from writeaudit.text import escape_text

TRANSPORTS = frozenset({"docker-daemon", "containers-storage", "docker", "atomic", "ostree", "sif"})
"""What skopeo calls the places that images are in, of those that this package does not read itself."""
_REGISTRY = "docker://"
_SECONDS = 1800
_LONGEST = 400


@contextmanager
def fetched(source: str, platform: Platform | None) -> Iterator[str]:
    """Have skopeo copy an image into a temporary OCI layout; yield its directory. Raises `ImageError`."""
    program = shutil.which("skopeo")
    named = source if source.partition(":")[0] in TRANSPORTS else _REGISTRY + source
    if program is None:
        what = "it is no file or directory here, and to" if named != source else "to"
        raise ImageError(
            f"{escape_text(source)}: {what} fetch it takes skopeo, which is not installed",
            hint="install the package skopeo (apt-get install skopeo, dnf install skopeo), or save the image "
            "first: docker save NAME -o image.tar",
        )
    with tempfile.TemporaryDirectory(prefix="writeaudit-image-") as directory:
        layout = os.path.join(directory, "layout")
        options = ["--quiet"]
        command = [program, "copy", *options, named, f"oci:{layout}:image"]
        if platform is not None:
            which = ["--override-os", platform.os, "--override-arch", platform.architecture]
            which += ["--override-variant", platform.variant] if platform.variant else []
            command[1:1] = which
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ImageError(
                f"skopeo did not fetch {escape_text(source)} within {_SECONDS // 60} minutes"
            ) from error
        except OSError as error:
            raise ImageError(f"skopeo cannot be run: {error.strerror}") from error
        if done.returncode != 0:
            raise ImageError(
                f"skopeo cannot fetch {escape_text(source)}: {_reason(done.stderr)}", hint=_hint(named)
            )
        yield layout


def _reason(output: bytes) -> str:
    """Return the last line of what it said, without the time and the level before it."""
    lines = output.decode("utf-8", "replace").strip().splitlines() or ["it does not say why"]
    _, marked, message = lines[-1].partition("msg=")
    return escape_text((message.strip('"') if marked else lines[-1])[-_LONGEST:])


def _hint(named: str) -> str:
    if named.startswith("docker-daemon:"):
        return (
            "is docker running, and may you use it? docker images lists what it has; a tag must be given: "
            "NAME:TAG"
        )
    if named.startswith("containers-storage:"):
        return "podman images lists what there is; root's storage and yours are two"
    return (
        "is the name right, and can the registry be reached? An image that is here already: "
        "docker-daemon:NAME:TAG"
    )
