"""A tar archive, read as a stream: the headers by tarfile, the pax records (POSIX.1-2001) here.

tarfile's own stream keeps headers in memory however long they are, and takes a damaged header in the middle
for the end of the archive. A layer can hold either on purpose.
"""

from __future__ import annotations

import base64
import binascii
import tarfile
from collections.abc import Callable, Iterator

from writeaudit.image.entries import Entry, EntryType
from writeaudit.image.errors import Damage
from writeaudit.image.limits import Limits
from writeaudit.image.streams import CHUNK, Reader
from writeaudit.text import is_number

_BLOCK = tarfile.BLOCKSIZE
_TYPES = {
    tarfile.REGTYPE: EntryType.FILE,
    tarfile.AREGTYPE: EntryType.FILE,
    tarfile.CONTTYPE: EntryType.FILE,
    tarfile.GNUTYPE_SPARSE: EntryType.FILE,
    tarfile.DIRTYPE: EntryType.DIRECTORY,
    tarfile.SYMTYPE: EntryType.SYMLINK,
    tarfile.LNKTYPE: EntryType.HARD_LINK,
    tarfile.CHRTYPE: EntryType.CHARACTER,
    tarfile.BLKTYPE: EntryType.BLOCK,
    tarfile.FIFOTYPE: EntryType.FIFO,
}
_CAPABILITY = (b"SCHILY.xattr.security.capability", b"LIBARCHIVE.xattr.security.capability")
_STORED = frozenset({EntryType.FILE})
"""Types whose bytes follow the header."""
_DIGITS = 20

Records = dict[bytes, bytes]


