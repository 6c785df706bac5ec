"""Programs and libraries that the run wrote: what their headers say, read when the run is over.

The files are as hostile as the program that wrote them: so much of each is read and no more, for so long
and no longer, and what cannot be parsed is said to be damaged. Nothing is run, no symlink is followed.
"""

from __future__ import annotations

import io
import os
import re
import stat
import time
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any, cast

from writeaudit.audit import Binary
from writeaudit.events import FsEvent, Op

WATCHED = frozenset({Op.OPEN, Op.CHMOD, Op.RENAME})
"""Operations that `Binaries.note_event` wants to know of."""
_LIKELY = re.compile(rb"\.so(?:\.[0-9.]+)?\Z|\.node\Z|/s?bin/[^/]+\Z|/libexec/.+\Z")
_MOST = 4096
_MOST_BYTES = 4 << 20
"""How much of one file is read."""
_SECONDS = 3.0
_MOST_HEADERS, _MOST_TAGS = 256, 4096
_MOST_TEXT = 4096


class _TooMuch(Exception):
    pass


class _Bounded(io.RawIOBase):
    """A file of which only so much is read."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._left = _MOST_BYTES

    def read(self, size: int = -1) -> bytes:
        """Read, as long as there is something left of the allowance."""
        if size < 0 or size > self._left:
            raise _TooMuch
        self._left -= size
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """As of any file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As of any file."""
        return self._file.tell()


class Binaries:
    """Notes files that may be programs or libraries, and looks into them at the end."""

    def __init__(self) -> None:
        self._paths: dict[bytes, bool] = {}
        """With whether the file was there before."""

    def note_event(self, event: FsEvent) -> None:
        """Take an event that succeeded, of one of `WATCHED`."""
        path, op = event.path, event.op
        if op is Op.RENAME:
            old = self._paths.pop(event.source or b"", None)
            if old is not None:
                self._paths[path] = False
            return
        if path in self._paths or len(self._paths) >= _MOST:
            return
        if op is Op.CHMOD:
            if (event.mode or 0) & 0o111:
                self._paths[path] = False
            return
        if event.access is None or not event.access.writes or event.fmt not in (None, stat.S_IFREG):
            return
        if event.created:
            if (event.mode or 0) & 0o111 or _LIKELY.search(path):
                self._paths[path] = False
        elif _LIKELY.search(path) or _is_program(path):
            self._paths[path] = True

    def inspect_files(self) -> tuple[Binary, ...]:
        """Return what the files are that are still there."""
        until, found = time.monotonic() + _SECONDS, []
        for path, before in self._paths.items():
            if time.monotonic() > until:
                break
            try:
                binary = _inspect_file(path, before)
            except OSError:
                continue  # it cannot be read
            if binary is not None:
                found.append(binary)
        return tuple(found)


def _is_program(path: bytes) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) and mode & 0o111 != 0


def _inspect_file(path: bytes, before: bool) -> Binary | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        return None
    with open(fd, "rb") as file:
        magic = file.read(4)
        if magic[:2] == b"#!":
            return Binary(path, "script", existed=before)
        if magic != b"\x7fELF":
            return Binary(path, "other", existed=before) if before and mode & 0o111 else None
        file.seek(0)
        try:
            return _parse_elf(path, before, _Bounded(file))
        except _TooMuch:
            reason = "its headers point to more than is read"
        except Exception as error:  # noqa: BLE001 - a hostile file can make the parser raise anything
            reason = f"{type(error).__name__} while it was parsed"
        return Binary(path, "elf", existed=before, damaged=reason)


def _parse_elf(path: bytes, before: bool, stream: _Bounded) -> Binary:
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415 - start-up: few runs write such files
    from elftools.elf.segments import InterpSegment, NoteSegment  # noqa: PLC0415

    elf = ELFFile(cast("IO[bytes]", stream))
    if elf["e_phnum"] > _MOST_HEADERS:
        raise _TooMuch
    facts: dict[str, Any] = {}
    relro = False
    tags: list[tuple[str, Any]] = []
    for segment in elf.iter_segments():
        what = segment["p_type"]
        if what == "PT_GNU_STACK":
            facts["executable_stack"] = bool(segment["p_flags"] & 1)
        elif what == "PT_GNU_RELRO":
            relro = True
        elif what == "PT_DYNAMIC":
            tags = list(_iterate_tags(segment))
        elif isinstance(segment, InterpSegment):
            facts["interpreter"] = _decode_text(segment.get_interp_name())
        elif isinstance(segment, NoteSegment):
            for note in islice(segment.iter_notes(), _MOST_HEADERS):
                if note["n_type"] == "NT_GNU_BUILD_ID":
                    facts["build_id"] = str(note["n_desc"])[:64]
    texts = {tag: _decode_text(value) for tag, value in tags if tag in _TEXTS}
    bits = {tag: value for tag, value in tags if tag in ("DT_FLAGS", "DT_FLAGS_1")}
    names = {tag for tag, _value in tags}
    bind_now = "DT_BIND_NOW" in names or bits.get("DT_FLAGS", 0) & 0x8 or bits.get("DT_FLAGS_1", 0) & 0x1
    facts |= {field: texts[tag] for tag, field in _TEXTS.items() if tag in texts}
    return Binary(
        path,
        "elf",
        existed=before,
        type=str(elf["e_type"]).removeprefix("ET_").lower(),
        machine=str(elf["e_machine"]).removeprefix("EM_").lower(),
        needed=tuple(_decode_text(value) for tag, value in tags if tag == "DT_NEEDED")[:_MOST_HEADERS],
        pie=bool(bits.get("DT_FLAGS_1", 0) & 0x08000000),
        relro="none" if not relro else "full" if bind_now else "partial",
        text_relocations="DT_TEXTREL" in names or bool(bits.get("DT_FLAGS", 0) & 0x4),
        writable_paths=tuple(_writable_directories(path, facts.get("rpath"), facts.get("runpath"))),
        **facts,
    )


_TEXTS = {"DT_SONAME": "soname", "DT_RPATH": "rpath", "DT_RUNPATH": "runpath"}


def _iterate_tags(segment: Any) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a dynamic segment, with what they name where that is a text."""
    for tag in islice(segment.iter_tags(), _MOST_TAGS):
        kind = str(tag.entry.d_tag)
        attribute = "needed" if kind == "DT_NEEDED" else _TEXTS.get(kind)
        yield kind, tag.entry.d_val if attribute is None else getattr(tag, attribute)


def _decode_text(value: object) -> str:
    return str(value)[:_MOST_TEXT]


def _writable_directories(path: bytes, *lists: str | None) -> list[str]:
    """Return the directories of search paths that every user may write to, or make."""
    found = []
    origin = os.fsdecode(os.path.dirname(path))
    for entry in [entry for each in lists if each for entry in each.split(":")][:64]:
        place = entry.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)
        if not place.startswith("/"):
            continue
        try:
            mode = os.stat(place).st_mode
        except (OSError, ValueError):
            continue
        if mode & stat.S_IWOTH:
            found.append(entry)
    return found
