"""The grammar of strace's lines: every shape of argument, and names that imitate them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from writeaudit.capture.strace.lexer import (
    AT_FDCWD,
    Arg,
    Descriptor,
    Group,
    Text,
    UnparsedLine,
    duration_ns,
    parse_arguments,
    parse_result,
    strip_deleted,
    unescape_string,
)


def read(text: bytes) -> list[Arg]:
    """Read the arguments of ``f(...)``; all of the text has to be used."""
    args, end = parse_arguments(text + b")", 0)
    assert end == len(text) + 1
    return args


def as_strace_quotes(raw: bytes, *, extra: bytes = b"") -> bytes:
    """Escape as strace -x does: all in hexadecimal, or octal and the letters of C."""
    if any(byte > 0x7E or (byte < 0x20 and byte not in b"\t\n\v\f\r") for byte in raw):
        return b"".join(b"\\x%02x" % byte for byte in raw)
    letters = {9: b"\\t", 10: b"\\n", 11: b"\\v", 12: b"\\f", 13: b"\\r", 34: b'\\"', 92: b"\\\\"}
    out = b""
    for index, byte in enumerate(raw):
        if byte in extra:
            following = raw[index + 1 : index + 2]
            out += (b"\\%03o" if following.isdigit() else b"\\%o") % byte
        else:
            out += letters.get(byte, bytes((byte,)))
    return out


NAMES = st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b"/"))
TRICKY = st.sampled_from(
    [
        b'") = 0 <0.000001>', b"x (deleted)", b"a, b", b"<... openat resumed>", b"3</etc/passwd>", b"\\",
        b'"',         b"a\nb", b"\xff\xfe", b" <unfinished ...>", b"[{", b"/* no */", b">(deleted)", b"\t7<1",
    ]
)  # fmt: skip


@given(NAMES | TRICKY)
def test_a_string_is_read_as_it_was(raw: bytes) -> None:
    assert read(b'"' + as_strace_quotes(raw) + b'", 0') == [Text(raw, truncated=False), b"0"]


@given(NAMES | TRICKY)
def test_a_descriptor_is_read_as_it_was(raw: bytes) -> None:
    path = b"/" + raw
    text = as_strace_quotes(path, extra=b"<>")
    assert read(b"3<" + text + b">(deleted), 1") == [Descriptor(3, path, deleted=True), b"1"]
    assert parse_result(b" = 3<" + text + b"> <0.000012>", 0) == (3, None, path, False, None, 12_000)


@given(NAMES | TRICKY, NAMES | TRICKY)
def test_names_do_not_leak_into_their_neighbours(one: bytes, two: bytes) -> None:
    line = (
        b"AT_FDCWD</" + as_strace_quotes(one, extra=b"<>") + b'>, "' + as_strace_quotes(two) + b'", O_RDONLY'
    )
    if any(byte > 0x7E or (byte < 0x20 and byte not in b"\t\n\v\f\r") for byte in one):
        line = line.replace(b"</", b"<", 1)  # all or nothing is in hexadecimal
        assert read(line)[1] == Text(two, truncated=False)
    else:
        assert read(line) == [
            Descriptor(AT_FDCWD, b"/" + one, deleted=False), Text(two, truncated=False), b"O_RDONLY",
        ]  # fmt: skip


def test_escapes_are_octal_hexadecimal_and_the_letters_of_c() -> None:
    assert unescape_string(rb"\74y\76\0123\x0a\"\\\n\v") == b'<y>\n3\n"\\\n\v'
    assert unescape_string(rb"\xff\xfe") == b"\xff\xfe"


def test_a_cut_string_says_so() -> None:
    assert read(b'"abc"..., 10') == [Text(b"abc", truncated=True), b"10"]


def test_words_with_operators_and_comments() -> None:
    assert read(b"BTRFS_IOC_CLONE or FICLONE, 4") == [b"BTRFS_IOC_CLONE or FICLONE", b"4"]
    assert read(b"0x7ffc /* 39 vars */, MS_RDONLY|0x400") == [b"0x7ffc", b"MS_RDONLY|0x400"]
    assert read(b"[0] => [3], 3")[1] == b"3"
    assert read(b"NULL, 0777 <unfinished ...>") == [b"NULL", b"0777"]
    assert read(b"S_IFBLK|0600, makedev(0x8, 0x1)")[0] == b"S_IFBLK|0600"


def test_structures_give_their_fields() -> None:
    (how,) = read(b"{flags=O_RDWR|O_CREAT, mode=0600, resolve=RESOLVE_NO_XDEV}")
    assert isinstance(how, Group)
    assert how.get_field(b"flags") == b"O_RDWR|O_CREAT"
    assert how.get_field(b"nothing") is None
    (info,) = read(b"{src_offset=0, info=[{dest_fd=3</x>, dest_offset=0} => {bytes=3}]}")
    assert isinstance(info, Group)
    targets = info.get_field(b"info")
    assert isinstance(targets, Group)
    assert isinstance(targets.items[0], Group)
    assert targets.items[0].get_field(b"dest_fd") == Descriptor(3, b"/x", deleted=False)


def test_an_abstract_socket_is_no_string() -> None:
    (address, length) = read(rb'{sa_family=AF_UNIX, sun_path=@"\x6f\x63"}, 10')
    assert isinstance(address, Group)
    assert not isinstance(address.get_field(b"sun_path"), Text)
    assert length == b"10"


@pytest.mark.parametrize(
    ("text", "value", "error"),
    [
        (b" = 0", 0, None),
        (b"     = 17 <0.000003>", 17, None),
        (b" = 0x7f00", 0x7F00, None),
        (b" = -1 ENOENT (No such file or directory) <0.000016>", -1, "ENOENT"),
        (b" = -1 (errno 4095)", -1, "E4095"),
        (b" = ?", None, None),
        (b" = ? ERESTARTSYS (To be restarted if SA_RESTART is set)", None, "ERESTARTSYS"),
        (b" = ? <unavailable>", None, None),
    ],
)
def test_results(text: bytes, value: int | None, error: str | None) -> None:
    read_back = parse_result(text, 0)
    if error == "ERESTARTSYS":
        assert (read_back.value, read_back.error) == (None, error)
    else:
        assert (read_back.value, read_back.error) == (value, error)


def test_a_process_id_of_another_namespace() -> None:
    assert parse_result(b" = 2 /* 22311 in strace's PID NS */ <0.000127>", 0).pid == 22311


def test_durations() -> None:
    assert duration_ns(b") = 0 <0.000014>") == 14_000
    assert duration_ns(b") = 0 <12.000014>") == 12_000_014_000
    assert duration_ns(b") = 3</a/0.1>") == 0
    assert duration_ns(b") = 0") == 0


def test_the_kernels_mark_of_a_removed_file() -> None:
    assert strip_deleted(b"/a (deleted)") == (b"/a", True)
    assert strip_deleted(b"/a") == (b"/a", False)


@pytest.mark.parametrize("text", [b'"open', b'"a" "b', b"{a=1", b"3</x", b"[1, 2"])
def test_what_is_no_grammar_is_refused(text: bytes) -> None:
    with pytest.raises(UnparsedLine):
        parse_arguments(text, 0)


@given(st.binary(max_size=80))
def test_any_bytes_end_in_arguments_or_a_refusal(text: bytes) -> None:
    try:
        _args, end = parse_arguments(text, 0)
    except UnparsedLine:
        return
    assert 0 < end <= len(text)
