"""The report as Markdown: for issues, pull requests and the step summary of a CI job.

Everything that an audited program could have chosen stands in a code span, whose fence is longer
than any run of backticks in it; so it cannot break a table, mention a person or begin a command.
The whole stays under what the forges take for one comment.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from heapq import nsmallest

from writeaudit.audit import Mount
from writeaudit.judgement import Came, FileSummary, Finding, Severity, Verdict
from writeaudit.report.view import (
    CHANGED,
    OUTSIDE,
    Report,
    ZoneRow,
    describe_setup,
    frame_rows,
    mount_rows,
    zone_rows,
)
from writeaudit.report.wording import code_spans, command_line, duration, ending, list_gaps, verdict
from writeaudit.text import escape_path, escape_text, plural, size

LIMIT = 60_000
"""Characters; GitHub takes 65,536 for one comment."""
WORST_PATHS = 10
MOST_FINDINGS = 30
LONGEST_CODE = 300
"""Characters of one name or command; the middle of a longer one is left out."""

_BACKTICKS = re.compile("`+")
_SPECIAL = re.compile(r"([\\`*_\[\]#|~>$])")
_LISTS = re.compile(r"^(\s*)([-+]|\d+[.)])(?=\s)")
_AT_START = re.compile(r"^(\s*)([/:])")
_FIGURES = (
    "| paths changed | written | violations | refused |\n| --- | --- | --- | ---: | ---: | ---: | ---: |\n"
)
"""The end of a table's head, after three columns of words."""
_SYMBOLS = {Severity.ERROR: "🔴", Severity.WARNING: "🟡", Severity.NOTE: "⚪"}
_WORST_FIRST = {
    Verdict.VIOLATION: 0, Verdict.ATTEMPT: 1, Verdict.UNPLACED: 2, Verdict.ALLOWED: 3, Verdict.FAILED: 4,
    Verdict.READ: 5,
}  # fmt: skip


def render(report: Report) -> Iterator[str]:
    """Yield the report as one Markdown document of at most `LIMIT` characters.

    What does not fit is left out from the end, section by section, and that is said.
    """
    used = 0
    left_out = []
    for name, section in _sections(report):
        text = "".join(section)
        if used + len(text) > LIMIT - 400:
            left_out.append(name)
            continue
        used += len(text)
        yield text
    if left_out:
        yield f"\n_Left out for length: {', '.join(left_out)}. The HTML and JSON reports have them._\n"


def escape_code(text: str, longest: int = LONGEST_CODE) -> str:
    """Return text as a code span: whatever it holds, it is shown as it stands and nothing more."""
    text = escape_text(text)
    if len(text) > longest:
        head = longest * 2 // 3
        text = f"{text[:head]}…{text[head - longest + 1 :]}"
    fence = "`" * (1 + max((len(run) for run in _BACKTICKS.findall(text)), default=0))
    pad = " " if text.startswith(("`", " ")) or text.endswith(("`", " ")) or not text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def escape_cell(text: str, longest: int = 160) -> str:
    """Return a code span for the cell of a table, where a bar ends the cell even in code."""
    return escape_code(text, longest).replace("|", "\\|")


def escape_prose(text: str, *, at_start: bool = True) -> str:
    """Return text with nothing in it that Markdown, or a forge, gives a meaning to.

    ``at_start``: whether it may come to stand at the start of a line.
    """
    text = escape_text(text).replace("&", "&amp;").replace("<", "&lt;")
    text = _SPECIAL.sub(r"\\\1", text)
    text = _LISTS.sub(r"\1\\\2", text)
    if at_start:
        text = _AT_START.sub(r"\1&#8203;\2", text)
    for sign in ("@", "://", "www."):
        text = text.replace(sign, f"{sign[0]}<!-- -->{sign[1:]}")
    return text


def _prose(text: str) -> str:
    """Return a sentence of ours, in which what stands between backticks is code."""
    return "".join(
        escape_code(part) if is_code else escape_prose(part, at_start=not number)
        for number, (is_code, part) in enumerate(code_spans(text))
    )


def _sections(report: Report) -> Iterator[tuple[str, Iterable[str]]]:
    yield "the verdict", _head(report)
    yield "the findings", _findings(report)
    yield "the worst paths", _worst_paths(report)
    yield "the zones", _zones(report)
    yield "the mounts", _mounts(report)
    yield "the containers", _frames(report)
    yield "the run", _run(report)


