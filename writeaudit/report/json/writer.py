"""The JSON report (docs/report.md), written as a stream: a million events need no more memory than one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from writeaudit.audit import Audit, Binary, Completeness, Mount, Process
from writeaudit.events import EVENT_SIGNATURE, FsEvent
from writeaudit.frames import HOST, FrameTotals
from writeaudit.judgement import Came, Finding, Judged, Verdict, Zone
from writeaudit.report.batches import batches
from writeaudit.report.view import Arrivals, Report
from writeaudit.text import escape_argument, escape_path, escape_text, format_device

SCHEMA_VERSION = "1.0"
"""Additions raise the minor part; a removal or a new meaning raises the major one."""

OUTSIDE = "outside"
"""The key under ``summary.zones`` for events whose zone is null."""

_quote = json.encoder.encode_basestring
_AS_IT_IS = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
"""What stands for itself in a JSON string, shown."""
_KEPT_KINDS = 1 << 12
"""Beyond so many the memory is let go: a hostile program can make up names of extended attributes."""


def _path(raw: bytes | None) -> str:
    if raw is None:
        return "null"
    if raw.translate(None, _AS_IT_IS) or b" " in raw:
        return _quote(escape_path(raw))
    return f'"{raw.decode("ascii")}"'


def _word(word: str | None) -> str:
    return "null" if word is None else _quote(escape_text(word))


def _device(dev: int | None) -> str:
    return "null" if dev is None else f'"{format_device(dev)}"'


def timestamp(seconds: float) -> str:
    """Return seconds since the epoch as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def render(report: Report, *, with_events: bool = True) -> Iterator[str]:
    """Yield the report as pieces of one JSON document.

    The summary stands near the top, where a reader of the raw file meets it. ``with_events``: False leaves
    out the list of events, and says so.
    """
    audit = report.audit
    yield "{\n"
    yield f'"schema_version": "{SCHEMA_VERSION}",\n'
    yield f'"tool": {_dump({"name": "writeaudit", "version": report.tool_version})},\n'
    yield f'"run": {_dump(_run(audit))},\n'
    yield f'"summary": {_dump(_summary(report))},\n'
    yield f'"completeness": {_dump(describe_completeness(audit.completeness))},\n'
    yield f'"policy": {_dump(_policy(report))},\n'
    yield from _array("findings", (_dump(describe_finding(finding)) for finding in report.findings))
    yield ",\n"
    yield from _array("binaries", (_dump(_binary(each)) for each in audit.binaries))
    yield ",\n"
    yield from _array("links", (_dump(_arrivals(each)) for each in report.overview.arrivals))
    yield ",\n"
    yield from _array("mounts", (_dump(_mount(mount, report)) for mount in audit.mounts))
    yield ",\n"
    yield from _array("frames", (_dump(each) for each in _frames(report)))
    yield ",\n"
    yield from _array("processes", (_dump(_process(process)) for process in audit.processes))
    yield ",\n"
    yield from _array("files", _files(report))
    yield ",\n"
    yield from _array("events", _events(report) if with_events else ())
    if not with_events:
        yield ',\n"left_out": ["events"]'
    yield "\n}\n"


def _array(name: str, items: Iterable[str]) -> Iterator[str]:
    yield f'"{name}": ['
    for number, batch in enumerate(batches(items)):
        yield batch if number else "\n" + batch
    yield "]"


def _events(report: Report) -> Iterator[str]:
    # Written out rather than dumped from dicts: events are most of the report. What one has in
    # common with many others is made into text once, and found again by one look-up.
    kinds: dict[tuple[object, ...], _Kind] = {}
    known, known_text = b"", _path(b"")
    setup = report.setup if report.audit.frames else None
    for event, judged in report.judged_events():
        (
            seq, time_ns, pid, tid, op, path, source, _access, _flags, _created, _mode, _result, size, calls,
            mount, source_mount, dev, ino, source_dev, source_ino, _fmt, seen_as, certainty, frame,
            inner_path,
        ) = event  # fmt: skip
        there = f', "frame": {frame}, "inner_path": {_path(inner_path)}' if frame else ""
        if setup is not None and setup.contains_event(event):
            there += ', "setup": true'
        key = (op, event[EVENT_SIGNATURE], mount, source_mount, dev, source_dev, certainty, judged)
        kind = kinds.get(key)
        if kind is None:
            if len(kinds) >= _KEPT_KINDS:
                kinds.clear()
            kind = kinds[key] = _kind(event, judged)
        op_text, signature, places, judgement = kind
        # One file is opened, written, dated and renamed: its name comes several times in a row.
        source_text = "null" if source is None else known_text if source == known else _path(source)
        if path != known:
            known, known_text = path, _path(path)
        yield (
            f'{{"seq": {seq}, "time_ns": {time_ns}, "pid": {pid}, "tid": {tid}, {op_text}, '
            f'"path": {known_text}, "source": {source_text}, {signature}, '
            f'"bytes": {"null" if size is None else size}, "calls": {"null" if calls is None else calls}, '
            f'{places}, "ino": {"null" if ino is None else ino}, '
            f'"source_ino": {"null" if source_ino is None else source_ino}, '
            f'"seen_as": {"null" if seen_as is None else _path(seen_as)}, {judgement}{there}}}'
        )


