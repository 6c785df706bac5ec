"""References that only skopeo can fetch: from a registry, docker's daemon, podman's storage."""

from __future__ import annotations

import contextlib
import fcntl
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
_PREFIX, _LOCK = "writeaudit-image-", "lock"


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
    _remove_leftovers()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as directory, _locked(directory):
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


@contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Hold a lock in the directory, as long as this process lives."""
    fd = os.open(os.path.join(directory, _LOCK), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _remove_leftovers() -> None:
    """Remove the directories of those that were killed: their locks are nobody's."""
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as found:
        for entry in found:
            if not entry.name.startswith(_PREFIX) or not entry.is_dir(follow_symlinks=False):
                continue
            if entry.stat(follow_symlinks=False).st_uid != os.geteuid():
                continue
            try:
                fd = os.open(os.path.join(entry.path, _LOCK), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                continue  # it is being made
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(entry.path, ignore_errors=True)
            except OSError:
                pass  # its process lives
            finally:
                os.close(fd)


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
