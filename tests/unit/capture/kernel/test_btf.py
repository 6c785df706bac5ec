from __future__ import annotations

import struct
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from writeaudit import resources
from writeaudit.capture.kernel import btf
from writeaudit.capture.kernel.bcc.source import read_source

INT, PTR, ARRAY, STRUCT, UNION, ENUM, TYPEDEF, CONST, FUNC, PROTO, ENUM64 = (
    1,
    2,
    3,
    4,
    5,
    6,
    8,
    10,
    12,
    13,
    19,
)


class Writer:
    """Puts BTF together, as Documentation/bpf/btf.rst has it."""

    def __init__(self) -> None:
        self._strings = b"\0"
        self._types = b""
        self._count = 0

    def text(self, word: str) -> int:
        if not word:
            return 0
        at = self._strings.find(b"\0" + word.encode() + b"\0")
        if at < 0:
            at = len(self._strings) - 1
            self._strings += word.encode() + b"\0"
        return at + 1

    def add(self, name: str, kind: int, vlen: int, size: int, *rest: int, flag: int = 0) -> int:
        info = flag << 31 | kind << 24 | vlen
        self._types += struct.pack(f"=III{len(rest)}I", self.text(name), info, size, *rest)
        self._count += 1
        return self._count

    def aggregate(self, kind: int, name: str, members: Sequence[tuple[str, int, int]], flag: int = 0) -> int:
        rest = [number for word, of, at in members for number in (self.text(word), of, at)]
        return self.add(name, kind, len(members), 64, *rest, flag=flag)

    def done(self) -> bytes:
        head = struct.pack(
            "=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(self._types), len(self._types), len(self._strings)
        )
        return head + self._types + self._strings


def test_members_lie_where_btf_says() -> None:
    made = Writer()
    number = made.add("int", INT, 0, 4, 32)
    made.aggregate(STRUCT, "file", [("f_mode", number, 0), ("f_path", number, 64), ("f_inode", number, 192)])
    wanted = [("file", "f_inode"), ("file", "f_path"), ("file", "f_mode")]
    assert btf.find_offsets(made.done(), wanted) == dict(zip(wanted, (24, 8, 0), strict=True))


def test_what_is_not_there_is_left_out() -> None:
    made = Writer()
    number = made.add("int", INT, 0, 4, 32)
    made.aggregate(STRUCT, "file", [("f_mode", number, 0)])
    made.aggregate(STRUCT, "inode", [("i_ino", number, 0)])
    wanted = [("file", "i_ino"), ("file", "f_path"), ("dentry", "f_mode"), ("inode", "i_ino")]
    assert btf.find_offsets(made.done(), wanted) == {("inode", "i_ino"): 0}


def test_members_of_anonymous_members_count() -> None:
    made = Writer()
    number = made.add("int", INT, 0, 4, 32)
    inner = made.aggregate(STRUCT, "", [("head", number, 0), ("hash", number, 32)])
    union = made.aggregate(UNION, "", [("raw", number, 0), ("", inner, 64)])
    hidden = made.add("", CONST, 0, union)
    named = made.aggregate(STRUCT, "other", [("deep", number, 32)])
    made.aggregate(STRUCT, "dentry", [("first", number, 0), ("", hidden, 128), ("other", named, 512)])
    wanted = [("dentry", name) for name in ("first", "raw", "head", "hash", "deep")]
    assert btf.find_offsets(made.done(), wanted) == {
        ("dentry", "first"): 0,
        ("dentry", "raw"): 16,
        ("dentry", "head"): 24,
        ("dentry", "hash"): 28,
    }


def test_widths_of_bit_fields_are_no_offset() -> None:
    made = Writer()
    number = made.add("int", INT, 0, 4, 32)
    made.aggregate(STRUCT, "task", [("flag", number, 3 << 24 | 40), ("pid", number, 64)], flag=1)
    assert btf.find_offsets(made.done(), [("task", "flag"), ("task", "pid")]) == {
        ("task", "flag"): 5,
        ("task", "pid"): 8,
    }


def test_types_of_every_kind_are_stepped_over() -> None:
    made = Writer()
    number = made.add("int", INT, 0, 4, 32)
    made.add("", PTR, 0, number)
    made.add("", ARRAY, 0, 0, number, number, 5)
    made.add("e", ENUM, 2, 4, made.text("A"), 0, made.text("B"), 1)
    made.add("e64", ENUM64, 1, 8, made.text("A"), 1, 1)
    made.add("", PROTO, 2, number, made.text("x"), number, made.text("y"), number)
    made.add("f", FUNC, 1, 6)
    made.add("var", 14, 0, number, 1)
    made.add("sec", 15, 1, 4, 8, 0, 4)
    made.add("tag", 17, 0, number, 1)
    for kind in (7, TYPEDEF, 9, CONST, 11, 16, 18):
        made.add("t", kind, 0, number)
    made.aggregate(STRUCT, "last", [("it", number, 32)])
    assert btf.find_offsets(made.done(), [("last", "it")]) == {("last", "it"): 4}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "too short"),
        (b"\x7fELF" + bytes(40), "not BTF"),
        (struct.pack("=HBBIIIII", 0x9FEB, 1, 0, 24, 0, 0, 0, 0), "byte order"),
        (struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, 12, 12, 1), "cut off"),
        (struct.pack("=HBBIIIIIIII", 0xEB9F, 1, 0, 24, 0, 12, 12, 1, 0, 31 << 24, 0) + b"\0", "not known"),
    ],
)
def test_what_is_no_btf_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(btf.BtfError, match=why):
        btf.find_offsets(data, [("file", "f_path")])


@given(st.lists(st.integers(0, 2**32 - 1), max_size=40), st.sampled_from([0, 1]))
def test_nonsense_is_refused_or_says_nothing(words: list[int], kind: int) -> None:
    strings = b"\0file\0f_path\0"
    # The first type is the structure that is asked for, the rest may be anything.
    types = struct.pack(f"=III{len(words)}I", 1, STRUCT << 24 | kind, 8, *words)
    head = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    try:
        found = btf.find_offsets(head + types + strings, [("file", "f_path")])
    except (btf.BtfError, RecursionError):
        return
    assert all(0 <= offset < 2**29 for offset in found.values())


@pytest.mark.skipif(not btf.VMLINUX.exists(), reason="the kernel does not describe its types")
def test_the_running_kernel() -> None:
    fields = read_source(resources.probe_sources()).fields
    started = time.process_time()
    found = btf.kernel_offsets(fields)
    assert time.process_time() - started < 1  # some 50 ms on a quiet machine
    missing = {field for field in fields if field not in found}
    optional = ("io_", "kernel_xattr_ctx", "xattr_ctx")
    assert all(structure.startswith(optional) for structure, _field in missing)
    # Facts of every kernel so far, whatever its configuration.
    assert found["dentry", "d_parent"] < found["dentry", "d_name"] < found["dentry", "d_inode"]
    assert found["mount", "mnt_parent"] < found["mount", "mnt_mountpoint"] < found["mount", "mnt"]
