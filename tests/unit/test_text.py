"""Names as text: printable, unique, reversible, and nothing that a reader would not see."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from writeaudit.text import escape_argument, escape_path, escape_text, unescape_path

BLANK = (
    "\u00a0", "\u00ad", "\u034f", "\u115f", "\u1160", "\u1680", "\u180b", "\u180e", "\u2003",
    "\u200b", "\u200d", "\u2028", "\u202e", "\u202f", "\u2060", "\u2066", "\u2800", "\u3000",
    "\u3164", "\ufe0f", "\ufeff", "\uffa0", "\U000e0020", "\U000e0100",
)  # fmt: skip
"""Characters that print as nothing, as something that looks like a space, or that move their neighbours."""


@given(st.binary(max_size=40) | st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_a_path_is_printable_and_reversible(raw: bytes) -> None:
    shown = escape_path(raw)
    assert unescape_path(shown) == raw
    assert shown.isprintable()
    assert unescape_path(escape_argument(raw)) == raw


@pytest.mark.parametrize("char", BLANK, ids=lambda char: f"U+{ord(char):04X}")
def test_what_nobody_would_see_is_shown(char: str) -> None:
    escaped = "".join(f"\\x{byte:02x}" for byte in char.encode())
    assert escape_path(f"/a{char}b".encode()) == f"/a{escaped}b"
    assert escape_argument(f"a{char}b".encode()) == f"a{escaped}b"
    assert escape_text(f"policy{char}name") == f"policy{escaped}name"


def test_every_space_but_one_is_listed() -> None:
    spaces = {chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Zs"} - {" "}
    assert not [space for space in spaces if escape_path(space.encode()) == space]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"/a b/c d", "/a b/c d"),
        (b"/ ", r"/\x20"),
        (b" a", r"\x20a"),
        (b"a ", r"a\x20"),
        (b"/x /y", r"/x\x20/y"),
        (b"/x/ y", r"/x/\x20y"),
        (b"a  b", r"a\x20\x20b"),
        (b"a   b c", r"a\x20\x20\x20b c"),
        ("é  ".encode(), r"é\x20\x20"),
    ],
)
def test_spaces_that_nobody_could_count_are_shown(name: bytes, shown: str) -> None:
    assert escape_path(name) == shown
    assert unescape_path(shown) == name


def test_arguments_keep_their_spaces() -> None:
    assert escape_argument(b"if x:\n    y  ") == r"if x:\x0a    y  "


@given(st.binary(max_size=20))
def test_text_that_was_escaped_stays(raw: bytes) -> None:
    assert escape_text(escape_path(raw)) == escape_path(raw)
