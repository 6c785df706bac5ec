"""What is promised, and how it follows from the measurements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from bench.measure import CannotRun, Session, Spread

Sessions = Mapping[str, Session]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    row: str
    what: str
    goal: str
    measured: str
    """Median, then lowest and highest of all rounds."""
    verdict: str
    """met, missed, a dash where nothing is promised, or why there is no figure."""


@dataclass(frozen=True, slots=True)
class Row:
    """One promise: which sessions it needs, and the lines that they give."""

    name: str
    sessions: tuple[str, ...]
    judge: Callable[[Sessions], Iterator[Line]]


def _line(
    row: str, what: str, goal: str, limit: float | None, figure: Callable[[], Spread], unit: str
) -> Line:
    """Compare a median with what it must not exceed (None: it is only shown)."""
    try:
        spread = figure()
    except CannotRun as error:
        return Line(row, what, goal, "-", f"not measured: {error}")
    digits = 0 if abs(spread.median) >= 100 or spread.median == 0 else 2 if abs(spread.median) >= 1 else 3
    low, middle, high = (f"{value:,.{digits}f}" for value in (spread.low, spread.median, spread.high))
    verdict = "-" if limit is None else "met" if spread.median <= limit else "**missed**"
    return Line(row, what, goal, f"{middle}{unit} ({low} to {high})", verdict)


def _startup(sessions: Sessions) -> Iterator[Line]:
    session = sessions["startup"]
    run = "`writeaudit run -q -- true`, ebpf"
    yield _line(
        "startup", f"{run}, against `python -c pass`", "at most 3 times", 3.0,
        lambda: session.paired(lambda bare, ebpf: ebpf / bare, "python", "ebpf"), " times",
    )  # fmt: skip
    yield _line("startup", run, "less than 0.15 s", 0.15, lambda: session.spread("ebpf"), " s")


def _sync_lines(row: str, where: str, sessions: Sessions) -> Iterator[Line]:
    limit = 1.03 if where == "disk" else 1.20
    goal = f"at most {limit:.2f} times untraced"
    for mode in ("hardlink", "copy"):
        session = sessions[f"sync-{where}-{mode}"]
        files = f"{session.facts['files'][0]:,.0f} files"
        what = f"warm `uv sync` of {files}, {where}, {mode}, ebpf"
        yield _line(
            row, f"{what}: wall of the command", goal, limit,
            partial(session.beside, lambda command, bare: command / bare, _COMMAND, "untraced"), " times",
        )  # fmt: skip
        # All that its user waits for: resolving and judging the events, too.
        kinds = [("wall", "wall_s")]
        if where == "tmpfs":
            kinds.append(("processor time", "cpu_s"))
        for kind, of in kinds:
            yield _line(
                row, f"{what}, start-up apart: {kind} to the end of writeaudit", goal, limit,
                partial(session.paired, _audited_ratio, "untraced", "ebpf", "ebpf start-up", of=of), " times",
            )  # fmt: skip


_COMMAND = "command wall_s"
"""What the recording says that the command took: from its exec to its end."""


def _sync_disk(sessions: Sessions) -> Iterator[Line]:
    return _sync_lines("sync-disk", "disk", sessions)


def _sync_tmpfs(sessions: Sessions) -> Iterator[Line]:
    return _sync_lines("sync-tmpfs", "tmpfs", sessions)


def _audited_ratio(untraced: float, audited: float, start: float) -> float:
    return (audited - start) / untraced


def _added_share(untraced: float, audited: float, start: float, rival: float) -> float:
    """What the audit adds, as a share of what a rival adds (a millisecond, where that is less)."""
    return (audited - start - untraced) / max(rival - untraced, 1e-3)


def _added(session: Session, row: str, what: str, rival: str, goal: str, limit: float) -> Iterator[Line]:
    """Compare what the audit adds with what a rival adds: to the command, and until all is said."""
    yield _line(
        row, f"{what}: time that ebpf adds to the command, of that which {rival} adds", goal, limit,
        partial(session.beside, _share, _COMMAND, "untraced", rival), "",
    )  # fmt: skip
    yield _line(
        row, f"{what}: the same to the end of writeaudit, start-up apart", goal, limit,
        partial(session.paired, _added_share, "untraced", "ebpf", "ebpf start-up", rival), "",
    )  # fmt: skip


def _ratio(rival: float, audited: float) -> float:
    return audited / rival


def _share(command: float, untraced: float, rival: float) -> float:
    return (command - untraced) / max(rival - untraced, 1e-3)


def _strace(sessions: Sessions) -> Iterator[Line]:
    for where, mode in _SYNCS:
        session = sessions[f"sync-{where}-{mode}"]
        what = f"`uv sync`, {where}, {mode}"
        yield from _added(session, "strace", what, "bare strace", "at most 0.05", 0.05)
        yield _line(
            "strace", f"{what}: strace backend, start-up apart, against bare strace with the same filter",
            "at most 1.05 times", 1.05,
            partial(session.paired, _audited_ratio, "bare strace", "strace", "strace start-up"), " times",
        )  # fmt: skip
        if where == "tmpfs":
            share = 0.4 if mode == "hardlink" else 0.3
            yield _line(
                "strace",
                f"{what}: `writeaudit run -q`, start-up included, against `strace -f --seccomp-bpf`",
                f"at most {share:.1f} times", share,
                partial(session.paired, _ratio, "plain strace", "ebpf"), " times",
            )  # fmt: skip


def _beside(rival: str) -> Callable[[Sessions], Iterator[Line]]:
    def judge(sessions: Sessions) -> Iterator[Line]:
        for where, mode in _SYNCS:
            session = sessions[f"sync-{where}-{mode}"]
            what = f"`uv sync`, {where}, {mode}"
            yield from _added(session, rival, what, rival, "less than 1", 0.999)

    return judge


def _flood(sessions: Sessions) -> Iterator[Line]:
    session = sessions["flood"]
    what = f"{session.facts['files'][0]:,.0f} files created in a tight loop by 4 processes, tmpfs"
    ratios = [
        audited / untraced
        for untraced, audited in zip(
            session.facts["untraced wall_s"], session.facts["audited wall_s"], strict=True
        )
    ]
    yield _line("flood", f"{what}: events lost", "none", 0, lambda: _worst(session.fact("lost")), "")
    yield _line(
        "flood",
        f"{what}: wall of the command",
        "at most 1.25 times",
        1.25,
        lambda: Spread.of(ratios),
        " times",
    )
    yield _line(
        "flood", f"{what}: from the end of the command to the verdict", "8 s", 8.0,
        lambda: session.fact("to verdict_s"), " s",
    )  # fmt: skip
    yield _line(
        "flood", f"{what}: memory of writeaudit", "under 200 MB", 200, lambda: session.fact("peak_mb"), " MB"
    )


def _idle(sessions: Sessions) -> Iterator[Line]:
    session = sessions["idle"]
    untraced = session.facts["untraced ns"]
    for kind, goal, where in (("audited", 100.0, "an audited process"), ("other", 60.0, "another process")):
        added = [ns - bare for ns, bare in zip(session.facts[f"{kind} ns"], untraced, strict=True)]
        yield _line(
            "idle", f"getpid, which is not recorded, in {where}: added", f"at most {goal:.0f} ns", goal,
            partial(Spread.of, added), " ns",
        )  # fmt: skip


def _recording(sessions: Sessions) -> Iterator[Line]:
    session = sessions["recording"]
    what = f"recording of {session.facts['large events'][0]:,.0f} events"
    for part, name, limit, unit in (
        ("size", "large mb", 120.0, " MB"),
        ("load and analyse", "large examine_s", 8.0, " s"),
        ("HTML", "large html_s", 6.0, " s"),
        ("JSON", "large json_s", 6.0, " s"),
        ("memory, HTML", "large html peak_mb", 500.0, " MB"),
        ("memory, JSON", "large json peak_mb", 500.0, " MB"),
    ):
        yield _line(
            "recording", f"{what}: {part}", f"{limit:,.0f}{unit}", limit,
            partial(session.fact, name), unit,
        )  # fmt: skip


def _summary(sessions: Sessions) -> Iterator[Line]:
    session = sessions["summary"]
    yield _line(
        "summary", "end of a run of 20,000 events to the end of writeaudit, summary printed", "0.3 s", 0.3,
        lambda: session.fact("to summary_s"), " s",
    )  # fmt: skip


def _image(sessions: Sessions) -> Iterator[Line]:
    session = sessions["image"]
    what = f"review of a container image, {session.facts['mb'][0]:,.0f} MB in one layer of gzip"
    yield _line("image", what, "3 s", 3.0, lambda: session.fact("image_s"), " s")
    yield _line("image", f"{what}: memory", "300 MB", 300.0, lambda: session.fact("peak_mb"), " MB")


def _growth(sessions: Sessions) -> Iterator[Line]:
    facts = sessions["recording"].facts
    factor = facts["large events"][0] / facts["small events"][0]
    for part, name in (("load and analyse", "examine_s"), ("HTML", "html_s"), ("JSON", "json_s")):
        large, small = Spread.of(facts[f"large {name}"]), Spread.of(facts[f"small {name}"])
        growth = Spread(large.median / small.median, large.low / small.high, large.high / small.low)
        yield _line(
            "growth",
            f"from {facts['small events'][0]:,.0f} to {facts['large events'][0]:,.0f} events: {part}",
            f"less than {1.2 * factor:,.0f} times", 1.2 * factor, partial(_same, growth), " times",
        )  # fmt: skip


def _worst(spread: Spread) -> Spread:
    """Where one bad round is one too many."""
    return Spread(spread.high, spread.low, spread.high)


def _same(spread: Spread) -> Spread:
    return spread


_SYNCS = tuple((where, mode) for where in ("disk", "tmpfs") for mode in ("hardlink", "copy"))
_ALL_SYNCS = tuple(f"sync-{where}-{mode}" for where, mode in _SYNCS)

ROWS: tuple[Row, ...] = (
    Row("startup", ("startup",), _startup),
    Row("sync-disk", _ALL_SYNCS[:2], _sync_disk),
    Row("sync-tmpfs", _ALL_SYNCS[2:], _sync_tmpfs),
    Row("strace", _ALL_SYNCS, _strace),
    Row("bpftrace", _ALL_SYNCS, _beside("bpftrace")),
    Row("opensnoop", _ALL_SYNCS, _beside("opensnoop")),
    Row("flood", ("flood",), _flood),
    Row("idle", ("idle",), _idle),
    Row("recording", ("recording",), _recording),
    Row("summary", ("summary",), _summary),
    Row("growth", ("recording",), _growth),
    Row("image", ("image",), _image),
)