_Kind = tuple[str, str, str, str]


def _kind(event: FsEvent, judged: Judged) -> _Kind:
    """Return an event's fields that have few values, as texts: op, signature, places and judgement."""
    signature = (
        f'"access": {_word(event.access)}, "flags": {_dump(list(event.flags))}, '
        f'"created": {_dump(event.created)}, "mode": {_number(event.mode)}, "result": {_word(event.result)}'
    )
    places = (
        f'"mount": {_number(event.mount)}, "source_mount": {_number(event.source_mount)}, '
        f'"dev": {_device(event.dev)}, "source_dev": {_device(event.source_dev)}'
    )
    judgement = (
        f'"certainty": {_word(event.certainty)}, "zone": {_word(judged.zone)}, '
        f'"verdict": "{judged.verdict.value}", "reason": {_word(judged.reason)}'
    )
    return f'"op": "{event.op.value}"', signature, places, judgement


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)


def _files(report: Report) -> Iterator[str]:
    kinds: dict[tuple[object, ...], str] = {}
    for file in report.files:
        origin = file.origin
        key = (file.mount, file.zone, file.verdict, file.net, origin, file.directory, *file.ops.items())
        kind = kinds.get(key)
        if kind is None:
            if len(kinds) >= _KEPT_KINDS:
                kinds.clear()
            kind = kinds[key] = (
                f'"mount": {_number(file.mount)}, "zone": {_word(file.zone)}, '
                f'"verdict": "{file.verdict.value}", "net": "{file.net.value}", "ops": {_dump(file.ops)}, '
                f'"directory": {_dump(file.directory)}, "came": {_word(origin and origin.came)}, '
                f'"source_mount": {_number(origin and origin.mount)}'
            )
        yield f'{{"path": {_path(file.path)}, {kind}, "bytes_written": {file.bytes_written}}}'


def _run(audit: Audit) -> dict[str, object]:
    run = audit.run
    return {
        "command": [escape_argument(arg) for arg in run.command],
        "cwd": escape_path(run.cwd),
        "user": escape_text(run.user),
        "uid": run.uid,
        "started": timestamp(run.started),
        "duration_s": round(run.duration_s, 6),
        "exit_status": run.exit_status,
        "signal": run.signal,
        "backend": {
            "name": run.backend.name,
            "engine": escape_text(run.backend.engine) or None,
            "tier": run.backend.tier,
            "why": escape_text(run.backend.why),
        },
        "kernel": escape_text(run.kernel),
        "arch": escape_text(run.arch),
        "env": _words(run.env),
        "host": _words(run.host),
        "notes": [escape_text(note) for note in run.notes],
        **({"joined": [escape_text(name) for name in run.joined]} if run.joined else {}),
        "recorded_by": escape_text(run.tool_version) or None,
    }


def _binary(each: Binary) -> dict[str, object]:
    return {
        name: escape_text(value) if isinstance(value, str) else value
        for name, value in {
            **each._asdict(),
            "path": escape_path(each.path),
            "needed": [escape_text(name) for name in each.needed],
            "writable_paths": [escape_text(path) for path in each.writable_paths],
        }.items()
    }


def _arrivals(each: Arrivals) -> dict[str, object]:
    return {
        "source_mount": each.source_mount,
        "mount": each.mount,
        **{came: {"files": each.files.get(came, 0), "bytes": each.bytes.get(came, 0)} for came in Came},
    }


def _words(mapping: Mapping[str, str]) -> dict[str, str]:
    return {escape_text(key): escape_text(value) for key, value in sorted(mapping.items())}


def _summary(report: Report) -> dict[str, object]:
    zones: dict[str, dict[str, int]] = {}
    verdicts = [
        verdict for verdict in Verdict if verdict is not Verdict.UNPLACED or report.totals.verdicts[verdict]
    ]
    for (zone, verdict), count in sorted(report.totals.zones.items(), key=lambda item: str(item[0])):
        row = zones.setdefault(OUTSIDE if zone is None else escape_text(zone), dict.fromkeys(verdicts, 0))
        row[verdict] = count
    return {
        "status": report.status,
        "outcome": {
            "failed": report.ended.failed,
            "likely_cause": report.ended.likely_cause,
            "explanation": report.ended.explanation or None,
            "pid": report.ended.pid,
        },
        "verdicts": {verdict: report.totals.verdicts[verdict] for verdict in verdicts},
        "zones": zones,
        "severities": dict(report.severities),
        "events": report.totals.events,
        "files": len(report.files),
        "fail_on": list(report.fail_on),
        "failing": sorted({finding.rule for finding in report.failing}),
    }


