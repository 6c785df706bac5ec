"""Who is to be joined, by a made-up /proc."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from writeaudit.capture.cgroups import Hierarchy, list_hierarchies, list_members, place_for
from writeaudit.capture.engines import Container, find_container, own_directories, parse_tasks
from writeaudit.capture.members import (
    Facts,
    ProcessTable,
    SharedMapping,
    check_process,
    is_ring_busy,
    line_above,
    pack_facts,
    parse_maps,
    tree_of,
    unpack_facts,
)
from writeaudit.capture.targets import ControlGroup
from writeaudit.errors import CaptureError

KERNEL_THREAD = 0x00200000


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """1 started 10 and 20; 10 started 11, whose thread is 12; 30 is the kernel's, 40 has ended."""
    for pid, group, ppid, flags, state in (
        (1, 1, 0, 0, "S"),
        (10, 10, 1, 0, "S"),
        (11, 11, 10, 0, "R"),
        (20, 20, 1, 0, "S"),
        (30, 30, 2, KERNEL_THREAD, "I"),
        (40, 40, 1, 0, "Z"),
        (12, 11, 10, 0, "S"),
    ):
        place = tmp_path / str(pid)
        place.mkdir()
        (place / "status").write_text(f"Name:\tx\nUmask:\t0027\nTgid:\t{group}\n")
        # A name may hold anything, blanks and brackets included.
        (place / "stat").write_text(f"{pid} (a) b (c) {state} {ppid} 0 0 0 -1 {flags} 0 0\n")
        (place / "cmdline").write_bytes(b"prog\0an arg\0")
    (tmp_path / "12").rename(tmp_path / "thread")  # readable by its number, and in no listing
    (tmp_path / "self").mkdir()
    return tmp_path


def test_status_and_parents(proc: Path) -> None:
    table = ProcessTable(os.fspath(proc))
    assert table.read_parents() == {1: 0, 10: 1, 11: 10, 20: 1, 30: 2, 40: 1}
    status = table.read_status(11)
    assert status is not None
    assert (status.pid, status.ppid, status.is_kernel, status.is_over) == (11, 10, False, False)
    assert table.read_status(99) is None
    assert table.read_argv(10) == (b"prog", b"an arg")
    assert table.read_umask(10) == "0027"


def test_thread_stands_for_its_process(proc: Path) -> None:
    (proc / "thread").rename(proc / "12")
    assert check_process(12, ProcessTable(os.fspath(proc)), own=20) == 11


@pytest.mark.parametrize(
    ("pid", "words"),
    [
        (99, "no such process"),
        (40, "no such process"),
        (30, "kernel's own"),
        (11, "writeaudit itself"),
        (10, "above"),
        (1, "above"),
    ],
)
def test_what_cannot_be_joined(proc: Path, pid: int, words: str) -> None:
    with pytest.raises(CaptureError, match=words) as raised:
        check_process(pid, ProcessTable(os.fspath(proc)), own=11)
    assert raised.value.hint
    assert raised.value.status == 125


def test_tree_goes_through_those_that_have_ended() -> None:
    parents = {1: 0, 10: 1, 11: 10, 13: 1, 20: 1}
    assert tree_of([10], parents, []) == {10, 11}
    # 12 was forked by 11 and has ended; 13, which it forked, has another parent by now.
    assert tree_of([10], parents, [(12, 11), (13, 12)]) == {10, 11, 12, 13}
    assert tree_of([10], {10: 10}, [(10, 10)]) == {10}
    assert line_above(11, parents) == [11, 10, 1]


def test_members_of_a_cgroup_and_of_those_below(proc: Path, tmp_path: Path) -> None:
    group = tmp_path / "group"
    (group / "below" / "deep").mkdir(parents=True)
    (group / "cgroup.procs").write_text("10\n0\n")
    (group / "below" / "cgroup.procs").write_text("11\n")
    members = list_members(ControlGroup(os.fspath(group), 0, 5), ProcessTable(os.fspath(proc)))
    assert members.pids == {10, 11}
    assert members.unseen == 1
    with pytest.raises(CaptureError, match="removed"):
        list_members(ControlGroup(os.fspath(tmp_path / "gone"), 0, 5), ProcessTable())


MOUNTS = """\
30 20 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
31 20 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 20 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
33 20 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
34 20 0:30 / /tmp rw - tmpfs tmpfs rw
"""
OWN = "9:name=systemd:/\n8:pids:/\n3:cpu,cpuacct:/x\n0::/\n"


def test_hierarchies_by_their_controllers() -> None:
    found = list_hierarchies(MOUNTS, OWN)
    assert [(each.number, each.mountpoint) for each in found] == [
        (8, "/sys/fs/cgroup/pids"),
        (3, "/sys/fs/cgroup/cpu,cpuacct"),
        (9, "/sys/fs/cgroup/systemd"),
        (0, "/sys/fs/cgroup/unified"),
    ]


