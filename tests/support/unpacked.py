"""Unpacks what the HTML report carries for its script: the tests' own reading of `report.html.pack`."""

from __future__ import annotations

import base64
import json
import zlib
from itertools import accumulate, pairwise
from typing import Any, NamedTuple


class UnpackedFile(NamedTuple):
    """One row of the list of paths."""

    path: str
    zone: str | None
    verdict: str
    net: str
    mount: int | None
    ops: dict[str, int]
    bytes: int


class UnpackedEvent(NamedTuple):
    """One event."""

    seq: int
    micros: int
    pid: int
    path: str
    op: str
    result: str
    verdict: str
    shape: str
    source: str | None
    seen_as: str | None
    bytes: int | None
    calls: int | None


def unpack(tables: str, data: str) -> tuple[list[UnpackedFile], list[UnpackedEvent]]:
    """Return all paths and events of a page."""
    t: dict[str, Any] = json.loads(tables)
    stream = zlib.decompress(base64.b64decode(data), -15)
    lengths = iter(t["lengths"])
    at = 0

    def raw() -> bytes:
        nonlocal at
        size = next(lengths)
        at += size
        return stream[at - size : at]

    def numbers(*, signed: bool = False) -> list[int]:
        planes = raw()
        count = len(planes) // 4
        rows = zip(*(planes[plane * count : (plane + 1) * count] for plane in range(4)), strict=True)
        return [int.from_bytes(bytes(row), "little", signed=signed) for row in rows]

    def wide() -> list[int]:
        low, high = numbers(), numbers()
        return [a | b << 32 for a, b in zip(low, high, strict=True)]

    tails, verdict, net = raw(), raw(), raw()
    shared, tail_lengths = numbers(), numbers()
    paths: list[str] = []
    before, read = b"", 0
    for common, length in zip(shared, tail_lengths, strict=True):
        before = before[:common] + tails[read : read + length]
        read += length
        paths.append(before.decode())
    zone, mount, opset, sizes = numbers(), numbers(), numbers(), wide()
    files = [
        UnpackedFile(
            paths[i], t["zones"][zone[i]], t["verdicts"][verdict[i]], t["nets"][net[i]],
            t["mounts"][mount[i]][0], t["opsets"][opset[i]], sizes[i],
        )
        for i in range(t["files"])
    ]  # fmt: skip
    op, judged = raw(), raw()
    seq = list(accumulate(number + 1 for number in numbers()))
    micros, life = list(accumulate(numbers())), list(accumulate(numbers(signed=True)))
    file = list(accumulate(numbers(signed=True)))
    result, shape, source, seen = numbers(), numbers(), numbers(signed=True), numbers()
    size, calls = wide(), numbers()
    joined, text_lengths = raw(), numbers()
    ends = list(accumulate(text_lengths, initial=0))
    texts = [joined[a:b].decode() for a, b in pairwise(ends)]
    assert at == len(stream)

    def name_of(number: int) -> str | None:
        return None if not number else paths[number - 1] if number > 0 else texts[-number - 1]

    events = [
        UnpackedEvent(
            seq[i], micros[i], t["lives"][life[i]], paths[file[i]], t["ops"][op[i]], t["results"][result[i]],
            t["verdicts"][judged[i]], t["shapes"][shape[i]], name_of(source[i]),
            texts[seen[i] - 1] if seen[i] else None, size[i] - 1 if size[i] else None,
            calls[i] - 1 if calls[i] else None,
        )
        for i in range(t["events"])
    ]  # fmt: skip
    return files, events