def _head(report: Report) -> Iterator[str]:
    run = report.audit.run
    yield f"### {_symbol(report)} {_prose(verdict(report))}\n\n"
    command = command_line(run.command)
    yield f"{escape_code('$ ' + command, 500)}\n\n"
    where = escape_code(escape_path(run.cwd))
    yield f"{_capital(ending(run))} after {duration(run.duration_s)}, in {where}, judged by policy "
    yield f"{escape_code(escape_path(report.policy.name.encode('utf-8', 'surrogateescape')))}.\n\n"
    yield "| question | answer |\n| --- | --- |\n"
    for question, answer in _answers(report):
        yield f"| **{question}** | {answer} |\n"
    yield "\n"


def _symbol(report: Report) -> str:
    if report.status == "incomplete":
        return "🟠"
    if report.status == "violations" or report.failing:
        return "🔴"
    return "🔴" if report.audit.run.ended and not report.audit.run.succeeded else "🟢"


def _answers(report: Report) -> Iterator[tuple[str, str]]:
    zones = zone_rows(report)
    files = sum(row.extent.files for row in zones)
    written = sum(row.extent.bytes for row in zones)
    places = [
        f"{_zone(row.zone.name if row.zone else None)} {row.extent.files:,}"
        for row in zones
        if row.extent.files
    ]
    told = f" ({', '.join(places)})" if places else ""
    least = "" if report.audit.completeness.complete else "at least "
    yield "Where did it write?", f"{least}{plural(files, 'path')} changed, {size(written)} written{told}"
    verdicts = report.totals.verdicts
    bad, stopped = verdicts[Verdict.VIOLATION], verdicts[Verdict.ATTEMPT]
    allowed = (
        f"no: {least}{plural(bad, 'violation')}" if bad else "yes" if not least else "no violation was seen"
    )
    yield (
        "Was it allowed to?",
        allowed + (f"; {plural(stopped, 'attempt')} refused by the system" if stopped else ""),
    )
    refused = [finding for finding in report.findings if finding.rule.startswith("WA10") and finding.files]
    arrived: Counter[Came] = Counter()
    amount = 0
    for arrivals in report.overview.arrivals:
        arrived.update(arrivals.files)
        amount += arrivals.bytes.get(Came.COPIED, 0)
    copies = ", ".join(f"{count:,} {came.replace('_', ' ')}" for came, count in arrived.items() if count)
    if refused:
        copies += f" ({size(amount)} copied, because links were refused)"
    copies = copies or "no file came from another one"
    yield "Linked or copied?", copies
    gaps = list_gaps(report.audit.completeness)
    answer = "yes: nothing was lost" if not gaps else "no: " + "; ".join(map(_prose, gaps))
    yield "Can I believe it?", f"{answer} (backend {report.audit.run.backend.name})"


def _findings(report: Report) -> Iterator[str]:
    if not report.findings:
        return
    yield f"#### {plural(len(report.findings), 'finding')}\n\n"
    for finding in report.findings[:MOST_FINDINGS]:
        yield from _finding(finding)
    more = len(report.findings) - MOST_FINDINGS
    if more > 0:
        yield f"_And {plural(more, 'finding')} more in the HTML and JSON reports._\n"
    yield "\n"


def _finding(finding: Finding) -> Iterator[str]:
    title = f"{_SYMBOLS[finding.severity]} **{finding.rule} {_prose(finding.title)}**"
    yield f"- {title}: {_prose(finding.message)}\n"
    for line in finding.advice:
        yield f"  - → {_prose(line)}\n"


def _worst_paths(report: Report) -> Iterator[str]:
    by_verdict = report.overview.by_verdict
    numbers = [
        *by_verdict[Verdict.VIOLATION][: WORST_PATHS * 20],
        *by_verdict[Verdict.ATTEMPT][: WORST_PATHS * 20],
    ]
    worst = nsmallest(WORST_PATHS, (report.files[number] for number in numbers), key=_badness)
    if not worst:
        return
    yield "#### Worst paths\n\n"
    yield "| path | verdict | what became of it | zone | written |\n| --- | --- | --- | --- | ---: |\n"
    for file in worst:
        written = size(file.bytes_written) if file.bytes_written else ""
        path = escape_cell(escape_path(file.path))
        yield f"| {path} | {file.verdict} | {file.net} | {_zone(file.zone)} | {written} |\n"
    total = len(by_verdict[Verdict.VIOLATION]) + len(by_verdict[Verdict.ATTEMPT])
    if total > len(worst):
        yield f"\n{total - len(worst):,} more paths with violations or refused attempts.\n"
    yield "\n"


def _badness(file: FileSummary) -> tuple[int, bool, int, bytes]:
    return _WORST_FIRST[file.verdict], file.net not in CHANGED, -file.bytes_written, file.path