class TarReader:
    """Reads the entries of one archive, in order."""

    def __init__(self, stream: Reader, limits: Limits, skip: Callable[[int], None] | None = None) -> None:
        """``skip`` passes over so many bytes of the stream, where that is quicker than reading them."""
        self._stream = stream
        self._skip_bytes = skip
        self._given = 0
        """Bytes of the stream before the last piece."""
        self._limits = limits
        self._left = 0
        """Bytes of the current entry that were not read yet, padding included."""
        self._held = b""
        """The last piece of the stream, of which so much was given away:"""
        self._at = 0

    def entries(self) -> Iterator[Entry]:
        """Yield the entries. Raises `Damage` where the archive is cut off or no archive."""
        shared: Records = {}
        first = True
        while True:
            self._skip()
            block = self._take(_BLOCK)
            if block is None:
                if first:
                    raise Damage("it is empty: not a tar archive")
                return  # the blocks of zeros that should end it are missing, as of some writers
            if not block.strip(b"\0"):
                return
            entry = self._entry(block, shared, first)
            first = False
            if entry is not None:
                yield entry

    def _entry(self, block: bytes, shared: Records, first: bool) -> Entry | None:
        """Return the entry that this block begins; None if it is one that images have no use for."""
        own: Records = {}
        allowance = self._limits.header
        while True:
            header = _header(block, first)
            kind = header.type
            if kind not in (
                tarfile.XHDTYPE,
                tarfile.SOLARIS_XHDTYPE,
                tarfile.XGLTYPE,
                tarfile.GNUTYPE_LONGNAME,
                tarfile.GNUTYPE_LONGLINK,
            ):
                break
            allowance -= header.size + _BLOCK
            if allowance < 0 or header.size < 0:
                raise Damage("the headers of an entry are larger than is read", "bomb")
            data = self._whole(header.size)
            if kind == tarfile.XGLTYPE:
                shared.update(_records(data))
            elif kind == tarfile.GNUTYPE_LONGNAME:
                own.setdefault(b"path", data.split(b"\0", 1)[0])
            elif kind == tarfile.GNUTYPE_LONGLINK:
                own.setdefault(b"linkpath", data.split(b"\0", 1)[0])
            else:
                own |= _records(data)
            following = self._take(_BLOCK)
            if following is None or not following.strip(b"\0"):
                raise Damage("it ends after the headers of an entry", "truncated")
            block = following
        if kind == tarfile.GNUTYPE_SPARSE:
            self._skip_map(block)
        return self._made(header, shared | own)

    def _made(self, header: tarfile.TarInfo, records: Records) -> Entry | None:
        type_ = _TYPES.get(header.type)
        size = _number(records.get(b"size"), header.size)
        stored = size if type_ is None or type_ in _STORED else 0
        if stored < 0:
            raise Damage("an entry has a negative size")
        self._left = -(-stored // _BLOCK) * _BLOCK
        if type_ is None:
            return None
        name = records.get(b"GNU.sparse.name") or records.get(b"path") or _raw(header.name)
        if type_ is EntryType.FILE and name.endswith(b"/"):
            type_ = EntryType.DIRECTORY  # as old archives write it
        return Entry(
            name,
            type_,
            header.mode & 0o7777,
            _number(records.get(b"uid"), header.uid),
            _number(records.get(b"gid"), header.gid),
            _time(records.get(b"mtime"), header.mtime),
            stored,
            records.get(b"linkpath") or _raw(header.linkname),
            _capability(records),
            (header.devmajor, header.devminor),
            lambda: self._content(stored),
        )

    def _content(self, stored: int) -> Iterator[bytes]:
        padding = self._left - stored
        left = stored
        while left:
            data = self._read(min(left, CHUNK))
            if not data:
                raise Damage("it ends within a file", "truncated")
            left -= len(data)
            self._left = left + padding
            yield data

    @property
    def offset(self) -> int:
        """Bytes of the archive up to here: the place of an entry's content, right after it was yielded."""
        return self._given + self._at

    def read_after_end(self) -> bool:
        """Whether anything but zeros follows the end of the archive; reads all of the stream."""
        found = bool(self._held[self._at :].strip(b"\0"))
        while data := self._stream.read(CHUNK):
            found = found or bool(data.strip(b"\0"))
        return found

    def _skip(self) -> None:
        held = len(self._held) - self._at
        if self._skip_bytes is not None and self._left > held:
            self._skip_bytes(self._left - held)
            self._given, self._at = self._given + len(self._held) + self._left - held, 0
            self._held, self._left = b"", 0
        while self._left:
            data = self._read(min(self._left, CHUNK))
            if not data:
                raise Damage("it ends within a file", "truncated")
            self._left -= len(data)

    def _skip_map(self, block: bytes) -> None:
        """Skip the rest of the map of a sparse file of GNU tar: each block says whether one more follows."""
        is_extended = bool(block[482])
        allowance = self._limits.header
        while is_extended:
            allowance -= _BLOCK
            if allowance < 0:
                raise Damage("the map of a sparse file is larger than is read", "bomb")
            is_extended = bool(self._whole(_BLOCK)[504])

    def _whole(self, count: int) -> bytes:
        data = self._take(-(-count // _BLOCK) * _BLOCK)
        if data is None:
            raise Damage("it ends within a header", "truncated")
        return data[:count]

    def _take(self, count: int) -> bytes | None:
        """Return exactly so many bytes, None at the end. Raises `Damage` if it ends in between."""
        parts: list[bytes] = []
        left = count
        while left:
            data = self._read(left)
            if not data:
                break
            parts.append(data)
            left -= len(data)
        if left == count:
            return None if count else b""
        if left:
            raise Damage("it ends within a header", "truncated")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read(self, count: int) -> bytes:
        """Return up to so many bytes; small reads are served from a larger one."""
        if self._at >= len(self._held):
            self._given += len(self._held)
            self._held, self._at = self._stream.read(CHUNK), 0
        data = self._held[self._at : self._at + count]
        self._at += len(data)
        return data


def _header(block: bytes, first: bool) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        raise Damage("it is no tar archive" if first else "the header of an entry is damaged") from error


def _records(data: bytes) -> Records:
    r"""Return the records of a pax header: ``LENGTH NAME=VALUE\n`` each."""
    found: Records = {}
    place = 0
    while place < len(data) and data[place]:
        space = data.find(b" ", place, place + _DIGITS)
        number = data[place:space].decode("latin-1") if space > 0 else ""
        if not is_number(number, _DIGITS):
            raise Damage("a pax header is damaged")
        end = place + int(number)
        name, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or end > len(data) or data[end - 1 : end] != b"\n" or end <= space:
            raise Damage("a pax header is damaged")
        found[name] = value
        place = end
    return found


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _number(value: bytes | None, default: int) -> int:
    text = "" if value is None else value.decode("latin-1")
    return int(text) if is_number(text, _DIGITS) else default


def _time(value: bytes | None, default: float) -> float:
    try:
        return default if value is None else float(value)
    except ValueError:
        return default


def _capability(records: Records) -> bytes:
    plain, encoded = (records.get(name) for name in _CAPABILITY)
    if plain is not None:
        return plain
    if encoded is None:
        return b""
    try:
        return base64.b64decode(encoded + b"=" * (-len(encoded) % 4))
    except binascii.Error:
        return b""
