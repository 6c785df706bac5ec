"""Takes out of a report what identifies a person, a machine or an account.

Home directories, the user's name and the host's name become placeholders; credentials in command
lines, addresses and the environment go. What is left has the same form, so that every renderer
takes it: paths stay absolute, and equal paths stay equal.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from writeaudit.audit import Audit, Process, RunInfo, pick_events
from writeaudit.credentials import SECRET, SECRET_NAME, redact_text
from writeaudit.events import FsEvent
from writeaudit.judgement import FileSummary, Finding, Policy
from writeaudit.report.view import Report

USER, HOST = "USER", "HOST"

_IMPERSONAL = frozenset(
    [
        "root",
        "nobody",
        "user",
        "users",
        "test",
        "tests",
        "build",
        "builder",
        "runner",
        "ubuntu",
        "debian",
        "admin",
        "vagrant",
        "app",
        "node",
        "home",
        "python",
    ]
)
"""Names of users that say nothing of a person, and that are names of other things as well."""
_HOMES = ("/home/", "/Users/", "/var/home/", "/export/home/")
_SHORTEST_NAME = 3

_SHORT_OPTIONS = frozenset({"-p", "-u"})


def redact_report(report: Report) -> Report:
    """Return the report without what identifies a person, a machine or an account."""
    return _Redaction(report).report()


def redact_words(argv: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return a command line without credentials: also the word that follows ``--token`` and the like."""
    words: list[bytes] = []
    hide_next = False
    for word in argv:
        text = os.fsdecode(word)
        if hide_next and not text.startswith("-"):
            words.append(SECRET.encode())
            hide_next = False
            continue
        name, equals, value = text.partition("=")
        hide_next = text.startswith("-") and not equals and bool(SECRET_NAME.search(name))
        secret = equals and value and SECRET_NAME.search(name)
        text = f"{name}={SECRET}" if secret else redact_text(text)
        words.append(os.fsencode(text))
    return tuple(words)


