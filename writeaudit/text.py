"""How bytes that an audited program chose become text that is safe to show.

A path is bytes. `escape_path` makes of it a string that is unique, printable and reversible:
every byte that is not valid UTF-8, every control character and every backslash becomes
an escape. Renderers escape again for their own format (HTML, rich markup).
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable

_PLAIN = re.compile(rb"[ -\[\]-~]*")
_HIDDEN_SPACE = re.compile(r"(?:^|(?<=[ /])) | (?=[ /]|$)")
_ESCAPE = re.compile(r"\\(?:\\|x([0-9a-f]{2}))")

# Characters that print as nothing or reorder their neighbours (bidi overrides, zero-width
# joiners, line separators): control in effect, though not all in Unicode category Cc.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"})
# Every space but the ASCII one (no-break space, em space, …) looks like it. The others print as nothing, and
# are letters, marks or symbols by their category: Default_Ignorable_Code_Point, and the empty Braille cell.
_BLANK = re.compile(
    "[\u00a0\u034f\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200a\u202f\u205f\u2800\u3000\u3164"
    "\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def escape_path(raw: bytes) -> str:
    r"""Return `raw` as text: unique, printable, reversible by `unescape_path`.

    Invalid UTF-8, control and invisible characters read ``\xNN`` for each byte, a
    backslash reads ``\\``. So does a space that nobody would see or could count: at either end of a
    component, or beside another one.
    """
    shown = escape_argument(raw)
    return _HIDDEN_SPACE.sub(r"\\x20", shown) if " " in shown else shown


def escape_argument(raw: bytes) -> str:
    """Return an argument of a command line as text, as `escape_path` would, but with all its spaces.

    Those of a program's text (``python -c``) are many; whoever shows arguments puts quotes around them.
    """
    if _PLAIN.fullmatch(raw):
        return raw.decode("ascii")
    out: list[str] = []
    for char in raw.decode("utf-8", "surrogateescape"):
        if char == "\\":
            out.append("\\\\")
        elif "\udc80" <= char <= "\udcff":
            out.append(f"\\x{ord(char) - 0xDC00:02x}")
        elif unicodedata.category(char) in _HIDDEN_CATEGORIES or _BLANK.match(char):
            out.extend(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))
        else:
            out.append(char)
    return "".join(out)


def escape_text(text: str) -> str:
    """Return a string from the environment, a table or a policy as safe text: see `escape_argument`.

    Text that is safe already stays as it is, also what `escape_path` made.
    """
    if text.isprintable() and not _BLANK.search(text):
        return text
    return escape_argument(text.encode("utf-8", "surrogateescape"))


def quote_name(raw: bytes) -> str:
    r"""Return a name as it stands in a sentence: between backticks, and itself without any (``\x60``).

    So a name stands out by its form in every report, and cannot pass for words of ours.
    """
    return f"`{escape_path(raw).replace('`', BACKTICK)}`"


def show_zone(name: str) -> str:
    """Return the name of a zone or policy as it stands in a sentence: quoted unless it is one word."""
    return name if _WORD.fullmatch(name) else quote_name(name.encode("utf-8", "surrogateescape"))


_WORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_./-]*[A-Za-z0-9])?")
BACKTICK = "\\x60"
"""A backtick within a name: `unescape_path` gives it back."""


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known word that a mistyped one is most like, None if none is (cutoff: 0 to 1)."""
    import difflib  # noqa: PLC0415 - start-up: only mistakes need it

    found = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return found[0] if found else None


def unescape_path(text: str) -> bytes:
    """Return the bytes that `escape_path` was given."""
    out = bytearray()
    pos = 0
    for match in _ESCAPE.finditer(text):
        out += text[pos : match.start()].encode("utf-8")
        out += b"\\" if match[1] is None else bytes([int(match[1], 16)])
        pos = match.end()
    out += text[pos:].encode("utf-8")
    return bytes(out)


def size(count: int) -> str:
    """Return a number of bytes for people: ``0 B``, ``12.3 MiB``; binary units."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if value < 1024 or unit == "TiB":
            return f"{value:.1f} {unit}"
    raise AssertionError("unreachable")


def is_number(text: str, most_digits: int) -> bool:
    """Whether a text is a decimal number of ASCII digits, and not too many of them."""
    return text.isascii() and text.isdecimal() and len(text) <= most_digits


def format_device(dev: int) -> str:
    """Return a device number (`os.makedev`) as ``major:minor``."""
    return f"{os.major(dev)}:{os.minor(dev)}"


def plural(count: int, noun: str, many: str | None = None) -> str:
    """Return ``1 file``, ``2 files``, ``1,234 files``."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


_SHELL_PLAIN = re.compile(rb"[A-Za-z0-9_@%+=:,./-]+")


def shell_word(raw: bytes) -> str:
    r"""Return `raw` as one word of a POSIX-like shell (bash, zsh, ksh), which gives exactly these bytes back.

    As it stands where that is safe, in single quotes where it prints, as ``$'\NNN'`` (octal) otherwise: what
    is shown to be pasted must neither run anything nor hide anything.
    """
    if _SHELL_PLAIN.fullmatch(raw) and not raw.startswith(b"-"):
        return raw.decode("ascii")
    shown = escape_argument(raw)
    if "`" not in shown and shown.encode("utf-8", "surrogateescape") == raw:
        return "'" + shown.replace("'", "'\\''") + "'"
    out: list[str] = []
    for char in raw.decode("utf-8", "surrogateescape"):
        if char in "'\\":
            out.append(f"\\{char}")
        elif char != "`" and escape_argument(char.encode("utf-8", "surrogateescape")) == char:
            out.append(char)
        else:
            # Three octal digits, and no more: \xNN would swallow a hexadecimal digit that follows.
            out.extend(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogateescape"))
    return "$'" + "".join(out) + "'"
