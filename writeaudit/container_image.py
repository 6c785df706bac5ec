"""The words of container images: layers, what became of each path in them, and what a reviewer should know.

They stand here because the package `image` makes them and reports show them, while neither may import the
other.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class FactKind(enum.StrEnum):
    """What a fact says of a path."""

    __hash__ = str.__hash__  # that of an enumeration is a call of Python

    ADDED = "added"
    OVERWRITTEN = "overwritten"
    METADATA_ONLY = "metadata-only"
    """The same bytes again with another mode, owner, capability or time; or a directory's mode or owner."""
    REPLACED = "replaced"
    """By something of another type."""
    DELETED = "deleted"
    """By a whiteout, an opaque directory, or because a directory above it became something else."""
    SETUID = "setuid"
    SETGID = "setgid"
    CAPS = "caps"
    WORLD_WRITABLE = "world-writable"
    DEVICE = "device"
    SECRET_VISIBLE = "secret-visible"  # noqa: S105 - a word
    SECRET_IN_LOWER_LAYER = "secret-in-lower-layer"  # noqa: S105
    SECRET_IN_ENVIRONMENT = "secret-in-environment"  # noqa: S105
    BYTES_AGAIN = "bytes-again"
    """A file's bytes are stored again under the same path."""
    SAME_BYTES = "same-bytes"
    """A file's bytes were stored before under another path."""
    WASTED = "wasted"
    """A file's bytes are in a layer, and no name of the finished image leads to them."""
    EXECSTACK = "execstack"
    RPATH = "rpath"
    NO_PIE = "no-pie"
    NO_RELRO = "no-relro"
    PARTIAL_RELRO = "partial-relro"
    MACHINE = "machine"
    RUNS_AS_ROOT = "runs-as-root"
    TRAVERSAL = "traversal"
    """An entry that would leave the image's root if it were unpacked carelessly; or one that cannot be."""


HISTORY = (
    FactKind.ADDED,
    FactKind.OVERWRITTEN,
    FactKind.METADATA_ONLY,
    FactKind.REPLACED,
    FactKind.DELETED,
)
"""What became of a path in a layer."""


class Fact(NamedTuple):
    """One thing that is so."""

    kind: FactKind
    path: bytes | None
    """In the image, absolute; None for what no path is about."""
    layer: int | None
    """Position in `Image.layers`; None for what stands in the image's configuration."""
    detail: str = ""
    """Safe to show. Never a secret itself."""
    bytes: int = 0
    """How many bytes of the layer it is about."""


class Layer(NamedTuple):
    """One layer, the lowest first."""

    digest: str
    """As the manifest names it, of what is stored; of a directory the empty text."""
    size: int
    """Bytes that are stored, compressed as they are."""
    created_by: str
    """The build step; without credentials, safe to show, empty if it is not known."""
    step: int | None = None
    """Position of the build step in the history, which also has steps that made no layer."""
    media_type: str = ""
    entries: int = 0
    content: int = 0
    """Bytes of its files."""
    damaged: str = ""
    """Why not all of it could be read; empty if it could."""


class BuildStep(NamedTuple):
    """One line of the image's history."""

    created_by: str
    layer: int | None
    """None if it made none."""


class Waste(NamedTuple):
    """Bytes that are stored and of no use to the finished image."""

    hidden: int = 0
    """Of files that were overwritten, replaced or deleted later."""
    repeated: int = 0
    """Of files whose bytes stand elsewhere in the image as well."""

    @property
    def total(self) -> int:
        """Both together."""
        return self.hidden + self.repeated


@dataclass(frozen=True, slots=True)
class Image:
    """A container image, read without running or unpacking it."""

    source: str
    """As it was asked for; safe to show."""
    kind: str
    """OCI layout, OCI archive, docker archive, directory."""
    digest: str
    """Of its manifest or configuration; empty for a directory."""
    platform: str
    """``linux/amd64``; empty if nothing says it."""
    user: str | None
    """As the configuration has it, ``""`` for root; None where there is no configuration."""
    env: tuple[str, ...]
    """Names of the environment's variables."""
    command: tuple[str, ...]
    """Entrypoint and command."""
    working_dir: str
    layers: tuple[Layer, ...]
    steps: tuple[BuildStep, ...]
    facts: Sequence[Fact]
    """In the order of layers; within one in the order of paths. Then those of the finished image."""
    waste: Waste = Waste()  # noqa: RUF009 - a tuple, never changed
    files: int = 0
    """Names in the finished image that are no directories."""
    directories: int = 0
    content: int = 0
    """Bytes of the files of the finished image, hard links counted once."""
    hardening: Mapping[str, int] = field(default_factory=dict)
    """Programs and libraries of the finished image: how many (``elf``), and how many have each thing."""

    def of(self, *kinds: FactKind) -> Iterator[Fact]:
        """Yield the facts of these kinds, in their order."""
        return (fact for fact in self.facts if fact.kind in kinds)

    @property
    def stored(self) -> int:
        """Bytes of all layers, as they are stored."""
        return sum(layer.size for layer in self.layers)