class _Redaction:
    def __init__(self, report: Report) -> None:
        self._report = report
        run = report.audit.run
        names = {run.user, *(name for name in (_user_of(run.env.get("HOME", "")),) if name)}
        names |= {name for name in (_user_of(os.fsdecode(run.cwd)),) if name}
        self._names = tuple(sorted(name for name in names if _is_personal(name)))
        host = run.env.get("HOSTNAME", "") or os.uname().nodename
        self._hosts = tuple({host, host.partition(".")[0]} if _is_personal(host.partition(".")[0]) else ())
        self._home = run.env.get("HOME", "") if _user_of(run.env.get("HOME", "")) else ""
        self._parts = {name.encode("utf-8", "surrogateescape"): USER.encode() for name in self._names} | {
            name.encode("utf-8", "surrogateescape"): HOST.encode() for name in self._hosts
        }
        words = {**dict.fromkeys(self._names, USER), **dict.fromkeys(self._hosts, HOST)}
        self._words = words
        self._word = (
            re.compile(
                r"(?<![A-Za-z0-9])(?:"
                + "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
                + r")(?![A-Za-z0-9])"
            )
            if words
            else None
        )
        self._known: dict[bytes, bytes] = {}

    def report(self) -> Report:
        report = self._report
        audit = report.audit
        redacted = Audit(
            self._run(audit.run),
            audit.completeness,
            tuple(
                mount._replace(
                    source=self._path(mount.source),
                    root=self._path(mount.root),
                    mountpoint=self._path(mount.mountpoint),
                    options=tuple(map(self._text, mount.options)),
                )
                for mount in audit.mounts
            ),
            tuple(map(self._process, audit.processes)),
            _Events(audit.events, self),
            audit.event_count,
            frames=tuple(
                frame._replace(
                    name=self._text(frame.name), root=None if frame.root is None else self._path(frame.root)
                )
                for frame in audit.frames
            ),
        )
        return replace(
            report,
            audit=redacted,
            policy=self._policy(report.policy),
            findings=tuple(map(self._finding, report.findings)),
            failing=tuple(map(self._finding, report.failing)),
            files=_Files(report.files, self),
        )

    def event(self, event: FsEvent) -> FsEvent:
        source, seen_as, inner_path = event.source, event.seen_as, event.inner_path
        return event._replace(
            path=self._path(event.path),
            source=None if source is None else self._path(source),
            seen_as=None if seen_as is None else self._path(seen_as),
            inner_path=None if inner_path is None else self._path(inner_path),
        )

    def file(self, file: FileSummary) -> FileSummary:
        return replace(file, path=self._path(file.path))

    def _run(self, run: RunInfo) -> RunInfo:
        return replace(
            run,
            command=tuple(map(self._argument, redact_words(run.command))),
            cwd=self._path(run.cwd),
            user=USER if run.user in self._names else run.user,
            env={name: self._value(name, value) for name, value in run.env.items()},
            host={name: self._text(value) for name, value in run.host.items()},
            inherited=tuple(map(self._path, run.inherited)),
            joined=tuple(map(self._text, run.joined)),
            backend=replace(run.backend, why=self._text(run.backend.why)),
        )

    def _process(self, process: Process) -> Process:
        argv = tuple(map(self._argument, redact_words(process.argv)))
        return process._replace(exe=self._path(process.exe), argv=argv)

    def _policy(self, policy: Policy) -> Policy:
        zones = tuple(
            zone._replace(name=self._text(zone.name), patterns=tuple(map(self._path, zone.patterns)))
            for zone in policy.zones
        )
        return policy._replace(
            name=self._text(policy.name),
            source=self._text(policy.source),
            zones=zones,
            container_zones=tuple(
                zone._replace(name=self._text(zone.name), patterns=tuple(map(self._path, zone.patterns)))
                for zone in policy.container_zones
            ),
            remarks=tuple(map(self._text, policy.remarks)),
            exemptions=tuple(
                each._replace(patterns=tuple(map(self._path, each.patterns)), reason=self._text(each.reason))
                for each in policy.exemptions
            ),
        )

    def _finding(self, finding: Finding) -> Finding:
        return replace(
            finding,
            title=self._text(finding.title),
            message=self._text(finding.message),
            cause=self._text(finding.cause),
            advice=tuple(map(self._text, finding.advice)),
            details={key: self._any(value) for key, value in finding.details.items()},
        )

    def _any(self, value: object) -> object:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            return {key: self._any(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._any(inner) for inner in value]
        return value

    def _value(self, name: str, value: str) -> str:
        return SECRET if SECRET_NAME.search(name) else self._text(value)

    def _argument(self, word: bytes) -> bytes:
        return os.fsencode(self._text(os.fsdecode(word)))

    def _text(self, text: str) -> str:
        text = redact_text(text)
        return self._word.sub(lambda match: self._words[match[0]], text) if self._word else text

    def _path(self, path: bytes) -> bytes:
        """Return a path with its parts replaced; paths come again and again, by directory."""
        cut = path.rfind(b"/") + 1
        directory = self._known.get(path[:cut])
        if directory is None:
            if len(self._known) > 1 << 16:
                self._known.clear()
            directory = self._known[path[:cut]] = self._parts_of(path[:cut])
        name = path[cut:]
        return directory + (self._parts_of(name) if self._parts or b"_" in name or b"-" in name else name)

    def _parts_of(self, path: bytes) -> bytes:
        text = os.fsdecode(b"/".join(self._parts.get(part, part) for part in path.split(b"/")))
        return os.fsencode(self._text(text))


def _user_of(path: str) -> str:
    """Return whose home directory a path is in: the name below /home and the like; or an empty text."""
    for home in _HOMES:
        if path.startswith(home):
            return path[len(home) :].partition("/")[0]
    return ""


def _is_personal(name: str) -> bool:
    return len(name) >= _SHORTEST_NAME and name.lower() not in _IMPERSONAL and not name.isdecimal()


class _Events:
    """The events of a recording, redacted one by one as they are read."""

    def __init__(self, events: Iterable[FsEvent], redaction: _Redaction) -> None:
        self._events = events
        self._redaction = redaction

    def __iter__(self) -> Iterator[FsEvent]:
        return map(self._redaction.event, self._events)

    def pick_events(self, seqs: Collection[int]) -> Iterator[FsEvent]:
        return map(self._redaction.event, pick_events(self._events, seqs))


class _Files(Sequence[FileSummary]):
    """The files of a report, redacted when they are asked for."""

    def __init__(self, files: Sequence[FileSummary], redaction: _Redaction) -> None:
        self._files = files
        self._redaction = redaction

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int | slice) -> FileSummary:  # type: ignore[override]  # slices are not asked for
        assert isinstance(index, int)
        return self._redaction.file(self._files[index])
