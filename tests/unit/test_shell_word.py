"""What is shown to be pasted into a shell gives the same bytes back, and runs nothing."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from writeaudit.text import shell_word

_AWKWARD = [
    b"/plain/path-1.0_x",
    b"/a b",
    b"$(touch x)",
    b"`touch x`",
    b"it's",
    b"a\nb",
    b"\x1b[31m",
    b"\xff\xfe",
    b"\\0001",
    b"\x01" + b"23",
    "/ä/→".encode(),
    "\u202ereversed".encode(),
    b"-rf",
    b"",
    b"!!",
    b"~",
    b"{a,b}",
    b"*",
    b"`'\\",
]


@pytest.mark.parametrize("raw", _AWKWARD)
def test_comes_back(raw: bytes) -> None:
    word = shell_word(raw)
    assert "`" not in word, "a backtick marks code in messages"
    assert word.isprintable()
    done = subprocess.run(["bash", "-c", f"printf -- %s {word}"], stdout=subprocess.PIPE, check=True)
    assert done.stdout == raw


@given(st.binary(max_size=12).filter(lambda raw: b"\0" not in raw))
def test_is_one_printable_word(raw: bytes) -> None:
    word = shell_word(raw)
    assert word.isprintable()
    assert "`" not in word
