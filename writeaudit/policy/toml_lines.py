"""On which line of a TOML document each key stands; `tomllib` does not say."""

from __future__ import annotations

import re
import tomllib

Path = tuple[str | int, ...]
"""Keys and array indices from the top: ``("zones", 0, "access")``."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_FILLER = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}\n#]*")
_STRINGS = (
    re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)


class Lines:
    """The lines of a document that `tomllib` accepts. Never raises: what is not found falls back."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._pos = 0
        self._lines: dict[Path, int] = {(): 1}
        self._arrays: dict[Path, int] = {}
        self._line_at = 0
        self._line = 1
        try:
            self._read_document()
        except (IndexError, ValueError, RecursionError):
            # A document that tomllib reads and this does not: the nearest table has to do.
            self._pos = len(text)

    def line_of(self, *path: str | int) -> int:
        """Return the line, from 1, of `path`, or of the nearest thing around it that is known."""
        where: Path = path
        while where and where not in self._lines:
            where = where[:-1]
        return self._lines[where]

    def _read_document(self) -> None:
        table: Path = ()
        while True:
            self._skip_pattern(_FILLER)
            if self._pos >= len(self._text):
                return
            if self._text.startswith("[[", self._pos):
                self._pos += 2
                table = self._read_header(array=True)
                self._pos += 2
            elif self._text[self._pos] == "[":
                self._pos += 1
                table = self._read_header(array=False)
                self._pos += 1
            else:
                self._read_pair(table)

    def _read_header(self, *, array: bool) -> Path:
        keys = self._read_key()
        path: Path = ()
        for number, key in enumerate(keys):
            path = (*path, key)
            if array and number == len(keys) - 1:
                self._arrays[path] = self._arrays.get(path, 0) + 1
            if path in self._arrays:
                self._note_line(path)
                path = (*path, self._arrays[path] - 1)
        self._note_line(path)
        return path

    def _read_pair(self, table: Path) -> None:
        path = table
        for key in self._read_key():
            path = (*path, key)
            self._note_line(path)
        self._pos = self._text.index("=", self._pos) + 1
        self._skip_pattern(_BLANK)
        self._read_value(path)

    def _read_value(self, path: Path) -> None:
        opening = self._text[self._pos]
        if opening in "\"'":
            self._read_string()
        elif opening == "[":
            self._pos += 1
            index = 0
            while True:
                self._skip_pattern(_FILLER)
                if self._text[self._pos] == "]":
                    break
                if self._text[self._pos] == ",":
                    self._pos += 1
                    continue
                self._note_line((*path, index))
                self._read_value((*path, index))
                index += 1
            self._pos += 1
        elif opening == "{":
            self._pos += 1
            while True:
                self._skip_pattern(_FILLER)
                if self._text[self._pos] == "}":
                    break
                if self._text[self._pos] == ",":
                    self._pos += 1
                    continue
                self._read_pair(path)
            self._pos += 1
        else:
            self._skip_pattern(_SCALAR)

    def _read_key(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._skip_pattern(_BLANK)
            start = self._pos
            if self._text[start] in "\"'":
                self._read_string()
                keys.append(tomllib.loads(f"{self._text[start : self._pos]} = 0").popitem()[0])
            else:
                bare = _BARE.match(self._text, start)
                if bare is None:
                    raise ValueError(start)
                keys.append(bare[0])
                self._pos = bare.end()
            self._skip_pattern(_BLANK)
            if self._text[self._pos] != ".":
                return keys
            self._pos += 1

    def _read_string(self) -> None:
        for kind in _STRINGS:
            found = kind.match(self._text, self._pos)
            # "" would match at the start of an empty """…""" too, but that kind is tried before.
            if found is not None:
                self._pos = found.end()
                return
        raise ValueError(self._pos)

    def _skip_pattern(self, what: re.Pattern[str]) -> None:
        found = what.match(self._text, self._pos)
        if found is not None:
            self._pos = found.end()

    def _note_line(self, path: Path) -> None:
        self._line += self._text.count("\n", self._line_at, self._pos)
        self._line_at = self._pos
        self._lines.setdefault(path, self._line)