def test_where_a_new_cgroup_is_made() -> None:
    both = list_hierarchies(MOUNTS, OWN)
    assert place_for("/wa", both) == "/sys/fs/cgroup/pids/wa"
    assert place_for("/sys/fs/cgroup/unified/wa", both) == "/sys/fs/cgroup/unified/wa"
    unified = (Hierarchy(0, frozenset(), 1, "/sys/fs/cgroup", "/"),)
    assert place_for("/wa/deep", unified) == "/sys/fs/cgroup/wa/deep"
    for wrong in ("wa", "/", "/../wa", "/wa//x"):
        with pytest.raises(CaptureError):
            place_for(wrong, both)
    with pytest.raises(CaptureError, match="no cgroup hierarchy"):
        place_for("/wa", ())


def test_cgroup_of_a_container_bears_its_id() -> None:
    number = "0123456789abcdef" * 4
    hierarchies = list_hierarchies(MOUNTS, OWN)
    text = f"8:pids:/docker/{number}\n0::/system.slice/docker-{number}.scope/inner\n3:cpu,cpuacct:/\n"
    assert own_directories(number, text, hierarchies) == [
        f"/sys/fs/cgroup/pids/docker/{number}",
        f"/sys/fs/cgroup/unified/system.slice/docker-{number}.scope",
    ]
    # A name is no more than a component of its own: others may hold it.
    assert own_directories("web", "8:pids:/webserver\n", hierarchies) == []
    assert own_directories("web", "8:pids:/default/web\n", hierarchies) == ["/sys/fs/cgroup/pids/default/web"]
    assert own_directories("web", "8:pids:/../web\n", hierarchies) == []


def test_engines_are_asked_in_their_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"docker": "/bin/docker", "ctr": "/bin/ctr"}
    monkeypatch.setattr("shutil.which", there.get)
    asked: list[tuple[str, ...]] = []

    def ask(words: object) -> str:
        assert isinstance(words, list)
        asked.append(tuple(words))
        if words[0] == "/bin/docker":
            raise CaptureError("docker: no such object: web")
        if words[1] == "namespaces":
            return "default\nk8s.io\n"
        return "TASK    PID     STATUS\n" + ("web   4711  RUNNING\n" if words[2] == "k8s.io" else "")

    assert find_container("web", None, ask) == Container("web", "containerd", "web", 4711)
    assert asked[0][:3] == ("/bin/docker", "inspect", "--type")
    with pytest.raises(CaptureError, match="no such object"):
        find_container("web", "docker", ask)
    with pytest.raises(CaptureError, match="not found on PATH"):
        find_container("web", "podman", ask)
    with pytest.raises(CaptureError, match="no name"):
        find_container("--help", None, ask)
    with pytest.raises(CaptureError, match="does not run"):
        find_container("web", "docker", lambda _words: "abc 0\n")
    with pytest.raises(CaptureError, match="makes no sense"):
        find_container("web", "docker", lambda _words: "[]")
    assert parse_tasks("TASK PID STATUS\nx y z\n\nok 5 RUNNING\n") == {"ok": 5}


MAPS = b"""\
55d0-55d1 r--p 00000000 fd:00 99 /usr/bin/x
7f00-7f10 rw-s 00000000 fd:01 12 /data/a file\\012b
7f10-7f20 r--s 00000000 fd:01 13 /data/gone (deleted)
7f20-7f30 rw-s 00000000 00:05 14 /memfd:x (deleted)
7f30-7f40 rw-s 00000000 00:05 15 /dev/shm/x
7f40-7f50 rw-s 00000000 00:00 0
7f50-7f60 rw-s 00000000 00:06 16 /dev/dri/card0
"""


def test_shared_mappings_of_files() -> None:
    dev = os.makedev(0xFD, 1)
    found = parse_maps(MAPS)
    assert found == (
        SharedMapping(0x7F00, 0x7F10, True, b"/data/a file\nb", False, dev, 12),
        SharedMapping(0x7F10, 0x7F20, False, b"/data/gone", True, dev, 13),
        SharedMapping(0x7F30, 0x7F40, True, b"/dev/shm/x", False, os.makedev(0, 5), 15),
    )
    facts = Facts(b"/bin/\xff", found, True, True)
    assert unpack_facts(pack_facts(facts)) == facts


def test_ring_with_requests_under_way() -> None:
    assert not is_ring_busy(b"SqHead:\t7\nSqTail:\t7\nCqTail:\t7\n")
    assert is_ring_busy(b"SqHead:\t8\nCqTail:\t7\n")
    assert is_ring_busy(b"nothing known")
