"""Which zone a path lies in, by which pattern, and what that comes to: the text of `check --explain`."""

from __future__ import annotations

import os

from writeaudit.judgement import NetEffect, Verdict, Zone, ZoneAccess
from writeaudit.policy import covers_path
from writeaudit.policy.zones import ZoneMatcher
from writeaudit.report.view import Report
from writeaudit.text import escape_path

_MEANING = {
    ZoneAccess.READ_WRITE: "it may be changed",
    ZoneAccess.READ_ONLY: "it may be read; a change is a violation (WA201)",
    ZoneAccess.NONE: "it may not even be read (WA204); a change is a violation (WA201)",
}


def explain_path(report: Report, spelled: str) -> str:
    """Return lines about one path; a relative one begins at the working directory of the run."""
    home = report.audit.run.env.get("HOME", "/")
    if spelled == "~" or spelled.startswith("~/"):
        spelled = home + spelled[1:]
    path = os.path.normpath(os.path.join(report.audit.run.cwd, os.fsencode(spelled)))
    policy = report.policy
    lines = [escape_path(path)]
    zone = ZoneMatcher(policy.zones).find_zone(path)
    if zone is None:
        outside = (
            "nobody has said what may be written, so a change is listed without blame"
            if policy.is_open
            else "it may be read; a change is a violation (WA202)"
        )
        lines.append(f"  in no zone: {outside}")
    else:
        when = f", for {escape_path(zone.program.encode())} only" if zone.program is not None else ""
        lines.append(f"  zone {zone.name} ({zone.access.value}{when}): {_MEANING[zone.access]}")
        lines += [f"    by the pattern {escape_path(pattern)}" for pattern in _deciding(zone, path)]
    for other in policy.zones:
        if other is not zone:
            lines += [
                f"  also below {escape_path(pattern)} of zone {other.name} ({other.access.value}): "
                "another pattern is longer, or stricter where they are alike"
                for pattern in other.patterns
                if covers_path((pattern,), path)
            ]
    lines.append(f"  policy: {policy.name} ({policy.source})")
    for each in policy.exemptions:
        if covers_path(each.patterns, path):
            rules = ", ".join(each.rules) or "WA201 to WA204"
            until = f" until {each.until}" if each.until else ""
            lines.append(f"  excepted from {rules}{until}: {each.reason}")
    lines += _happened(report, path)
    return "\n".join(lines)


def _deciding(zone: Zone, path: bytes) -> list[bytes]:
    """Return the longest of a zone's patterns that cover a path."""
    matching = [pattern for pattern in zone.patterns if covers_path((pattern,), path)]
    most = max((pattern.count(b"/") for pattern in matching), default=0)
    return [pattern for pattern in matching if pattern.count(b"/") == most]


def _happened(report: Report, path: bytes) -> list[str]:
    found = [file for file in report.files if file.path == path]
    if not found:
        return ["  in this run: nothing happened to it"]
    lines: list[str] = []
    for file in found:
        ops = ", ".join(f"{op} {count:,}" for op, count in file.ops.items())
        rules = sorted(
            {
                finding.rule
                for finding in report.findings
                if escape_path(path) in {_named(each) for each in _examples(finding.details.get("examples"))}
            }
        )
        told = f"; see {', '.join(rules)}" if rules else ""
        became = "" if file.net is NetEffect.READ else f", {file.net.value}"
        blame = file.verdict.value if file.verdict is not Verdict.READ else "no change"
        lines.append(f"  in this run: {blame}{became} ({ops}){told}")
    return lines


def _examples(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _named(example: object) -> object:
    return example.get("path") if isinstance(example, dict) else example