def describe_completeness(c: Completeness) -> dict[str, object]:
    """Return the field ``completeness``."""
    return {
        "complete": c.complete,
        "lost_events": c.lost_events,
        "truncated": c.truncated,
        "unresolved": c.unresolved,
        "doubts": dict(c.doubts),
        "blind_spots": [
            {
                "kind": escape_text(spot.kind),
                "message": escape_text(spot.message),
                "count": spot.count,
                "incomplete": spot.incomplete,
            }
            for spot in c.blind_spots
        ],
        "survivors": list(c.survivors),
        "finished": c.finished,
        "emitted": dict(c.emitted),
        "received": dict(c.received),
        "lost": dict(c.lost),
    }


def _policy(report: Report) -> dict[str, object]:
    policy = report.policy
    return {
        "name": escape_text(policy.name),
        "source": escape_text(policy.source),
        "tool": escape_text(policy.tool),
        "open": policy.is_open,
        "remarks": [escape_text(remark) for remark in policy.remarks],
        "exceptions": [
            {
                "paths": [escape_path(pattern) for pattern in each.patterns],
                "reason": escape_text(each.reason),
                "rules": list(each.rules),
                "until": each.until,
            }
            for each in policy.exemptions
        ],
        "zones": [_zone(zone) for zone in policy.zones],
        **(
            {"container_zones": [_zone(zone) for zone in policy.container_zones]}
            if policy.container_zones
            else {}
        ),
    }


def _zone(zone: Zone) -> dict[str, object]:
    return {
        "name": escape_text(zone.name),
        "access": zone.access,
        "patterns": [escape_path(pattern) for pattern in zone.patterns],
        **({"program": escape_text(zone.program)} if zone.program is not None else {}),
    }


def describe_finding(f: Finding) -> dict[str, object]:
    """Return one of ``findings``."""
    return {
        "rule": f.rule,
        "title": f.title,
        "severity": f.severity,
        "message": f.message,
        "count": f.count,
        "bytes": f.bytes,
        "files": f.files,
        "evidence": list(f.evidence),
        "evidence_pids": [None if n is None else f.actors[n].pid for n in f.evidence_actors],
        "processes": [
            {
                "pid": actor.pid,
                "command": actor.command,
                "exe": actor.exe,
                "parent_pid": actor.parent_pid,
                "parent": actor.parent,
                "package": actor.package or None,
            }
            for actor in f.actors
        ],
        "cause": f.cause,
        "advice": list(f.advice),
        "details": dict(f.details),
    }


def _mount(mount: Mount, report: Report) -> dict[str, object]:
    return {
        "id": mount.id,
        "mount_ns": mount.mount_ns,
        "dev": format_device(mount.dev),
        "fstype": escape_text(mount.fstype),
        "source": escape_path(mount.source),
        "root": escape_path(mount.root),
        "mountpoint": escape_path(mount.mountpoint),
        "options": [escape_text(option) for option in mount.options],
        "parent": mount.parent,
        "own": mount.own,
        "ops": dict(sorted(report.totals.mount_ops.get(mount.id, {}).items())),
    }


def _frames(report: Report) -> Iterator[dict[str, object]]:
    audit = report.audit
    own = next((mount.mount_ns for mount in audit.mounts if mount.own), None)
    host: dict[str, object] = {"id": HOST, "kind": "host", "name": "host", "mount_ns": own, "root": "/"}
    if HOST in report.frames:
        host["setup"] = dict(sorted(report.frames[HOST].setup.items()))
    yield host
    for frame in audit.frames:
        yield {
            "id": frame.id,
            "kind": escape_text(frame.kind),
            "name": escape_text(frame.name),
            "mount_ns": frame.mount_ns,
            "root": None if frame.root is None else escape_path(frame.root),
            "pid": frame.pid,
            "began": round(frame.began_ns / 1e9, 9),
            **_frame_totals(report.frames.get(frame.id, FrameTotals())),
        }


def _frame_totals(totals: FrameTotals) -> dict[str, object]:
    return {
        "events": totals.events,
        "changes": totals.changes,
        "changed_paths": len(totals.paths),
        "setup": dict(sorted(totals.setup.items())),
    }


def _process(process: Process) -> dict[str, object]:
    return {
        "pid": process.pid,
        "ppid": process.ppid,
        "exe": escape_path(process.exe),
        "argv": [escape_argument(arg) for arg in process.argv],
        "started": round(process.started_ns / 1e9, 9),
        "ended": None if process.ended_ns is None else round(process.ended_ns / 1e9, 9),
        "exit_status": process.exit_status,
    }
