"""How bytes that an audited program chose become text that is safe to show.

A path is bytes. `show` makes of it a string that is unique, printable and reversible:
every byte that is not valid UTF-8, every control character and every backslash becomes
an escape. Renderers escape once more for their own format (HTML, rich markup).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_PLAIN = re.compile(rb"[ -\[\]-~]*")
_ESCAPE = re.compile(r"\\(?:\\|x([0-9a-f]{2}))")

# Characters that print as nothing or reorder their neighbours (bidi overrides, zero-width
# joiners, line separators): control in effect, though not all in Unicode category Cc.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"})


def show(raw: bytes) -> str:
    r"""Return `raw` as text: unique, printable, reversible by `unshow`.

    Invalid UTF-8, control and invisible characters read ``\xNN`` for each byte, a
    backslash reads ``\\``.
    """
    if _PLAIN.fullmatch(raw):
        return raw.decode("ascii")
    out: list[str] = []
    for char in raw.decode("utf-8", "surrogateescape"):
        if char == "\\":
            out.append("\\\\")
        elif "\udc80" <= char <= "\udcff":
            out.append(f"\\x{ord(char) - 0xDC00:02x}")
        elif unicodedata.category(char) in _HIDDEN_CATEGORIES:
            out.extend(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))
        else:
            out.append(char)
    return "".join(out)


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known word that a mistyped one is most like, None if none is (cutoff: 0 to 1)."""
    import difflib  # noqa: PLC0415 - start-up: only mistakes need it

    found = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return found[0] if found else None


def unshow(text: str) -> bytes:
    """Return the bytes that `show` was given."""
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


def plural(count: int, noun: str, many: str | None = None) -> str:
    """Return ``1 file``, ``2 files``, ``1,234 files``."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"
