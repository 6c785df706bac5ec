"""What is asked of the disk where a process may serve it, and what is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from writeaudit.resolve.names import disk as disk_module
from writeaudit.resolve.names.disk import Disk, Unasked

_SHUNNED_DEV = 0x1234


@pytest.fixture
def here(tmp_path: Path) -> bytes:
    root = os.fsencode(tmp_path)
    (tmp_path / "plain").mkdir()
    (tmp_path / "served").mkdir()
    (tmp_path / "plain" / "link").symlink_to("anywhere")
    (tmp_path / "served" / "link").symlink_to("anywhere")
    (tmp_path / "into").symlink_to("served")
    return root


@pytest.fixture
def disk(here: bytes, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """One that believes a process to serve , since a moment ago."""
    made = Disk()
    monkeypatch.setattr(made, "_points", [(here + b"/served", _SHUNNED_DEV)])
    return made


def test_nothing_is_asked_below_a_served_mount(disk: Disk, here: bytes) -> None:
    for ask in (disk.read_link, disk.lstat, disk.birth_time_ns):
        with pytest.raises(Unasked):
            ask(here + b"/served/link")
    for ask in (disk.lstat, disk.birth_time_ns):
        with pytest.raises(Unasked):
            ask(here + b"/served")


def test_mount_point_is_known_to_be_no_symlink(disk: Disk, here: bytes) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        disk.read_link(here + b"/served")


def test_other_names_are_asked_about(disk: Disk, here: bytes) -> None:
    assert disk.read_link(here + b"/plain/link") == b"anywhere"
    assert disk.lstat(here + b"/plain").st_ino == os.stat(here + b"/plain").st_ino
    assert disk.lstat(b"/").st_ino == os.stat("/").st_ino
    disk.birth_time_ns(here + b"/plain")
    with pytest.raises(FileNotFoundError):
        disk.lstat(here + b"/gone")


def test_symlink_that_took_the_place_of_a_directory_leads_nowhere(disk: Disk, here: bytes) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - which one is the question
        disk.lstat(here + b"/into/link")
    assert not isinstance(caught.value, FileNotFoundError)


def test_served_file_system_that_was_there_before_is_trusted(disk: Disk, here: bytes) -> None:
    disk._ours = frozenset({_SHUNNED_DEV})
    assert disk.read_link(here + b"/served/link") == b"anywhere"
    assert disk.read_link(here + b"/into/link") == b"anywhere"


def test_mounts_that_never_come_to_rest(disk: Disk, here: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    class Restless:
        """Mounts that change whenever somebody looks."""

        def poll(self, _timeout: int) -> list[tuple[int, int]]:
            return [(0, 0)]

    monkeypatch.setattr(disk, "_poll", Restless())
    with pytest.raises(Unasked):
        disk.lstat(here)


@pytest.mark.parametrize(
    ("line", "served"),
    [
        (b"30 20 0:40 / /m rw - fuse fuse rw", [(b"/m", 40)]),
        (b"30 20 0:40 / /a\\040b rw,nosuid shared:3 - fuse.sshfs me@it: rw", [(b"/a b", 40)]),
        (b"30 20 8:1 /sub /m rw - fuseblk /dev/sda1 rw", [(b"/m", 0x801)]),
        (b"30 20 0:40 / /m rw - fusectl fusectl rw", []),
        (b"30 20 0:40 / /m rw - ext4 /dev/x rw", []),
    ],
)
def test_served_mounts_of_a_table(line: bytes, served: list[tuple[bytes, int]]) -> None:
    text = b"20 1 8:1 / / rw - ext4 /dev/sda rw\n" + line + b"\n31 20 0:5 / /p rw - proc proc rw\n"
    assert disk_module.parse_served(text) == served


@pytest.mark.requires_root
def test_mounts_are_looked_at_when_they_change(tmp_path: Path) -> None:
    script = """
import subprocess, sys
from writeaudit.resolve.names.disk import Disk
made = Disk()
before = made.lstat(sys.argv[1].encode()).st_dev
looks = []
served = made._read_served
made._read_served = lambda: looks.append(1) or served()
made.lstat(b"/")
assert not looks
subprocess.run(["mount", "-t", "tmpfs", "none", sys.argv[1]], check=True)
assert made.lstat(sys.argv[1].encode()).st_dev != before
assert looks == [1]
made.lstat(b"/")
assert looks == [1]
"""
    subprocess.run(["unshare", "-m", sys.executable, "-c", script, str(tmp_path)], check=True)


def test_closing_lets_go_of_everything() -> None:
    before = set(os.listdir("/proc/self/fd"))
    made = Disk(os.getpid(), Disk().trusted_devices)
    assert made.lstat(b"/").st_ino == os.stat("/").st_ino
    made.close()
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1
