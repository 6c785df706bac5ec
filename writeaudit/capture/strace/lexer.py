r"""The grammar of one line of strace's output (strace(1), options -f -ttt -T -x -y).

A call reads ``name(arg, arg, ...) = result <duration>``. An argument is a quoted string,
a descriptor with its path (``3</path>``), a bare word (``O_RDONLY|O_CLOEXEC``, ``0644``,
``NULL``), a bracketed list, or fields in braces. strace escapes ``"``, ``\``, ``<``, ``>``
and everything that does not print wherever a name chosen by the traced program is shown,
so no name can end its own quotes; arguments are nevertheless read from the left, token by
token, and never searched for.

Pure: bytes in, values out.
"""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

from writeaudit.events import NO_DOUBT, Doubt

AT_FDCWD = -100


class UnparsedLine(ValueError):
    """A line that does not follow the grammar."""


class Text(NamedTuple):
    """A quoted string, its escapes undone."""

    value: bytes
    truncated: bool
    """strace printed ``...`` behind it."""

    @property
    def doubt(self) -> Doubt:
        """What it makes doubtful about a path."""
        return Doubt.UNREADABLE if self.truncated else NO_DOUBT


class Descriptor(NamedTuple):
    """A file descriptor that strace decoded."""

    number: int
    """`AT_FDCWD` for the working directory."""
    path: bytes
    """The target of ``/proc/PID/fd/N``; ``socket:[1]``, ``pipe:[2]`` and such for no file."""
    deleted: bool
    """The file has no name any more."""


class Group(NamedTuple):
    """``[...]`` or ``{...}``: values, and the names of those that have one."""

    items: tuple[Arg, ...]
    keys: tuple[bytes, ...]
    """As many as ``items``; empty where a value has no name."""

    def get_field(self, key: bytes) -> Arg | None:
        """Return the value of the first field of that name."""
        return self.items[self.keys.index(key)] if key in self.keys else None

    def all_fields(self, key: bytes) -> list[Arg]:
        """Return the values of all fields of that name."""
        return [item for item, name in zip(self.items, self.keys, strict=True) if name == key]


Arg: TypeAlias = Text | Descriptor | Group | bytes
"""A bare word is bytes."""


class Result(NamedTuple):
    """What a call returned."""

    value: int | None
    """None where strace says ``?``."""
    error: str | None
    """The errno's name, ERESTARTSYS and similar ones included."""
    path: bytes | None
    """The path of a descriptor that was returned."""
    deleted: bool
    pid: int | None
    """For a process id: the one in strace's own pid namespace, where it differs."""
    duration_ns: int


_QUOTED = rb'"((?:[^"\\]++|\\.)*+)"'
_ANGLED = rb"<((?:[^<>\\]++|\\.)*+)>(\(deleted\))?+"

# The shapes that nearly all arguments have, with the separator behind them. Groups:
# 1 string, 2 number and 3 path of a descriptor, 4 its deleted mark, 5 word, 6 separator.
_simple = re.compile(
    rb"(?:" + _QUOTED + rb"|(-?\d++|AT_FDCWD)" + _ANGLED + rb"|([\w|.+*-]++))(, |\))", re.DOTALL
).match

_quoted = re.compile(_QUOTED + rb"(\.\.\.)?", re.DOTALL).match
_descriptor = re.compile(rb"(-?\d++|AT_FDCWD)" + _ANGLED).match
_noise = re.compile(rb"(?: |/\*.*?\*/|<unfinished \.\.\.>|=>)+").match
_word = re.compile(rb"_IOC\([^()\"<>]*\)|[^\s,\"<>(){}\[\]=]+").match
_key = re.compile(rb"([a-z]\w*)=(?!>)").match

_result = re.compile(
    rb" *= (?:-1 (?:([A-Z]\w*) \(|\(errno (\d+)\))"
    rb"|(0x[0-9a-f]++|-?\d++)(?:" + _ANGLED + rb")?+(?: /\* (\d+) in strace's PID NS \*/)?+"
    rb"|\?(?: ([A-Z]\w*))?)"
).match

_escape = re.compile(rb"\\(x[0-9a-f]{2}|[0-7]{1,3}|.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f"}
_CLOSERS = {b"[": b"]", b"{": b"}", b"(": b")"}
_DELETED = b" (deleted)"


def _unescape_one(match: re.Match[bytes]) -> bytes:
    body = match[1]
    if body[:1] == b"x" and len(body) == 3:
        return bytes((int(body[1:], 16),))
    if body.isdigit():
        return bytes((int(body, 8) & 0xFF,))
    return _LETTERS.get(body, body)


def unescape_string(raw: bytes) -> bytes:
    """Undo strace's escapes: octal, hexadecimal and the letters of C."""
    return _escape.sub(_unescape_one, raw) if b"\\" in raw else raw


