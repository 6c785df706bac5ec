"""What the headers of a program or library say, and what of it is unsafe.

The files are as hostile as whoever wrote them: so much of each is read and no more, and what cannot be parsed
is said to be damaged. The parsing is pyelftools'.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import IO, Any, cast

from writeaudit.audit import Binary
from writeaudit.text import quote_name

MAGIC = b"\x7fELF"
MOST_BYTES = 4 << 20
"""How much of one file is read."""
_MOST_HEADERS, _MOST_TAGS = 256, 4096
_MOST_TEXT = 4096
_MOST_PLACES = 64

_MACHINES = {
    "x86_64": {"x86_64", "386"},
    "aarch64": {"aarch64", "arm"},
    "i686": {"386"},
    "armv7l": {"arm"},
    "ppc64le": {"ppc64"},
    "s390x": {"s390"},
    "riscv64": {"riscv"},
}
"""What runs on a machine, by what uname(2) calls it."""


class _TooMuch(Exception):
    pass


class _Bounded(io.RawIOBase):
    """A file of which only so much is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = MOST_BYTES

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


def read_elf(path: bytes, file: IO[bytes], *, existed: bool = False) -> Binary:
    """Return what the headers of an ELF file say; `Binary.damaged` says why where they cannot be read."""
    try:
        return _parse_elf(path, existed, _Bounded(file))
    except _TooMuch:
        reason = "its headers point to more than is read"
    except Exception as error:  # noqa: BLE001 - a hostile file can make the parser raise anything
        reason = f"{type(error).__name__} while it was parsed"
    return Binary(path, "elf", existed=existed, damaged=reason)


def _parse_elf(path: bytes, existed: bool, stream: _Bounded) -> Binary:
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415 - start-up: few runs write such files
    from elftools.elf.segments import InterpSegment, NoteSegment  # noqa: PLC0415

    elf = ELFFile(cast("IO[bytes]", stream))
    if elf["e_phnum"] > _MOST_HEADERS:
        raise _TooMuch
    # The loader knows segments alone; sections, which may say anything, would be searched for each of them.
    elf.header["e_shoff"] = 0
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
        existed=existed,
        type=str(elf["e_type"]).removeprefix("ET_").lower(),
        machine=str(elf["e_machine"]).removeprefix("EM_").lower(),
        needed=tuple(_decode_text(value) for tag, value in tags if tag == "DT_NEEDED")[:_MOST_HEADERS],
        pie=bool(bits.get("DT_FLAGS_1", 0) & 0x08000000),
        relro="none" if not relro else "full" if bind_now else "partial",
        text_relocations="DT_TEXTREL" in names or bool(bits.get("DT_FLAGS", 0) & 0x4),
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


def find_writable_paths(binary: Binary, origin: str, is_writable: Callable[[str], bool]) -> tuple[str, ...]:
    """Return the entries of RPATH and RUNPATH that lead to a directory for which ``is_writable`` is true.

    ``origin``: the directory of the file. The function is asked for absolute directories.
    """
    found = []
    lists = (each for each in (binary.rpath, binary.runpath) if each)
    for entry in [entry for each in lists for entry in each.split(":")][:_MOST_PLACES]:
        place = entry.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)
        if place.startswith("/") and is_writable(place):
            found.append(entry)
    return tuple(found)


def list_hazards(
    binary: Binary, arch: str, *, build_directory: Callable[[str], object]
) -> Iterable[tuple[str, str, str]]:
    """Yield what is unsafe in an ELF file: a stable word, ``with an executable stack``, and the particulars.

    ``arch``: of the machine, by uname(2). ``build_directory``: whether an absolute entry of a search path
    that cannot be written leads to where things are only built. The texts are safe to show.
    """
    if binary.kind != "elf":
        return
    if binary.damaged:
        yield "damaged", "cannot be parsed", binary.damaged
        return
    for name, value in (("RPATH", binary.rpath), ("RUNPATH", binary.runpath)):
        for entry in [] if value is None else value.split(":"):
            shown = quote_name(entry.encode("utf-8", "surrogateescape"))
            if not entry:
                yield "empty-path", f"with an empty {name} entry", "the working directory is searched"
            elif not entry.startswith(("/", "$ORIGIN", "${ORIGIN}", "$LIB", "$PLATFORM")):
                yield (
                    "relative-path",
                    f"with a relative {name}",
                    f"{shown}: relative to the working directory",
                )
            elif entry in binary.writable_paths:
                yield "writable-path", f"with a {name} that every user may write to", shown
            elif build_directory(entry):
                yield "build-path", f"with a {name} into a build or home directory", shown
    if binary.executable_stack:
        yield "execstack", "with an executable stack", "PT_GNU_STACK has the flag X"
    if binary.text_relocations:
        yield "textrel", "with text relocations", "its code must be writable while it is loaded"
    runs = _MACHINES.get(arch)
    if runs is not None and binary.machine and binary.machine not in runs:
        yield "machine", "for another machine", f"{binary.machine}, where the machine is {arch}"


ELF_CAUSE = (
    "The dynamic loader looks for libraries where RPATH and RUNPATH say, so who can write there runs code "
    "in every program that uses the file; executable stacks and text relocations make attacks easier."
)
ELF_ADVICE = "Build it without, or change it: `patchelf --set-rpath`, `patchelf --clear-execstack`."
"""The same for whoever finds them."""