def _zones(report: Report) -> Iterator[str]:
    yield "<details><summary>Writes by zone</summary>\n\n"
    yield f"| zone | access | where {_FIGURES}"
    for row in zone_rows(report):
        where = (
            ", ".join(escape_cell(escape_path(pattern)) for pattern in row.zone.patterns[:4])
            if row.zone
            else ""
        )
        if row.zone and len(row.zone.patterns) > 4:
            where += f" and {len(row.zone.patterns) - 4} more"
        access = row.access
        yield (
            f"| {_zone_of(row)} | {access} | {where} | {row.extent.files:,} | {size(row.extent.bytes)} "
            f"| {row.verdicts[Verdict.VIOLATION]:,} | {row.refused:,} |\n"
        )
    yield "\n</details>\n\n"


def _mounts(report: Report) -> Iterator[str]:
    pairs = [finding for finding in report.findings if _sides(finding)]
    if pairs:
        yield "#### Links between mounts\n\n"
        yield "| from | to | refused | copied instead |\n| --- | --- | --- | --- |\n"
        for finding in pairs:
            sides = _sides(finding)
            assert sides is not None
            errno = escape_cell(str(finding.details.get("errno", "")))
            copied = f"{plural(finding.files, 'file')}, {size(finding.bytes)}" if finding.files else "nothing"
            yield f"| {sides[0]} | {sides[1]} | {finding.count:,} times {errno} | {copied} |\n"
        yield "\n"
    yield "<details><summary>Writes by mount</summary>\n\n"
    yield f"| mount | type | options {_FIGURES}"
    for row in mount_rows(report)[:40]:
        yield (
            f"| {_mount(row.mount)} | {row.extent.files:,} | {size(row.extent.bytes)} "
            f"| {row.verdicts[Verdict.VIOLATION]:,} | {row.refused:,} |\n"
        )
    yield "\n</details>\n\n"


def _frames(report: Report) -> Iterator[str]:
    rows = frame_rows(report)
    if not rows:
        return
    yield "<details><summary>Containers and sandboxes</summary>\n\n"
    yield "| frame | paths changed | first of them, as named there | set-up |\n| --- | ---: | --- | --- |\n"
    for row in rows[:40]:
        paths = ", ".join(escape_cell(escape_path(path)) for path in list(row.totals.paths)[:3])
        setup = describe_setup(row.totals.setup) or "none"
        name = escape_cell(f"{row.frame.kind} {row.shown_name}")
        yield f"| {name} | {len(row.totals.paths):,} | {paths} | {setup} |\n"
    yield "\n</details>\n\n"


def _sides(finding: Finding) -> tuple[str, str] | None:
    """Return both mounts of a refused link as cells; None for other findings."""
    sides = []
    for name in ("source_mount", "target_mount"):
        mount = finding.details.get(name)
        if not isinstance(mount, dict):
            return None
        shown = escape_cell(str(mount.get("mountpoint") or "unknown"))
        kind = ", ".join(escape_prose(str(mount.get(key, ""))) for key in ("fstype", "dev"))
        sides.append(f"{shown} ({kind})")
    return sides[0], sides[1]


def _mount(mount: Mount | None) -> str:
    if mount is None:
        return "unknown | | "
    options = escape_cell(",".join(mount.options), 80)
    return f"{escape_cell(escape_path(mount.mountpoint))} | {escape_prose(mount.fstype)} | {options}"


def _run(report: Report) -> Iterator[str]:
    run, backend = report.audit.run, report.audit.run.backend
    yield "<details><summary>Run, backend, completeness</summary>\n\n"
    facts: Sequence[tuple[str, str]] = (
        ("writeaudit", escape_prose(report.tool_version)),
        ("backend", f"{backend.name} ({escape_prose(backend.engine)}): {_prose(backend.why)}"),
        ("kernel", f"{escape_prose(run.kernel)} {escape_prose(run.arch)}"),
        ("user", f"{escape_code(run.user)} (uid {run.uid})"),
        ("policy", escape_code(report.policy.source)),
        ("events", f"{report.totals.events:,}"),
    )
    for name, value in facts:
        yield f"- {name}: {value}\n"
    for spot in report.audit.completeness.blind_spots:
        yield f"- blind spot {escape_code(spot.kind)} ({spot.count:,}): {_prose(spot.message)}\n"
    if run.env:
        yield (
            "- environment: "
            + ", ".join(escape_code(f"{name}={value}", 120) for name, value in sorted(run.env.items())[:40])
            + "\n"
        )
    yield "\n</details>\n"


def _zone(zone: str | None) -> str:
    return OUTSIDE if zone is None else escape_cell(escape_path(zone.encode("utf-8", "surrogateescape")), 60)


def _zone_of(row: ZoneRow) -> str:
    return _zone(row.zone.name if row.zone else None)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