def parse_arguments(line: bytes, pos: int) -> tuple[list[Arg], int]:
    """Read the arguments that begin at ``pos``, just behind the opening parenthesis.

    Returns them and the position behind the closing one. Raises `UnparsedLine`.
    """
    args: list[Arg] = []
    while True:
        match = _simple(line, pos)
        if match is not None:
            kind = match.lastindex
            text, number, path, deleted, word, separator = match.groups()
            assert kind == 6
            if text is not None:
                args.append(Text(unescape_string(text) if b"\\" in text else text, False))
            elif word is not None:
                args.append(word)
            else:
                args.append(_make_descriptor(number, path, deleted))
            pos = match.end()
            if separator == b")":
                return args, pos
            continue
        if line[pos : pos + 1] == b")":
            return args, pos + 1
        arg, pos = _read_argument(line, pos)
        args.append(arg)
        separator = line[pos : pos + 1]
        if separator == b")":
            return args, pos + 1
        if separator != b",":
            raise UnparsedLine(f"no separator at byte {pos}")
        pos = _skip_blanks(line, pos + 1)


def _make_descriptor(number: bytes, path: bytes, deleted: bytes | None) -> Descriptor:
    return Descriptor(
        AT_FDCWD if number == b"AT_FDCWD" else int(number), unescape_string(path), deleted is not None
    )


def _skip_blanks(line: bytes, pos: int) -> int:
    match = _noise(line, pos)
    return pos if match is None else match.end()


def _read_argument(line: bytes, pos: int) -> tuple[Arg, int]:
    """Read one argument of any shape: the first value counts, what strace adds to it does not.

    (``[0] => [3]``: what went in; ``{…} => {…}``: the fields of both; ``BTRFS_IOC_CLONE or
    FICLONE``: all of the words.)
    """
    first: Arg | None = None
    words: list[bytes] = []
    while True:
        pos = _skip_blanks(line, pos)
        char = line[pos : pos + 1]
        if char in (b",", b")", b"]", b"}", b""):
            break
        value: Arg | None = None
        if match := _quoted(line, pos):
            value, pos = Text(unescape_string(match[1]), match[2] is not None), match.end()
        elif match := _descriptor(line, pos):
            value, pos = _make_descriptor(match[1], match[2], match[3]), match.end()
        elif char in _CLOSERS:
            value, pos = _read_group(line, pos + 1, _CLOSERS[char])
        elif match := _word(line, pos):
            words.append(match[0])
            pos = match.end()
        elif char in (b"=", b"<", b">", b"@"):
            if char == b"@":
                words.append(char)  # the address of an abstract socket: @"name" is no path
            pos += 1  # operators in what strace computes for the reader: 1<<3
        else:
            raise UnparsedLine(f"no argument at byte {pos}")
        if first is None and not words:
            first = value
        elif isinstance(value, Group) and isinstance(first, Group) and any(value.keys):
            # What the kernel filled in: {src_length=9, …} => {info=[…]}.
            first = Group(first.items + value.items, first.keys + value.keys)
    return (b" ".join(words) if first is None else first), pos


def _read_group(line: bytes, pos: int, closer: bytes) -> tuple[Group, int]:
    items: list[Arg] = []
    keys: list[bytes] = []
    pos = _skip_blanks(line, pos)
    while True:
        if line[pos : pos + 1] == closer:
            return Group(tuple(items), tuple(keys)), pos + 1
        key = _key(line, pos)
        if key is not None:
            pos = key.end()
        value, end = _read_argument(line, pos)
        if end == pos and line[end : end + 1] != closer:
            raise UnparsedLine(f"no value at byte {pos}")
        items.append(value)
        keys.append(b"" if key is None else key[1])
        pos = end
        if line[pos : pos + 1] == b",":
            pos = _skip_blanks(line, pos + 1)


def parse_result(line: bytes, pos: int) -> Result:
    """Read what follows the closing parenthesis at ``pos``. Raises `UnparsedLine`."""
    match = _result(line, pos)
    if match is None:
        raise UnparsedLine(f"no result at byte {pos}")
    error, errno, value, path, deleted, pid, restart = match.groups()
    took = duration_ns(line)
    if error is not None:
        return Result(-1, error.decode(), None, False, None, took)
    if value is not None:
        return Result(
            int(value, 16 if value[:2] == b"0x" else 10),
            None,
            None if path is None else unescape_string(path),
            deleted is not None,
            None if pid is None else int(pid),
            took,
        )
    if errno is not None:
        return Result(-1, f"E{errno.decode()}", None, False, None, took)
    return Result(None, None if restart is None else restart.decode(), None, False, None, took)


def duration_ns(line: bytes) -> int:
    """Return the time that -T put at the end of ``line``, 0 if there is none."""
    if line[-10:-7] == b"<0.":  # as nearly always: less than a second
        return int(line[-7:-1]) * 1000
    start = line.rfind(b" <")
    if start < 0 or line[-1:] != b">":
        return 0
    digits = line[start + 2 : -1].replace(b".", b"")
    return int(digits) * 1000 if digits.isdigit() else 0


def strip_deleted(path: bytes) -> tuple[bytes, bool]:
    """Take off the mark that the kernel puts behind the path of a file without a name.

    strace does so itself from 5.19 on, but for the working directory.
    """
    return (path[: -len(_DELETED)], True) if path.endswith(_DELETED) else (path, False)
