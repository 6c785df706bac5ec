"""Streams of bytes: decompressed, verified and bounded while they are read."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import queue
import threading
import zlib
from collections.abc import Callable
from typing import IO, Any, Protocol, Self

from writeaudit.image.errors import Damage, ImageError
from writeaudit.image.limits import Limits
from writeaudit.text import size

CHUNK = 1 << 18
"""Bytes that are read at a time."""
_AHEAD = 16
"""Pieces of that size that are decompressed ahead."""
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_OTHERS = {b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
_ALL = zlib.MAX_WBITS | 16


class Reader(Protocol):
    """What gives bytes: b"" at the end."""

    def read(self, count: int, /) -> bytes:
        """Return up to ``count`` bytes."""


class Verified:
    """Counts and hashes all bytes of a stored blob, as they are read."""

    def __init__(self, source: IO[bytes] | Reader, algorithm: str | None = "sha256") -> None:
        """``algorithm``: None where nothing says what the digest should be."""
        self._source = source
        self._hash = None if algorithm is None else hashlib.new(algorithm, usedforsecurity=False)
        self.bytes = 0

    def read(self, count: int, /) -> bytes:
        """Return up to ``count`` bytes."""
        try:
            data = self._source.read(count)
        except OSError as error:
            raise Damage(f"it cannot be read: {error.strerror or error}") from error
        self.bytes += len(data)
        if self._hash is not None:
            self._hash.update(data)
        return data

    def finish(self) -> str:
        """Read what is left, and return the digest of all of it, ``sha256:…``; empty if none is taken."""
        while self.read(CHUNK):
            pass
        return "" if self._hash is None else f"{self._hash.name}:{self._hash.hexdigest()}"


class _Gunzip:
    """gzip (RFC 1952), of any number of members."""

    def __init__(self, source: Reader) -> None:
        self._source = source
        self._inflate = zlib.decompressobj(_ALL)
        self._input = b""
        self._started = False

    def read(self, count: int, /) -> bytes:
        """Return up to ``count`` bytes. Raises `Damage`."""
        while True:
            if not self._input:
                self._input = self._source.read(CHUNK)
            if self._inflate.eof:
                rest = self._input.lstrip(b"\0")  # padding, as of tapes
                if not rest:
                    if not self._input:
                        return b""
                    self._input = b""
                    continue
                if not rest.startswith(_GZIP[: len(rest)]):
                    raise Damage("bytes follow the end of its gzip stream")
                self._input, self._inflate = rest, zlib.decompressobj(_ALL)
            if not self._input:
                raise Damage("its gzip stream ends early", "truncated")
            try:
                data = self._inflate.decompress(self._input, count)
            except zlib.error as error:
                raise Damage(f"its gzip stream is damaged ({error})") from error
            self._input = self._inflate.unconsumed_tail or self._inflate.unused_data
            if data:
                return data


class _Unzstd:
    """zstd, by whichever library is there."""

    def __init__(self, source: Reader) -> None:
        self._read, self._errors = _zstd_reader(source)

    def read(self, count: int, /) -> bytes:
        """Return up to ``count`` bytes. Raises `Damage`."""
        try:
            return self._read(count)
        except EOFError as error:
            raise Damage("its zstd stream ends early", "truncated") from error
        except self._errors as error:
            raise Damage("its zstd stream is damaged") from error


def _zstd_reader(source: Reader) -> tuple[Callable[[int], bytes], type[Exception]]:
    """Return what reads, and what it raises. Raises `ImageError` where no library is installed."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            module: Any = importlib.import_module(name)
        except ImportError:
            continue
        return module.ZstdFile(source, "rb").read, module.ZstdError
    try:
        module = importlib.import_module("zstandard")
    except ImportError:
        raise ImageError(
            "a layer is compressed with zstd, and this Python has no library for it (3.14 has one)",
            hint="install the package zstandard beside writeaudit: pip install zstandard",
        ) from None
    decompressor = module.ZstdDecompressor(max_window_size=1 << 31)
    reader = decompressor.stream_reader(source, read_across_frames=True, read_size=CHUNK)
    return reader.read, module.ZstdError


