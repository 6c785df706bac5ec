"""scripts/screenshots: a picture keeps its colours when its file becomes smaller."""

from __future__ import annotations

import importlib.util
import struct
import zlib
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _script() -> ModuleType:
    loader = SourceFileLoader("screenshots", str(ROOT / "scripts" / "screenshots"))
    spec = importlib.util.spec_from_loader("screenshots", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _png(width: int, rows: list[bytes], kind: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, len(rows), 8, kind, 0, 0, 0)
    body = zlib.compress(b"".join(rows))
    return _SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunks(png: bytes) -> dict[bytes, bytes]:
    found, at = {}, len(_SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found[png[at + 4 : at + 8]] = png[at + 8 : at + 8 + length]
        at += length + 12
    return found


@pytest.mark.parametrize(
    ("filtered", "expected"),
    [
        (b"\0\x0a\x14\x1e\x28\x32\x3c", (10, 20, 30, 40, 50, 60)),
        (b"\1\x0a\x14\x1e\x1e\x1e\x1e", (10, 20, 30, 40, 50, 60)),
        (b"\2\x09\x13\x1d\x24\x2e\x38", (10, 20, 30, 40, 50, 60)),
        (b"\3\x0a\x14\x1e\x23\x28\x2d", (10, 20, 30, 40, 50, 60)),
        (b"\4\x09\x13\x1d\x1e\x1e\x1e", (10, 20, 30, 40, 50, 60)),
    ],
    ids=["none", "sub", "up", "average", "paeth"],
)
def test_colours_stay_under_every_filter(filtered: bytes, expected: tuple[int, ...]) -> None:
    above = b"\0\x01\x01\x01\x04\x04\x04"
    pixels = [above, filtered] if filtered[0] in (2, 4) else [b"\0" * 7, filtered]
    chunks = _chunks(_script().shrink_png(_png(2, pixels, 2)))
    palette = chunks[b"PLTE"]
    numbers = zlib.decompress(chunks[b"IDAT"])[4:6]
    shown = tuple(value for number in numbers for value in palette[3 * number : 3 * number + 3])
    assert shown == expected
    assert chunks[b"IHDR"][9] == 3
