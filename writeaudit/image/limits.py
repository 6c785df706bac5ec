"""How much of an image is read: it is made by whoever wants to, and a small file can hold endless layers."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """Bounds. What goes beyond them is refused, and the report says so."""

    document: int = 8 << 20
    """Bytes of a manifest, an index or a configuration."""
    nesting: int = 4
    """Indexes in indexes."""
    manifests: int = 1000
    layers: int = 1000
    entries: int = 2_000_000
    """Of all layers together."""
    layer_bytes: int = 64 << 30
    """Bytes of one layer when it is decompressed."""
    ratio: int = 200
    """How many times as large a layer may become when it is decompressed, from `ratio_from` on."""
    ratio_from: int = 256 << 20
    header: int = 1 << 20
    """Bytes of the headers of one entry of an archive."""
    path: int = 4096
    """Bytes of a path, as of the kernel."""
    depth: int = 255
    """Components of a path."""
    examined: int = 1 << 20
    """Bytes of a text file that are looked through for credentials."""
    elf: int = 128 << 20
    """Bytes of a program that are kept in memory to be parsed."""
    symlinks: int = 40
    """Symlinks that are followed for one path, as by the kernel."""
