"""The kernel's BPF ring buffer, read through its memory mapping.

Records are taken out as fast as they can be copied and kept until somebody has time to
decode them: a burst of events must find room again at once, whatever decoding costs.
Layout: Linux, kernel/bpf/ringbuf.c; one page with the consumer's position, one with the
producer's, then the data, mapped twice in a row so that no record is ever cut in two.
"""

from __future__ import annotations

import errno
import io
import mmap
import os
import struct
from collections import deque
from collections.abc import Iterator

_POSITION = struct.Struct("=Q")
_BUSY, _DISCARD = 1 << 31, 1 << 30
_SIZE = _DISCARD - 1
_HEADER_BYTES = 8


class Ring:
    """The consumer's end of a ring buffer map."""

    def __init__(self, fd: int, size: int) -> None:
        page = mmap.PAGESIZE
        self._size = size
        self._consumer = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._data = mmap.mmap(fd, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        # The headers: each begins at a multiple of eight bytes with 32 bits of length and flags.
        self._words = memoryview(self._data)[page:].cast("I")
        self._start = page
        self._position = 0

    def count_waiting(self) -> int:
        """Return how many bytes wait to be taken, unfinished records and headers included."""
        produced: int = _POSITION.unpack_from(self._data)[0]
        return produced - self._position

    def take_records(self) -> bytes:
        """Take out all that is finished, as raw records; b"" if there is nothing."""
        produced = _POSITION.unpack_from(self._data)[0]
        position = self._position
        if produced == position:
            return b""
        # A record that is still being written ends the run; everything before it is whole.
        words, mask = self._words, self._size - 1
        end = position
        while end < produced:
            length = words[(end & mask) >> 2]
            if length >= _BUSY:
                break
            end += ((length & _SIZE) + 15) & -8
        if end == position:
            return b""
        offset = self._start + (position & mask)
        chunk = self._data[offset : offset + end - position]
        self._position = end
        _POSITION.pack_into(self._consumer, 0, end)
        return chunk

    def close(self) -> None:
        """Unmap the buffer."""
        self._words.release()
        self._data.close()
        self._consumer.close()


def split_records(chunk: bytes) -> Iterator[bytes]:
    """Yield the payloads of raw records as `Ring.take_records` returns them."""
    position, end = 0, len(chunk)
    words = memoryview(chunk).cast("I")
    while position < end:
        length = words[position >> 2]
        size = length & _SIZE
        if length < _DISCARD:
            yield chunk[position + _HEADER_BYTES : position + _HEADER_BYTES + size]
        position += (size + 15) & -8


class Backlog:
    """Chunks that wait to be decoded: in memory, beyond a limit in an unnamed file."""

    def __init__(self, limit: int = 32 << 20, directory: str | None = None) -> None:
        self._limit = limit
        self._directory = directory
        self._chunks: deque[bytes] = deque()
        self.held = 0
        """Bytes in memory."""
        self._file: io.FileIO | None = None
        self._spilled: deque[tuple[int, int]] = deque()

    def __bool__(self) -> bool:
        return bool(self._chunks or self._spilled)

    def push_chunk(self, chunk: bytes) -> None:
        """Add a chunk at the end. Raises OSError if the disk is full."""
        # Once something was spilled, order asks that all that follows is, until it is read back.
        if not self._spilled and self.held + len(chunk) <= self._limit:
            self._chunks.append(chunk)
            self.held += len(chunk)
            return
        if self._file is None:
            import tempfile  # noqa: PLC0415 - start-up: hardly any run comes to this

            # Unbuffered: what finds no room must be refused here, not when it is read back.
            self._file = tempfile.TemporaryFile(buffering=0, dir=self._directory)  # noqa: SIM115 - see `close`
        offset = self._file.seek(0, 2)
        if self._file.write(chunk) != len(chunk):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._spilled.append((offset, len(chunk)))

    def pop_chunk(self) -> bytes:
        """Take the first chunk."""
        if self._chunks:
            chunk = self._chunks.popleft()
            self.held -= len(chunk)
            return chunk
        offset, length = self._spilled.popleft()
        assert self._file is not None
        self._file.seek(offset)
        chunk = self._file.read(length)
        if not self._spilled:
            self._file.truncate(0)
        return chunk

    def close(self) -> None:
        """Forget everything."""
        self._chunks.clear()
        self._spilled.clear()
        if self._file is not None:
            self._file.close()
