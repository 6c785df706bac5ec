"""The decoder: processes, mounts, and what it reports as missing."""

from __future__ import annotations

import os

import pytest

from tests.support.wire_records import NAME, OLD, OWN, Side, decoded, event_of, packed
from writeaudit.audit import Mount
from writeaudit.capture.interface import (
    MountsChanged,
    MountSeen,
    ProcessExec,
    ProcessExit,
    ProcessStart,
)
from writeaudit.capture.kernel.decode.decoder import Decoder
from writeaudit.capture.kernel.wire import H_COREDUMP, H_MORE, H_NEW_MNT_NS, MOUNT, TASK, TOTAL, F, RecordKind
from writeaudit.capture.syscalls import WireOp
from writeaudit.events import WriteTotal


def test_total() -> None:
    payload = TOTAL.pack(1, 10, 10, RecordKind.TOTAL, 0, 0, 0, 0, 99, 1 << 40, 7)
    assert decoded(payload) == [WriteTotal(99, 1 << 40, 7)]


def test_exec() -> None:
    side = Side(b"/usr/bin/uv", b"uv\0sync\0\0--odd=\xff\0", F.FILE | F.BASE | F.NAME)
    payload = TASK.pack(6, 10, 10, RecordKind.EXEC, 0, 0, 1, 0, 10, 0) + side.pack()
    assert decoded(payload) == [ProcessExec(6, 10, b"/usr/bin/uv", (b"uv", b"sync", b"", b"--odd=\xff"))]


def test_exec_whose_arguments_could_not_be_read() -> None:
    payload = (
        TASK.pack(6, 10, 10, RecordKind.EXEC, 0, 0, 1, 0, 10, 0)
        + Side(b"/bin/x", b"", F.FILE | F.BASE).pack()
    )
    assert decoded(payload) == [ProcessExec(6, 10, b"/bin/x", ())]


@pytest.mark.parametrize(
    ("code", "status"), [(0, 0), (3 << 8, 3), (255 << 8, 255), (9, 137), (15, 143), (11 | 0x80, 139)]
)
def test_exit(code: int, status: int) -> None:
    assert decoded(TASK.pack(6, 10, 10, RecordKind.EXIT, 0, 0, 0, 0, code, 0)) == [ProcessExit(6, 10, status)]


def test_fork_into_a_new_mount_namespace() -> None:
    payload = TASK.pack(5, 10, 10, RecordKind.FORK, H_NEW_MNT_NS, 0, 0, 0, 50, 0)
    assert decoded(payload) == [ProcessStart(5, 50, 10), MountsChanged(5, 50)]


@pytest.mark.parametrize(
    ("wire", "call", "args", "moves"),
    [
        (WireOp.MOUNT, "mount", (0,), True),
        (WireOp.UMOUNT, "umount2", (), True),
        (WireOp.CHROOT, "chroot", (), True),
        (WireOp.UNSHARE, "unshare", (0x20000,), True),
        (WireOp.UNSHARE, "unshare", (0x400,), False),
        (WireOp.UNSHARE, "setns", (0,), True),
        (WireOp.MKDIR, "mkdir", (), False),
    ],
)
@pytest.mark.parametrize("ret", [0, -1])
def test_what_moves_the_meaning_of_paths(
    wire: WireOp, call: str, args: tuple[int, ...], moves: bool, ret: int
) -> None:
    sides = () if wire is WireOp.UNSHARE else (NAME, OLD) if wire is WireOp.MOUNT else (NAME,)
    records = decoded(packed(wire, call, *sides, ret=ret, args=args))
    assert (MountsChanged(1000, 10) in records) is (moves and ret == 0)


def test_source_of_a_new_file_system_is_no_path() -> None:
    assert event_of(WireOp.MOUNT, "mount", NAME, OLD, args=(1,)).source is None
    assert event_of(WireOp.MOUNT, "mount", NAME, OLD, args=(1,)).flags == ("ro",)
    bind = event_of(WireOp.MOUNT, "mount", NAME, OLD, args=(4096 | 16384,))
    assert bind.source is not None
    assert set(bind.flags) == {"bind", "rec"}


def test_mount() -> None:
    texts = (b"ext4", b"/dev/vda\xff", b"data\0srv\0", b"mnt\0")
    lengths = tuple(map(len, texts))
    head = (7, 1, 1, RecordKind.MOUNT, 0, 0, 0, 0)
    payload = MOUNT.pack(*head, OWN, 40, 20, 254 << 20 | 3, 0x40 | 0x01, 0, *lengths, 0) + b"".join(texts)
    assert decoded(payload) == [
        MountSeen(
            7,
            Mount(
                40,
                OWN,
                os.makedev(254, 3),
                "ext4",
                b"/dev/vda\xff",
                b"/srv/data",
                b"/mnt",
                ("ro", "nosuid"),
                20,
                True,
            ),
        )
    ]


@pytest.mark.parametrize(
    ("payload", "kind", "incomplete"),
    [
        (packed(WireOp.URING, "io_uring_setup", ret=5), "io_uring", True),
        (packed(WireOp.MKDIR, "mkdir", NAME, flags=H_MORE), "many_at_once", True),
        (TASK.pack(6, 10, 10, RecordKind.EXIT, H_COREDUMP, 0, 0, 0, 0x8B, 0), "core_dump", True),
    ],
)
def test_blind_spots(payload: bytes, kind: str, incomplete: bool) -> None:
    decoder = Decoder(OWN)
    for _ in range(2):
        decoded(payload, decoder)
    [spot] = decoder.blind_spots()
    assert (spot.kind, spot.count, spot.incomplete) == (kind, 2, incomplete)


def test_io_uring_that_was_refused_is_no_blind_spot() -> None:
    decoder = Decoder(OWN)
    assert decoded(packed(WireOp.URING, "io_uring_setup", ret=-1), decoder) == []
    assert decoder.blind_spots() == ()


def test_records_are_counted_by_kind() -> None:
    decoder = Decoder(OWN)
    decoded(packed(WireOp.MKDIR, "mkdir", NAME), decoder)
    decoded(TASK.pack(6, 10, 10, RecordKind.EXIT, 0, 0, 0, 0, 0, 0), decoder)
    counted = {kind: count for kind, count in decoder.received.items() if count}
    assert counted == {"event": 1, "exit": 1}