class _Prefixed:
    """A stream whose first bytes were looked at."""

    def __init__(self, head: bytes, source: Reader) -> None:
        self._head = head
        self._source = source

    def read(self, count: int = CHUNK, /) -> bytes:
        if self._head:
            data, self._head = self._head[:count], self._head[count:]
            return data
        return self._source.read(count)


def compression_of(head: bytes) -> str:
    """Return by which compression a stream begins so: gzip, zstd, another's name, or empty for none."""
    if head.startswith(_GZIP):
        return "gzip"
    if head.startswith(_ZSTD):
        return "zstd"
    return next((name for magic, name in _OTHERS.items() if head.startswith(magic)), "")


def decompress(source: Reader) -> Reader:
    """Return the stream, decompressed if its first bytes say that it is compressed. Raises `ImageError`."""
    head = b""
    while len(head) < 6 and (more := source.read(6 - len(head))):
        head += more
    whole = _Prefixed(head, source)
    match compression_of(head):
        case "":
            return whole
        case "gzip":
            return _Gunzip(whole)
        case "zstd":
            return _Unzstd(whole)
        case other:
            raise ImageError(
                f"a layer is compressed with {other}, which images do not use",
                hint="convert it: skopeo copy --dest-compress-format gzip SOURCE oci:DIR",
            )


class Bounded:
    """What a layer decompresses to: counted, hashed, and refused where it becomes absurdly large."""

    def __init__(self, source: Reader, stored: Verified, limits: Limits, *, digest: bool) -> None:
        """``stored``: what it is decompressed from. ``digest``: whether to work out a sha256."""
        self._source = source
        self._stored = stored
        self._limits = limits
        self._hash = hashlib.sha256(usedforsecurity=False) if digest else None
        self.bytes = 0

    def read(self, count: int, /) -> bytes:
        """Return up to ``count`` bytes. Raises `Damage`."""
        data = self._source.read(count)
        self.bytes += len(data)
        if self.bytes > self._limits.layer_bytes:
            raise Damage(f"it is larger than {size(self._limits.layer_bytes)} when decompressed", "bomb")
        if self.bytes > self._limits.ratio_from and self.bytes > self._limits.ratio * self._stored.bytes:
            raise Damage(
                f"it becomes more than {self._limits.ratio} times as large when decompressed", "bomb"
            )
        if self._hash is not None:
            self._hash.update(data)
        return data

    def finish(self) -> str:
        """Read what is left, and return the digest of all; empty if none is taken. Raises `Damage`."""
        while self.read(CHUNK):
            pass
        return "" if self._hash is None else f"sha256:{self._hash.hexdigest()}"


class ReadAhead:
    """Reads in a thread of its own, some pieces ahead: decompressing and hashing need no interpreter lock."""

    def __init__(self, source: Reader) -> None:
        self._source = source
        self._pieces: queue.Queue[bytes | Exception] = queue.Queue(_AHEAD)
        self._held: bytes | Exception = b""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="read ahead", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread; what it read ahead is lost."""
        self._stopped.set()
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                self._pieces.get(timeout=0.01)
        self._thread.join()

    def _fill(self) -> None:
        while not self._stopped.is_set():
            try:
                piece: bytes | Exception = self._source.read(CHUNK)
            except Exception as error:  # noqa: BLE001 - raised again where it is read
                piece = error
            self._pieces.put(piece)
            if not piece or isinstance(piece, Exception):
                return

    def read(self, count: int, /) -> bytes:
        """Return up to ``count`` bytes. Raises what the source raised."""
        held = self._held or self._pieces.get()
        if isinstance(held, Exception):
            self._held = held
            raise held
        if not held:
            self._pieces.put(held)  # the end stays the end
            return b""
        self._held = held[count:]
        return held[:count]
