"""WA201 to WA205: grouping, the milder kinds, and advice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from tests.support.analysis_streams import ALLOWED, ROOT, Stream, analyzed, forbidden, policy, run_info
from writeaudit.events import Access, FsEvent, Op
from writeaudit.judgement import Finding, Judged, Policy, Reason, Severity, Verdict, Zone, ZoneAccess

CACHE = b"/srv/cache"
FROZEN = policy(cache=ZoneAccess.READ_ONLY, cache_path=CACHE)
READ = Judged(None, Verdict.READ)


def judging(verdict: Verdict = Verdict.VIOLATION) -> Callable[[FsEvent], Judged]:
    """Judge as a policy does in which the cache is read-only and the project writable."""

    def judge(event: FsEvent) -> Judged:
        if event.op is Op.OPEN and event.access is Access.READ:
            return READ
        outcome = verdict if event.ok else Verdict.ATTEMPT
        if event.path.startswith(CACHE):
            return forbidden("cache", outcome)
        if event.path.startswith(b"/srv/project"):
            return ALLOWED
        return forbidden(None, outcome)

    return judge


def found(stream: Stream) -> list[Finding]:
    findings = analyzed(stream, judging(), of=FROZEN)
    return [finding for finding in findings if finding.rule.startswith("WA2")]


def test_changes_in_a_zone_are_one_error() -> None:
    stream = Stream()
    stream.add(Op.MKDIR, CACHE + b"/.tmpAbCdEf")
    stream.create(CACHE + b"/.tmpAbCdEf/a")
    stream.write(CACHE + b"/.tmpAbCdEf/a", 2048)
    stream.add(Op.RENAME, CACHE + b"/b", CACHE + b"/.tmpAbCdEf/a")
    stream.read(CACHE + b"/c")
    stream.create(b"/srv/project/x")
    (finding,) = found(stream)
    assert (finding.rule, finding.severity) == ("WA201", Severity.ERROR)
    assert (finding.count, finding.files, finding.bytes) == (4, 3, 2048)
    assert finding.evidence == (1, 2, 4)
    assert finding.details["zone"] == "cache"
    assert finding.details["ops"] == {"mkdir": 1, "open": 1, "write": 1, "rename": 1}
    assert "zone cache (read-only): `/srv/cache/.tmpAbCdEf`, " in finding.message
    assert "2.0 KiB written" in finding.message
    assert "UV_CACHE_DIR" in finding.advice[0]
    assert "`--zone cache=/srv/cache:rw`" in finding.advice[-1]


def test_a_lock_opened_for_writing_and_left_as_it_was_is_a_warning_of_its_own() -> None:
    stream = Stream()
    stream.add(Op.OPEN, CACHE + b"/.lock", access=Access.READ_WRITE, flags=("creat",))
    stream.add(Op.MKDIR, CACHE + b"/d")
    error, warning = found(stream)
    assert (error.severity, error.files) == (Severity.ERROR, 1)
    assert (warning.rule, warning.severity, warning.files) == ("WA201", Severity.WARNING, 1)
    assert warning.title == "write in a read-only zone: opened for writing, not changed"
    assert warning.evidence == (1,)
    assert "`.lock`" in warning.advice[0]


@pytest.mark.parametrize(
    "change",
    [Op.WRITE, Op.COPY, Op.CLONE, Op.TRUNCATE, Op.FALLOCATE, Op.MMAP_WRITE, Op.CHMOD, Op.UNLINK],
)
def test_any_later_change_makes_the_open_a_real_one(change: Op) -> None:
    stream = Stream()
    stream.add(Op.OPEN, CACHE + b"/f", access=Access.WRITE)
    stream.add(change, CACHE + b"/f")
    (finding,) = found(stream)
    assert (finding.severity, finding.files, finding.evidence) == (Severity.ERROR, 1, (2,))


@pytest.mark.parametrize(
    ("flags", "created"), [(("creat",), True), (("trunc",), False), (("tmpfile",), True)]
)
def test_an_open_that_makes_or_truncates_is_a_change(flags: tuple[str, ...], created: bool) -> None:
    stream = Stream()
    stream.add(Op.OPEN, CACHE + b"/f", access=Access.WRITE, flags=flags, created=created)
    assert [each.severity for each in found(stream)] == [Severity.ERROR]


def test_a_write_of_no_bytes_changes_nothing() -> None:
    stream = Stream()
    stream.add(Op.OPEN, CACHE + b"/f", access=Access.WRITE)
    stream.write(CACHE + b"/f", 0)
    assert [each.severity for each in found(stream)] == [Severity.WARNING]


def test_the_source_side_names_the_place() -> None:
    stream = Stream()
    stream.add(Op.RENAME, b"/srv/project/x", CACHE + b"/x")
    judged = Judged("cache", Verdict.VIOLATION, Reason.READ_ONLY, on_source=True)
    (finding,) = analyzed(stream, lambda _event: judged, of=FROZEN)
    assert finding.details["examples"] == ["/srv/cache/x"]


def test_a_link_count_alone_is_a_warning_of_its_own() -> None:
    stream = Stream()
    stream.link(CACHE + b"/a", b"/srv/project/.venv/a")
    stream.link(CACHE + b"/b", b"/srv/project/.venv/b")
    judged = Judged("cache", Verdict.VIOLATION, Reason.LINK_COUNT, on_source=True)
    (finding,) = analyzed(stream, lambda _event: judged, of=FROZEN)
    assert (finding.rule, finding.severity, finding.files) == ("WA201", Severity.WARNING, 2)
    assert "link count only" in finding.title
    assert "UV_LINK_MODE=copy" in finding.advice[0]


@pytest.mark.parametrize("path", [b"/stray", b"stray"])
def test_no_advice_opens_the_whole_tree(path: bytes) -> None:
    stream = Stream()
    stream.create(path)
    stream.add(Op.MKDIR, path + b"2", result="EACCES")
    for finding in found(stream):
        assert not any("=/:rw" in line or "=:rw" in line for line in finding.advice), finding.advice


def test_places_outside_are_told_by_directory() -> None:
    stream = Stream()
    for path in (
        b"/home/ann/.config/pkg/a",
        b"/home/ann/.config/pkg/b",
        b"/home/ann/.local/x",
        b"/etc/foo/c",
    ):
        stream.create(path)
    findings = found(stream)
    assert {each.rule for each in findings} == {"WA202"}
    assert {each.severity for each in findings} == {Severity.ERROR}
    assert [each.files for each in findings] == [2, 1, 1]
    assert "in `/home/ann/.config/pkg`: `/home/ann/.config/pkg/a`, " in findings[0].message
    both = "--zone NAME=/home/ann/.config/pkg/a:rw --zone NAME=/home/ann/.config/pkg/b:rw"
    assert f"`{both}`" in findings[0].advice[0]


def test_many_directories_outside_make_a_handful_of_findings() -> None:
    stream = Stream()
    for number in range(400):
        stream.create(b"/d%d/e%d/f" % (number % 40, number))
    findings = found(stream)
    assert len(findings) == 5
    assert sum(each.files for each in findings) == 400
    assert all(len(each.evidence) <= 100 for each in findings)


def test_refused_attempts_are_grouped_by_zone_and_errno() -> None:
    stream = Stream()
    stream.add(Op.OPEN, CACHE + b"/.lock", access=Access.READ_WRITE, result="EROFS")
    stream.add(Op.MKDIR, CACHE + b"/.tmpAbCdEf", result="EROFS")
    stream.add(Op.MKDIR, CACHE + b"/.tmpAbCdEf", result="EROFS")
    stream.add(Op.MKDIR, b"/etc/x", result="EACCES")
    first, second = found(stream)
    assert {first.rule, second.rule} == {"WA203"}
    assert {first.severity, second.severity} == {Severity.WARNING}
    assert (first.count, first.files, first.details["errno"]) == (3, 2, "EROFS")
    assert "3 attempts on 2 paths in zone cache (read-only) were refused with EROFS" in first.message
    assert any("not read-only" in each for each in first.advice)
    assert "1 attempt on 1 path outside every zone was refused with EACCES: `/etc/x`" in second.message
    assert any("write permission" in each for each in second.advice)


def test_reads_of_a_zone_without_access() -> None:
    stream = Stream()
    stream.read(b"/home/ann/.ssh/id\n")
    judged = Judged("keys", Verdict.VIOLATION, Reason.FORBIDDEN_READ)
    (finding,) = analyzed(stream, lambda _event: judged)
    assert (finding.rule, finding.severity) == ("WA204", Severity.ERROR)
    assert r"/home/ann/.ssh/id\x0a" in finding.message


def test_errors_come_first() -> None:
    stream = Stream()
    stream.add(Op.MKDIR, CACHE + b"/x", result="EROFS")
    stream.create(b"/etc/a")
    stream.create(CACHE + b"/a")
    assert [each.rule for each in found(stream)] == ["WA201", "WA202", "WA203"]


def test_a_policy_that_objects_to_nothing_finds_nothing() -> None:
    stream = Stream()
    stream.create(b"/srv/project/a")
    stream.add(Op.MKDIR, b"/srv/project/b", result="EEXIST")
    assert analyzed(stream) == []


REFUSED = Judged("cache", Verdict.FAILED, Reason.REFUSED)


@pytest.mark.parametrize(
    ("status", "severity"), [(0, Severity.NOTE), (2, Severity.WARNING), (None, Severity.WARNING)]
)
def test_refused_though_allowed(status: int | None, severity: Severity) -> None:
    stream = Stream()
    stream.add(Op.OPEN, CACHE + b"/.lock", access=Access.READ_WRITE, flags=("creat",), result="EACCES")
    stream.add(Op.MKDIR, CACHE + b"/.tmp", result="EACCES")
    run = dataclasses.replace(run_info(), exit_status=status)
    (finding,) = analyzed(stream, lambda _event: REFUSED, of=policy(cache_path=CACHE), run=run)
    assert (finding.rule, finding.severity, finding.count, finding.files) == ("WA205", severity, 2, 2)
    assert finding.details["errno"] == "EACCES"
    assert "zone cache (read-write) were refused with EACCES: `/srv/cache/.lock`" in finding.message
    assert finding.advice[0] == "They need write permission on the file or its directory for ann."
    assert "UV_CACHE_DIR" in finding.advice[1]


@pytest.mark.parametrize("read_only", [True, False])
def test_read_only_mount_is_named(read_only: bool) -> None:
    root = ROOT._replace(options=("ro",) if read_only else ("rw",))
    stream = Stream([root])
    stream.add(Op.MKDIR, CACHE + b"/.tmp", result="EROFS")
    (finding,) = analyzed(stream, lambda _event: REFUSED, of=policy(cache_path=CACHE))
    assert ("EROFS, as `/` (ext4, device 254:0) is mounted read-only" in finding.message) is read_only


@pytest.mark.parametrize(
    ("op", "result", "told"),
    [
        (Op.LINK, "EPERM", False),
        (Op.LINK, "EROFS", True),
        (Op.LINK, "EACCES", True),
        (Op.CLONE, "EPERM", False),
    ],
)
def test_refused_links_have_rules_of_their_own(op: Op, result: str, told: bool) -> None:
    stream = Stream()
    stream.add(op, CACHE + b"/a", CACHE + b"/b", result=result)
    rules = [each.rule for each in analyzed(stream, lambda _event: REFUSED, of=policy(cache_path=CACHE))]
    assert ("WA205" in rules) is told


def test_what_lasts_is_named_before_what_was_there_for_a_while() -> None:
    stream = Stream()
    for number in range(4):
        stream.add(Op.MKDIR, CACHE + b"/.tmp%d" % number)
        stream.add(Op.RMDIR, CACHE + b"/.tmp%d" % number)
    stream.create(CACHE + b"/lasting")
    (finding,) = found(stream)
    assert "zone cache (read-only): `/srv/cache/lasting`, `/srv/cache/.tmp0`" in finding.message


def test_a_tree_that_was_made_outside_is_named_itself() -> None:
    stream = Stream()
    stream.add(Op.MKDIR, b"/srv/w/clone")
    stream.create(b"/srv/w/clone/a")
    stream.create(b"/srv/w/clone/.git/b")
    (finding,) = found(stream)
    assert "`--zone NAME=/srv/w/clone:rw`" in finding.advice[0]


def test_a_project_is_not_opened_as_a_whole_for_a_few_paths() -> None:
    stream = Stream()
    stream.create(b"/srv/project/uv.lock")
    stream.add(Op.MKDIR, b"/srv/project/src/demo.egg-info")
    stream.create(b"/srv/project/src/demo.egg-info/PKG-INFO")
    of = Policy("install", "", (Zone("project", ZoneAccess.READ_ONLY, (b"/srv/project",)),), "uv")
    (finding,) = analyzed(stream, lambda _event: forbidden("project"), of=of)
    *_, lock, allow = finding.advice
    assert "`--frozen`" in lock
    assert "`--zone NAME=/srv/project/src/demo.egg-info:rw --zone NAME=/srv/project/uv.lock:rw`" in allow
    for number in range(4):
        stream.create(b"/srv/project/more%d" % number)
    (finding,) = analyzed(stream, lambda _event: forbidden("project"), of=of)
    assert not any("--zone" in line for line in finding.advice), "who opens all of it protects nothing"
    assert "no single option does it without opening `/srv/project`" in finding.advice[-1]
