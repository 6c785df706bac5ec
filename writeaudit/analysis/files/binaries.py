"""WA305 and WA306: what was overwritten in place, and what is unsafe in programs and libraries."""

from __future__ import annotations

import re

from writeaudit.analysis.collector import RunContext
from writeaudit.analysis.files.activity import (
    PathActivity,
    count_operations,
    in_words,
    name_paths,
    pick_evidence,
    pick_examples,
)
from writeaudit.elf import ELF_ADVICE, ELF_CAUSE, list_hazards
from writeaudit.events import DATA_OPS, OK, Effect, FsEvent, Op, effect_of
from writeaudit.judgement import Finding, Judged, Severity
from writeaudit.rules import rule
from writeaudit.text import plural

_BUILD_DIRECTORY = re.compile(
    r"^(?:/tmp|/var/tmp|/build|/builddir|/home/[^/]+|/root)(?:/|$)|/pip-(?:install|build)-"
)


class BinaryCollector:
    """Follows the files that are programs or libraries at the end."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._binaries = {binary.path: binary for binary in context.binaries}
        self._written: dict[bytes, PathActivity] = {}
        self._made: set[bytes] = set()
        self._overwritten: dict[bytes, PathActivity] = {}

    @property
    def ops(self) -> frozenset[Op]:
        """Those that make and fill files; none where nothing was found."""
        return DATA_OPS | {Op.OPEN, Op.RENAME, Op.CHMOD} if self._binaries else frozenset()

    def add_event(self, event: FsEvent, _judged: Judged, /) -> None:
        """Take the next event."""
        path = event.path
        if event.result != OK or path not in self._binaries or effect_of(event) is not Effect.CHANGED:
            return
        _count_activity(self._written, event)
        if event.created or event.op is Op.RENAME:
            self._made.add(path)
            self._overwritten.pop(path, None)
        elif path not in self._made and event.op is not Op.CHMOD:
            _count_activity(self._overwritten, event)

    def list_findings(self) -> list[Finding]:
        """Return one finding for what was overwritten, and one for each thing that is unsafe."""
        found = []
        activities = [each for path, each in self._overwritten.items() if self._binaries[path].existed]
        if activities:
            was = "was" if len(activities) == 1 else "were"
            found.append(
                _make_finding(
                    "WA305",
                    rule("WA305").title,
                    activities,
                    f"{plural(len(activities), 'program or library', 'programs and libraries')} {was} "
                    f"overwritten "
                    f"in place: {name_paths(activities)} ({in_words(count_operations(activities))}).",
                    "Whoever runs the file at that time gets half of each, or crashes; and a file that "
                    "another name or a container's layer shares changes there as well.",
                    "Write a new file and rename it over the old one.",
                )
            )
        groups: dict[str, tuple[str, str, list[bytes]]] = {}
        for binary in self._binaries.values():
            for key, what, detail in list_hazards(
                binary, self._context.run.arch, build_directory=_BUILD_DIRECTORY.search
            ):
                groups.setdefault(key, (what, detail, []))[2].append(binary.path)
        for key, (what, detail, paths) in groups.items():
            found.append(self._unsafe_finding(key, what, detail, paths))
        return found

    def _unsafe_finding(self, key: str, what: str, detail: str, paths: list[bytes]) -> Finding:
        activities = [self._written.get(path) or PathActivity(path) for path in paths]
        return _make_finding(
            "WA306",
            f"{rule('WA306').title}: {what}",
            activities,
            f"{plural(len(paths), 'ELF file')} {what}: {name_paths(activities)} ({detail}).",
            ELF_CAUSE,
            ELF_ADVICE,
            severity=Severity.NOTE if key in {"damaged", "machine"} else None,
            kind=key,
        )


def _count_activity(activities: dict[bytes, PathActivity], event: FsEvent) -> None:
    if event.path not in activities:
        activities[event.path] = PathActivity(event.path)
    activities[event.path].count_event(event)


def _make_finding(
    rule_id: str,
    title: str,
    activities: list[PathActivity],
    message: str,
    cause: str,
    advice: str,
    *,
    severity: Severity | None = None,
    kind: str | None = None,
) -> Finding:
    registered = rule(rule_id)
    return Finding(
        rule=rule_id,
        title=title,
        severity=severity or registered.severity,
        message=message,
        count=max(sum(activity.events for activity in activities), len(activities)),
        files=len(activities),
        evidence=tuple(seq for seq in pick_evidence(activities) if seq),
        cause=cause,
        advice=(advice,),
        details={"examples": pick_examples(activities)} | ({} if kind is None else {"kind": kind}),
    )
