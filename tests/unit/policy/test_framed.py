"""Whose file it is decides by which zones it is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from writeaudit.audit import Frame, Mount, Process
from writeaudit.errors import PolicyError
from writeaudit.events import Access, Certainty, FsEvent, Op
from writeaudit.frames import UNPLACED, FrameCounter, Places, SetUp
from writeaudit.judgement import Judged, Policy, Reason, Verdict, Zone, ZoneAccess
from writeaudit.policy import classifier_for, from_json, load_policy, to_json

HOST_NS, OTHER_NS = 1, 2
DISK, TMPFS, OVERLAY = 10, 20, 30
MOUNTS = (
    Mount(1, HOST_NS, DISK, "ext4", b"/dev/vda", b"/", b"/", ("rw",)),
    Mount(2, OTHER_NS, OVERLAY, "overlay", b"overlay", b"/", b"/", ("rw",), own=False),
    Mount(3, OTHER_NS, TMPFS, "tmpfs", b"tmpfs", b"/", b"/tmp", ("rw",), own=False),
    Mount(4, OTHER_NS, DISK, "ext4", b"/dev/vda", b"/gone//deleted", b"/data", ("rw",), own=False),
)
FRAME = Frame(1, "container", "web", OTHER_NS, None, 7, 5, ((7, 100),))
RO, RW = ZoneAccess.READ_ONLY, ZoneAccess.READ_WRITE
POLICY = Policy("p", "p", (Zone("tmp", RW, (b"/tmp",)), Zone("etc", RO, (b"/etc",))))
INSIDE = POLICY._replace(container_zones=(Zone("root", RO, (b"/",)), Zone("data", RW, (b"/tmp",))))


def judged(policy: Policy, op: Op, path: bytes, **more: Any) -> Judged:
    event = FsEvent(1, 500, 7, 7, op, path, **{"frame": 1, "mount": 2, "inner_path": path, **more})
    classifier = classifier_for(policy, (), Places((FRAME,), MOUNTS))
    sides = classifier.judge_sides(event)
    found = classifier.judge(event)
    assert found in (sides.path, sides.source) or sides.source is None
    return found


def test_zones_of_the_host_do_not_reach_into_a_container() -> None:
    for path in (b"/etc/x", b"/tmp/x", b"/x"):
        expected = Judged("in container web", Verdict.ALLOWED, Reason.INSIDE)
        assert judged(POLICY, Op.MKDIR, path) == expected
        assert judged(POLICY, Op.UNLINK, path, mount=3) == expected
    refused = judged(POLICY, Op.MKDIR, b"/etc/x", result="EROFS")
    assert refused == Judged("in container web", Verdict.FAILED, Reason.INSIDE)
    assert judged(POLICY, Op.OPEN, b"/etc/x", access=Access.READ).verdict is Verdict.READ


def test_what_is_the_hosts_is_judged_as_ever() -> None:
    for more in ({"mount": 1}, {"mount": None}):
        assert judged(POLICY, Op.MKDIR, b"/etc/x", **more) == Judged(
            "etc", Verdict.VIOLATION, Reason.READ_ONLY
        )
        assert judged(POLICY, Op.MKDIR, b"/tmp/x", **more) == Judged("tmp", Verdict.ALLOWED)
        assert judged(POLICY, Op.MKDIR, b"/x", **more) == Judged(None, Verdict.VIOLATION, Reason.OUTSIDE)


def test_a_file_of_the_host_without_a_name_there_is_no_way_out() -> None:
    """A program can hide a directory of the host from the host; it is in no zone then."""
    assert judged(POLICY, Op.MKDIR, b"/tmp/x", mount=4) == Judged(None, Verdict.VIOLATION, Reason.OUTSIDE)
    assert judged(INSIDE, Op.MKDIR, b"/tmp/x", mount=4) == Judged(None, Verdict.VIOLATION, Reason.OUTSIDE)


def test_a_device_that_the_host_had_once_is_the_hosts() -> None:
    gone = Mount(9, HOST_NS, TMPFS, "tmpfs", b"tmpfs", b"/", b"/mnt", ("rw",))
    event = FsEvent(1, 500, 7, 7, Op.MKDIR, b"/tmp/x", frame=1, mount=3)
    found = classifier_for(POLICY, (), Places((FRAME,), (*MOUNTS, gone))).judge(event)
    assert found.verdict is Verdict.VIOLATION


def test_container_zones() -> None:
    assert judged(INSIDE, Op.MKDIR, b"/etc/x") == Judged(
        "container:root", Verdict.VIOLATION, Reason.READ_ONLY
    )
    assert judged(INSIDE, Op.MKDIR, b"/tmp/x", mount=3) == Judged("container:data", Verdict.ALLOWED)
    assert judged(INSIDE, Op.MKDIR, b"/tmp/x", mount=1) == Judged("tmp", Verdict.ALLOWED)
    attempt = judged(INSIDE, Op.MKDIR, b"/etc/x", result="EROFS")
    assert attempt == Judged("container:root", Verdict.ATTEMPT, Reason.READ_ONLY)


def test_each_side_by_its_own_place() -> None:
    """A file of the host that is moved into a container is a change of the host."""
    found = judged(POLICY, Op.RENAME, b"/x", source=b"/etc/x", source_mount=1)
    assert found == Judged("etc", Verdict.VIOLATION, Reason.READ_ONLY, on_source=True)
    found = judged(INSIDE, Op.COPY, b"/etc/x", mount=1, source=b"/etc/x", source_mount=2)
    assert found == Judged("etc", Verdict.VIOLATION, Reason.READ_ONLY)


def test_what_nobody_can_place_is_neither_allowed_nor_a_violation() -> None:
    for path, mount in ((b"/tmp/x", 1), (b"/etc/x", 3), (b"/x", None)):
        lexical: dict[str, Any] = {"mount": mount, "certainty": Certainty.LEXICAL}
        unplaced = Judged(UNPLACED, Verdict.UNPLACED, Reason.UNPLACED)
        assert judged(POLICY, Op.UNLINK, path, **lexical) == unplaced
        assert judged(INSIDE, Op.UNLINK, path, **lexical) == unplaced
        assert judged(POLICY, Op.UNLINK, path, result="ENOENT", **lexical).verdict is Verdict.FAILED
        # On the host a path that is text only is judged as it stands.
        assert judged(POLICY, Op.UNLINK, path, frame=0, **{**lexical, "mount": 1}).verdict in (
            Verdict.ALLOWED, Verdict.VIOLATION,
        )  # fmt: skip


def test_names_of_zones_in_summaries_of_files() -> None:
    classifier = classifier_for(INSIDE, (), Places((FRAME,), MOUNTS))
    assert classifier.zone_name(b"/tmp/x", 3) == "container:data"
    assert classifier.zone_name(b"/tmp/x", 1) == "tmp"
    assert classifier.zone_name(b"/tmp/x", 4) is None
    assert classifier_for(POLICY, (), Places((FRAME,), MOUNTS)).zone_name(b"/tmp/x", 3) == "in container web"


def test_without_frames_nothing_is_asked() -> None:
    assert type(classifier_for(POLICY, (), Places((), MOUNTS))).__name__ == "Classifier"


def test_policy_file(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(
        '[zones.tmp]\naccess="rw"\npath="/tmp"\n[container.zones.data]\naccess="rw"\npaths=["/var//lib/*/"]\n'
        '[container.zones.root]\naccess="ro"\npath="/"\n'
    )
    policy = load_policy(str(path), {}, b"/", "/")
    assert policy.container_zones == (Zone("data", RW, (b"/var/lib/*",)), Zone("root", RO, (b"/",)))
    assert from_json(to_json(policy)) == policy


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ('[container.zones.a]\naccess="rw"\npath="~/x"', 6, "no absolute path"),
        ('[container.zones.a]\naccess="rw"\npath="/a/../b"', 6, "no absolute path"),
        ('[container.zones.a]\naccess="yes"\npath="/a"', 5, "unknown access"),
        ("[container]\nzone=1", 5, "unknown key 'zone' in container"),
        ("container=1", 1, "container is"),
    ],
)
def test_policy_file_complains(tmp_path: Path, text: str, line: int, complaint: str) -> None:
    path = tmp_path / "p.toml"
    zones = '[zones.tmp]\naccess="rw"\npath="/tmp"\n'
    path.write_text(zones + text if text.startswith("[") else text + "\n" + zones)
    with pytest.raises(PolicyError, match=complaint) as caught:
        load_policy(str(path), {}, b"/", "/")
    assert caught.value.message.startswith(f"{path}:{line}:")


def test_set_up_ends_with_the_first_program_in_the_container() -> None:
    processes = (
        Process(5, 1, b"/usr/bin/crun", (b"crun", b"create", b"web"), 0, 50, 0),
        Process(7, 5, b"/usr/bin/crun", (b"crun", b"create", b"web"), 5, 100, None),
        Process(7, 5, b"/bin/sh", (b"sh",), 100, None, None),
        Process(9, 1, b"/bin/sh", (b"sh",), 0, None, None),
    )
    setup = SetUp((FRAME,), processes)

    def made(pid: int, time_ns: int, frame: int) -> bool:
        return setup.contains_event(FsEvent(1, time_ns, pid, pid, Op.MKDIR, b"/x", frame=frame))

    assert made(7, 50, 1)
    assert not made(7, 100, 1)
    assert not made(8, 150, 1)
    assert made(5, 10, 0), "what the runtime does on the host"
    assert not made(9, 10, 0)
    counter = FrameCounter(setup)
    for pid, time_ns, frame in ((7, 50, 1), (7, 100, 1), (8, 150, 1), (5, 10, 0), (9, 10, 0)):
        counter.add_event(FsEvent(1, time_ns, pid, pid, Op.MKDIR, b"/x", frame=frame), None)
    inside = counter.totals[1]
    assert (inside.events, inside.changes, inside.paths) == (2, 2, {b"/x": None})
    assert counter.totals[1].setup == counter.totals[0].setup == {"mkdir": 1}
