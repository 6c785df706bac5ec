"""Which kernels are tried, and where Debian keeps them."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel series of a distribution that people run."""

    name: str
    """How the page and the tests call it."""
    arch: str
    """Debian's name of the processor: amd64 or arm64."""
    suites: tuple[str, ...]
    """Debian suites that may have it."""
    packages: re.Pattern[str]
    """Names of the packages that hold it; the newest version of all is taken."""
    first: bool = False
    """Booted by `make test` too, not by `make kernels` alone."""
    form: str = "full"
    """What `make kernels` tries on it (chosen.py)."""
    without: frozenset[str] = frozenset()
    """Backends that are known not to run there."""
    unfixed: str = ""
    """What is known to be wrong there and is being worked on: `make test` lets it pass, and says so."""

    @property
    def machine(self) -> str:
        """The processor as uname(2) calls it."""
        return {"amd64": "x86_64", "arm64": "aarch64"}[self.arch]


def _image(series: str, arch: str = "amd64") -> re.Pattern[str]:
    """Return what matches the packages of a series; never those for cloud providers or for tests."""
    return re.compile(rf"linux-image-{series}(?:\.[0-9]+)*(?:-[0-9]+)?(?:\+deb[0-9.]+)?-{arch}")


_UNJUDGED = "not all workloads have been tried there"

KERNELS = (
    Kernel("5.10", "amd64", ("bullseye",), _image(r"5\.10"), first=True),
    Kernel("6.1", "amd64", ("bookworm",), _image(r"6\.1"), first=True),
    Kernel("6.12", "amd64", ("trixie", "bookworm-backports"), _image(r"6\.12")),
    Kernel("6.12-rt", "amd64", ("trixie", "bookworm-backports"), _image(r"6\.12", "rt-amd64")),
    Kernel("6.18", "amd64", ("trixie-backports",), _image(r"6\.18")),
    Kernel("7.2", "amd64", ("sid", "trixie-backports"), _image(r"7\.2")),
    Kernel("newest", "amd64", ("sid", "trixie-backports"), _image("[0-9]+"), first=True, unfixed=_UNJUDGED),
    Kernel(
        "6.12-aarch64", "arm64", ("trixie", "bookworm-backports"), _image(r"6\.12", "arm64"), form="smoke"
    ),
)
"""From the oldest to the newest, then those of other processors."""

ROOT_SUITE = "bookworm"
"""The suite that the machines' own files come from: one that ships the oldest Python that is supported."""

ROOT_PACKAGES = (
    "base-files", "base-passwd", "bash", "busybox-static", "coreutils", "dash", "findutils", "grep",
    "hostname", "libc-bin", "mount", "sed", "util-linux",
    "python3", "python3-bpfcc", "libbpf1", "strace",
    "bubblewrap", "btrfs-progs", "e2fsprogs", "xfsprogs",
)  # fmt: skip
