from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from writeaudit.errors import OutputError
from writeaudit.report.atomic_write import write_whole


def leftovers(directory: Path) -> list[str]:
    return [name for name in os.listdir(directory) if ".part" in name]


def test_writes_text_and_bytes(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", ["é", "b"])
    write_whole(tmp_path / "b", [b"\xff"])
    assert (tmp_path / "a").read_bytes() == "éb".encode()
    assert (tmp_path / "b").read_bytes() == b"\xff"
    assert not leftovers(tmp_path)


def test_mode_follows_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_whole(tmp_path / "a", ["x"], mode=0o666)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    write_whole(tmp_path / "b", ["x"])
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600


def test_old_file_stays_when_the_producer_fails(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_text("old")

    def chunks() -> Iterator[str]:
        yield "x" * 1_000_000
        raise OSError(errno.EIO, "the recording broke")

    with pytest.raises(OSError, match="the recording broke"):
        write_whole(target, chunks())
    assert target.read_text() == "old"
    assert not leftovers(tmp_path)


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a"
    target.write_text("old")

    def full(fd: int, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError) as caught:
        write_whole(target, ["new"])
    monkeypatch.undo()
    assert str(target) in caught.value.message
    assert "No space left" in caught.value.message
    assert caught.value.hint
    assert target.read_text() == "old"
    assert not leftovers(tmp_path)


def test_full_device() -> None:
    with pytest.raises(OutputError, match="No space left"):
        write_whole("/dev/full", ["new"])
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_short_writes_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:7]))
    write_whole(tmp_path / "a", ["0123456789" * 10])
    assert (tmp_path / "a").read_text() == "0123456789" * 10


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/a", "No such file"),
        ("file/a", "Not a directory"),
        (".", "Is a directory"),
        ("dir/", "Is a directory"),
        ("n" * 300, "File name too long"),
    ],
)
def test_impossible_targets(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dir").mkdir()
    with pytest.raises(OutputError, match=reason) as caught:
        write_whole(f"{tmp_path}/{name}", ["x"])
    assert caught.value.hint
    assert sorted(os.listdir(tmp_path)) == ["dir", "file"]


def test_symlink_is_replaced_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "a").symlink_to(victim)
    write_whole(tmp_path / "a", ["new"])
    assert victim.read_text() == "precious"
    assert (tmp_path / "a").read_text() == "new"
    assert not (tmp_path / "a").is_symlink()


def test_fifo_is_written_into(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_text()))
    reader.start()
    write_whole(fifo, ["hello"])
    reader.join(10)
    assert got == ["hello"]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


@pytest.mark.parametrize("target", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output(target: str, capfd: pytest.CaptureFixture[str]) -> None:
    os.write(1, b"before\n")
    write_whole(target, ["hello"])
    assert capfd.readouterr().out == "before\nhello"
