"""Small judged audits for the tests of the reports, with names that mean harm."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence

from writeaudit.audit import Audit, BackendInfo, BlindSpot, Completeness, Mount, Process, RunInfo
from writeaudit.events import Access, FsEvent, Op
from writeaudit.judgement import (
    Came,
    FileSummary,
    Finding,
    Judged,
    NetEffect,
    Origin,
    Policy,
    Reason,
    Severity,
    Verdict,
    Zone,
    ZoneAccess,
)
from writeaudit.report import view
from writeaudit.report.view import Report
from writeaudit.text import escape_path, quote_name

CACHE = b"/dev/shm/cache"
VENV = b"/home/ada/src/.venv"

HOSTILE: tuple[bytes, ...] = (
    b"</script><script>alert(1)</script>",
    b"<!--<script>",
    b"]]>&lt;&amp;",
    b"\"'`${x}{{ 7*7 }}{% raw %}<img src=x onerror=alert(1)>",
    b"\x1b[31mred\x1b[0m\r\n",
    b"[bold red]not markup[/] :smile:",
    b"bad\xff\xfeutf8",
    b"back\\slash \\x41",
    "\u202egnp.exe".encode(),
    "line\u2028separator".encode(),
    "מסמך/קובץ".encode(),
    "x\u00a0\u3164\u2800y".encode(),
    b"\n::error title=x::y\n##[group]z ##vso[task.complete]",
    b"::error::x%0Ay",
    b"\n/close @octocat #1 www.example.org https://example.org",
    b"a | b \\| c ``` d `e` | f",
    b"a and 99 more (open 1; 1 GiB written).",
    b"n" * 255,
    b"/".join([b"d" * 200] * 20),
)

MOUNTS = (
    Mount(30, 4026531840, os.makedev(254, 1), "ext4", b"/dev/vda1", b"/", b"/", ("rw",)),
    Mount(35, 4026531840, os.makedev(0, 25), "tmpfs", b"tmpfs", b"/", b"/dev/shm", ("rw", "nosuid"), 30),
)
INCOMPLETE = Completeness(
    lost_events=12,
    survivors=(77,),
    blind_spots=(BlindSpot("io_uring", "14 operations were not seen.", 14),),
    emitted={"event": 20},
    received={"event": 8},
    lost={"event": 12},
)


def judge(event: FsEvent) -> Judged:
    """Cache read-only, venv writable, everything else outside."""
    zone = "cache" if event.path.startswith(CACHE) else "venv" if event.path.startswith(VENV) else None
    if event.op is Op.OPEN and not (event.access and event.access.writes):
        return Judged(zone, Verdict.READ if event.ok else Verdict.FAILED)
    if not event.ok:
        return Judged(zone, Verdict.ATTEMPT if event.result == "EROFS" else Verdict.FAILED)
    if zone == "venv":
        return Judged(zone, Verdict.ALLOWED)
    return Judged(zone, Verdict.VIOLATION, Reason.OUTSIDE if zone is None else Reason.READ_ONLY)


def event(seq: int, op: Op, path: bytes, **fields: object) -> FsEvent:
    """One event on the mount that its path says."""
    mount = 35 if path.startswith(b"/dev/shm") else 30
    base = FsEvent(seq, seq * 1_000_000, 100, 100, op, path, mount=mount, dev=os.makedev(254, 1), ino=seq)
    return base._replace(**fields)  # type: ignore[arg-type]  # the fields' types are FsEvent's


def install_events(packages: int = 2, files: int = 3) -> list[FsEvent]:
    """A link refused for each package, then every file copied."""
    events: list[FsEvent] = []

    def add(op: Op, path: bytes, **fields: object) -> None:
        events.append(event(len(events) + 1, op, path, **fields))

    for package in range(packages):
        for number in range(files):
            name = b"/p%d/f%d.py" % (package, number)
            if number == 0:
                add(Op.LINK, VENV + name, source=CACHE + name, source_mount=35, result="EXDEV")
            add(Op.OPEN, CACHE + name, access=Access.READ)
            add(Op.OPEN, VENV + name, access=Access.WRITE, flags=("creat", "excl"), created=True, mode=0o644)
            add(Op.COPY, VENV + name, source=CACHE + name, source_mount=35, bytes=1000, calls=1)
    return events


def hostile_events(start: int = 1) -> list[FsEvent]:
    """Files of hostile names, made outside every zone."""
    return [
        event(start + number, Op.OPEN, b"/srv/" + name, access=Access.WRITE, created=True)
        for number, name in enumerate(HOSTILE)
    ]


def summaries(events: Sequence[FsEvent]) -> list[FileSummary]:
    """One summary for each path, in the manner of the real thing."""
    files: dict[bytes, FileSummary] = {}
    for item in events:
        judged = judge(item)
        file = files.setdefault(
            item.path, FileSummary(item.path, item.mount, judged.zone, judged.verdict, NetEffect.READ)
        )
        file.ops = {**file.ops, item.op.value: file.ops.get(item.op.value, 0) + 1}
        if item.created:
            file.net, file.verdict = NetEffect.CREATED, judged.verdict
        file.bytes_written += item.bytes or 0
        if item.op is Op.COPY:
            file.origin = Origin(Came.COPIED, item.source_mount)
    return [file for _path, file in sorted(files.items())]


def hostile_finding() -> Finding:
    """A finding that names every hostile name, as analysis names them."""
    names = [quote_name(b"/srv/" + name) for name in HOSTILE]
    return Finding(
        rule="WA202",
        title="write outside every zone",
        severity=Severity.ERROR,
        message=f"{len(names)} paths changed outside every zone, in `/srv`: {', '.join(names)}.",
        count=len(names),
        files=len(names),
        evidence=tuple(range(1, len(names) + 1)),
        cause=f"The policy has no zone for this place, such as {names[3]}.",
        advice=tuple(f"Remove {name}." for name in names[:4]),
        details={"zone": None, "examples": [escape_path(b"/srv/" + name) for name in HOSTILE]},
    )


def everything() -> Report:
    """Hostile names wherever a program or a policy can put one; an incomplete audit of a failed command."""
    events = [*hostile_events(), *(each._replace(seq=each.seq + 100) for each in install_events())]
    link = dataclasses.replace(link_finding(), evidence=(101, 111))
    made = report(
        events,
        findings=[hostile_finding(), link],
        completeness=dataclasses.replace(
            INCOMPLETE,
            blind_spots=(BlindSpot("io_uring\n::error::", "14 `operations\n::x` were not seen.", 14),),
        ),
        exit_status=3,
    )
    audit = made.audit
    name = HOSTILE[-8]
    text = name.decode("utf-8", "surrogateescape")
    processes = tuple(
        Process(200 + n, 100, b"/bin/" + each, (b"sh", each), 0, 1, 0) for n, each in enumerate(HOSTILE)
    )
    mounts = (*audit.mounts, Mount(40, 1, 9, text, name, b"/" + name, b"/mnt/" + name, ("rw", text)))
    run = dataclasses.replace(
        audit.run,
        command=(b"uv", *HOSTILE),
        cwd=b"/home/ada/src",
        env={"HOME": "/home/ada", "UV_CACHE_DIR": text},
        notes=(f"note\n::error::{text}",),
    )
    zones = (*made.policy.zones, Zone(text, ZoneAccess.READ_ONLY, (b"/zone/" + name,)))
    policy = made.policy._replace(name=text, source=text, zones=zones, remarks=(text,))
    return dataclasses.replace(
        made,
        audit=audit._replace(run=run, processes=(*audit.processes, *processes), mounts=mounts),
        policy=policy,
        failing=[made.findings[0]],
    )


def link_finding() -> Finding:
    """A fallback as analysis reports it, with both mounts."""
    return Finding(
        rule="WA101",
        title="hardlink fell back to a copy: different devices",
        severity=Severity.WARNING,
        message="2 hard links were refused with EXDEV; 6 files (5.9 KiB) were copied.",
        count=2,
        bytes=6000,
        files=6,
        evidence=(1, 11),
        cause="The cache is on /dev/shm (tmpfs), the environment on / (ext4).",
        advice=("Put both on one file system: `UV_CACHE_DIR=/home/ada/.cache/uv`.",),
        details={
            "errno": "EXDEV",
            "source_mount": {"mountpoint": "/dev/shm", "fstype": "tmpfs", "dev": "0:25"},
            "target_mount": {"mountpoint": "/", "fstype": "ext4", "dev": "254:1"},
            "examples": [{"path": "/srv/to", "source": "/srv/<from>", "bytes": 2048}],
            "pids": [1234, 5678],
        },
    )


def report(
    events: Sequence[FsEvent] | None = None,
    *,
    findings: Sequence[Finding] = (),
    completeness: Completeness | None = None,
    exit_status: int | None = 0,
    signal: int | None = None,
) -> Report:
    """Build a report over ``events`` (default: an install)."""
    events = install_events() if events is None else events
    run = RunInfo(
        command=(b"uv", b"sync", b"--frozen"),
        cwd=b"/home/ada/src",
        user="ada",
        uid=1000,
        started=1763687400.25,
        duration_s=1.317,
        exit_status=exit_status,
        signal=signal,
        backend=BackendInfo("strace", "ptrace", "ebpf: not permitted.", "strace 6.1"),
        kernel="6.18.5",
        arch="x86_64",
        env={"HOME": "/home/ada"},
        tool_version="0.0.0",
    )
    audit = Audit(
        run,
        completeness or Completeness(),
        MOUNTS,
        (
            Process(100, 99, b"/usr/bin/uv", (b"uv", b"sync", b"--frozen"), 0, 1_317_000_000, 0),
            Process(101, 100, b"/usr/bin/python3", (b"python3", b"-c", b"<b>'\n"), 5, None, None),
        ),
        events,
        len(events),
    )
    policy = Policy(
        "frozen",
        "profile uv/frozen",
        (
            Zone("cache", ZoneAccess.READ_ONLY, (CACHE,)),
            Zone("venv", ZoneAccess.READ_WRITE, (VENV,)),
        ),
        "uv",
    )
    tally = view.Tally()
    for item in events:
        tally.add_event(item, judge(item))
    built = view.build(audit, policy, findings, summaries(events), tally)
    return dataclasses.replace(built, tool_version="0.0.0")


def reading(built: Report, events: Iterable[FsEvent]) -> Report:
    """Return the report with another way to come by the same events."""
    old = built.audit
    audit = Audit(old.run, old.completeness, old.mounts, old.processes, events, old.event_count)
    return dataclasses.replace(built, audit=audit)
