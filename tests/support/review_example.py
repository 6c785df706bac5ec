"""The image that docs/containers.md reviews, and what writeaudit says of it.

    .venv/bin/python -m tests.support.review_example     writes the transcript into the page

A test compares the two. The layers are not compressed, so that sizes are the same with every zlib.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.container_images import NET_RAW, Layer, docker_files, make, write_archive

PAGE = Path(__file__).resolve().parents[2] / "docs/containers.md"
COMMAND = "writeaudit image shop.tar --html shop.html"
_BLOCK = re.compile(
    r"(<!-- transcript:begin -->\n\n```text\n)(.*?)(```\n\n<!-- transcript:end -->)", re.DOTALL
)


def write_image(directory: Path) -> None:
    """Write shop.tar: an image as careless Dockerfiles make them."""
    base = (
        Layer()
        .directory("tmp", mode=0o1777)
        .file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
        .file("bin/su", b"su" * 30_000, mode=0o4755)
        .file("bin/ping", b"pi" * 30_000, pax={"SCHILY.xattr.security.capability": NET_RAW.decode("latin-1")})
    )
    packages = (
        Layer()
        .file("var/cache/apt/archives/app.deb", b"\1" * 3_000_000)
        .file("usr/lib/libapp.so", b"\2" * 2_000_000)
    )
    clean = Layer().whiteout("var/cache/apt/archives/app.deb")
    project = (
        Layer()
        .file("root/.netrc", b"machine git.example.net login ci password c0rrect-horse\n", mode=0o600)
        .directory("app/data", mode=0o777)
        .file("app/server", b"\3" * 500_000, mode=0o755)
        .file("app/bin/server", b"\3" * 500_000, mode=0o755)
    )
    tidy = Layer().whiteout("root/.netrc")
    chown = Layer().file("usr/lib/libapp.so", b"\2" * 2_000_000, uid=1000)
    made = make(
        base,
        packages,
        clean,
        project,
        tidy,
        chown,
        config={"User": "", "Env": ["PATH=/bin", "DB_PASSWORD=hunter2hunter2"], "Cmd": ["/app/server"]},
        history=[
            {"created_by": "ADD rootfs.tar /"},
            {"created_by": "RUN apt-get install -y app"},
            {"created_by": "RUN apt-get clean"},
            {"created_by": "ENV DB_PASSWORD=hunter2hunter2", "empty_layer": True},
            {"created_by": "COPY . /"},
            {"created_by": "RUN rm /root/.netrc"},
            {"created_by": "RUN chown 1000 /usr/lib/libapp.so"},
        ],
        compression="",
    )
    write_archive(directory / "shop.tar", docker_files(made, "shop:latest"))


def transcript() -> str:
    """Return what the command prints, with the command before it."""
    with tempfile.TemporaryDirectory() as directory:
        write_image(Path(directory))
        done = subprocess.run(
            [sys.executable, "-m", "writeaudit", *COMMAND.split()[1:]],
            capture_output=True,
            text=True,
            cwd=directory,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PAGE.parents[1]), "LANG": "C.UTF-8"},
            check=False,
        )
    said = done.stderr.replace(f"{os.path.realpath(directory)}/", "…/")
    return f"$ {COMMAND}\n{said}$ echo $?\n{done.returncode}\n"


def shown() -> str:
    """Return what the page shows."""
    found = _BLOCK.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None
    return found[2]


def main() -> None:
    """Write the transcript into the page."""
    said = transcript()
    text = _BLOCK.sub(lambda found: found[1] + said + found[3], PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
