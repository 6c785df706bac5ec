"""The measurements. Each returns a `Session`; `rows` says what follows from them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench import rivals
from bench.material import (
    ROOT,
    BenchDirectory,
    Project,
    container_image,
    environment,
    fresh,
    project,
    run_under,
    writeaudit,
)
from bench.measure import AUDITED, CannotRun, Session, Variant, alternate, run, tell
from writeaudit.capture.strace.parser import TRACED
from writeaudit.recording import Recording

Measure = Callable[[BenchDirectory, frozenset[str]], Session]
"""Takes the rows that were asked for: some parts are measured for one of them only."""

_PROCESSES = 4


def startup(place: BenchDirectory, _rows: frozenset[str]) -> Session:
    """The empty run, against the interpreter alone."""
    session = Session("startup")
    variants = [
        Variant("python", (sys.executable, "-c", "pass")),
        Variant("ebpf", run_under("ebpf", place.recording("startup"), "true"), accept=AUDITED),
    ]
    alternate(session, variants, 2 * place.scale.rounds, environment(), place.disk)
    return session


def sync(where: str, link_mode: str) -> Measure:
    """A warm `uv sync`, untraced, under writeaudit and under its rivals."""

    def measure(place: BenchDirectory, rows: frozenset[str]) -> Session:
        env = environment()
        made = project(place.directory(where), link_mode, env, place.scale.sync_files)
        session = Session(f"sync-{where}-{link_mode}", facts={"files": [made.files]})
        alternate(session, _sync_variants(place, made, rows), place.scale.rounds, made.env, made.path)
        return session

    return measure


def _sync_variants(place: BenchDirectory, made: Project, rows: frozenset[str]) -> list[Variant]:
    work = ("uv", "sync", "--frozen", "--quiet")
    again = ("rm", "-rf", made.venv)

    def audited(backend: str, *command: str) -> tuple[str, ...]:
        return run_under(backend, place.recording(f"sync-{backend}"), *command)

    variants = [
        Variant("untraced", work, again),
        Variant("ebpf", audited("ebpf", *work), again, AUDITED, after=lambda: _of_the_run(place, "ebpf")),
        Variant("ebpf start-up", run_under("ebpf", place.recording("empty"), "true"), None, AUDITED),
    ]
    if "strace" in rows:
        calls = "-etrace=" + ",".join(f"?{name}" for name in TRACED)
        log = f"-o{place.disk / 'strace.log'}"
        bare = (
            "strace",
            "-f",
            "--seccomp-bpf",
            "-y",
            "-ttt",
            "-T",
            "-x",
            "-s4096",
            "-esignal=none",
            calls,
            log,
        )
        variants += [
            Variant("strace", audited("strace", *work), again, AUDITED),
            Variant("strace start-up", run_under("strace", place.recording("empty"), "true"), None, AUDITED),
            Variant("bare strace", (*bare, *work), again),
            # As people call it: every system call, printed as it comes.
            Variant("plain strace", ("strace", "-f", "--seccomp-bpf", log, *work), again),
        ]
    if "bpftrace" in rows:
        variants.append(Variant("bpftrace", work, again, around=lambda: rivals.bpftrace(environment())))
    if "opensnoop" in rows:
        variants.append(Variant("opensnoop", work, again, around=lambda: rivals.opensnoop(environment())))
    return variants


def _of_the_run(place: BenchDirectory, backend: str) -> dict[str, float]:
    """Return what the recording says of the last `uv sync`."""
    with Recording(place.recording(f"sync-{backend}")) as opened:
        audit = opened.read_audit()
        return {
            "command wall_s": audit.run.duration_s,
            "events": audit.event_count,
            "lost": audit.completeness.lost_events,
        }


def flood(place: BenchDirectory, _rows: frozenset[str]) -> Session:
    """Files created in tight loops by four processes."""
    session = Session("flood", facts={"files": [_PROCESSES * place.scale.flood_files]})
    env, target = environment(), place.memory / "flood"
    work = (place.program("flood"), str(target), str(_PROCESSES), str(place.scale.flood_files))
    recording = place.recording("flood")
    for number in range(place.scale.long_rounds):
        fresh(target)
        session.add("untraced wall_s", run(work, env, place.disk).sample.wall_s)
        fresh(target)
        # 100 (files made outside every zone) and 101 (events lost) are what this is to show.
        ended = run(run_under("ebpf", recording, *work), env, place.disk, AUDITED)
        now = time.time()
        with Recording(recording) as opened:
            audit = opened.read_audit()
            session.add("to verdict_s", now - audit.run.started - audit.run.duration_s)
            session.add("audited wall_s", audit.run.duration_s)
            session.add("lost", audit.completeness.lost_events)
            session.add("events", audit.event_count)
        session.add("total wall_s", ended.sample.wall_s)
        session.add("total cpu_s", ended.sample.cpu_s)
        session.add("peak_mb", ended.peak_mb)
        tell(f"flood: {number + 1} of {place.scale.long_rounds} rounds")
    fresh(target)
    tell("")
    return session


def idle(place: BenchDirectory, _rows: frozenset[str]) -> Session:
    """System calls that nobody records: in audited processes, and beside an audit."""
    session = Session("idle")
    env = environment()
    spin = (place.program("spin"), str(place.scale.spin_calls))
    for number in range(place.scale.rounds):
        session.add("untraced ns", float(run(spin, env, place.disk).output))
        with _audit_of_nothing(place, env):
            session.add("other ns", float(run(spin, env, place.disk).output))
        audited = run(run_under("ebpf", place.recording("spin"), *spin), env, place.disk, AUDITED)
        session.add("audited ns", float(audited.output))
        tell(f"idle: {number + 1} of {place.scale.rounds} rounds")
    tell("")
    return session


@contextmanager
def _audit_of_nothing(place: BenchDirectory, env: Mapping[str, str]) -> Iterator[None]:
    """Have an audit going on, of a command that sleeps until the end of the context."""
    begun = place.disk / "begun"
    begun.unlink(missing_ok=True)
    waits = run_under("ebpf", place.recording("other"), "sh", "-c", f"echo > '{begun}'; exec sleep 600")
    audit = subprocess.Popen(
        waits, env=dict(env), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        while not begun.exists():
            if audit.poll() is not None:
                assert audit.stderr is not None
                raise CannotRun(f"the audit ended at once: {audit.stderr.read().strip()}")
            time.sleep(0.01)
        yield
    finally:
        audit.terminate()  # handed on to the command
        audit.communicate()


def recording(place: BenchDirectory, _rows: frozenset[str]) -> Session:
    """A recording of each size: made by a real run, then judged and rendered."""
    session = Session("recording")
    env = environment()
    for size, events in (("small", place.scale.small_recording), ("large", place.scale.large_recording)):
        path = place.recording(size)
        _install(place, path, events, env)
        with Recording(path) as opened:
            session.add(f"{size} events", opened.read_audit().event_count)
        session.add(f"{size} mb", Path(path).stat().st_size / 1e6)
        for number in range(place.scale.long_rounds):
            for output in ("html", "json"):
                target = str(place.disk / f"report.{output}")
                stages = (sys.executable, "-m", "bench.stages", path, output, target)
                figures = json.loads(run(stages, env, ROOT).output)
                session.add(f"{size} examine_s", figures["examine_s"])
                session.add(f"{size} {output}_s", figures["write_s"])
                session.add(f"{size} {output} peak_mb", figures["peak_mb"])
                session.add(f"{size} {output} mb", Path(target).stat().st_size / 1e6)
            tell(f"recording, {events} events: {number + 1} of {place.scale.long_rounds} rounds")
    tell("")
    return session


def summary(place: BenchDirectory, _rows: frozenset[str]) -> Session:
    """From the command's last breath to the end of writeaudit, its summary printed."""
    session = Session("summary")
    env = environment()
    for number in range(place.scale.rounds):
        waited = _install(place, place.recording("summary"), place.scale.summary_events, env)
        session.add("to summary_s", waited)
        tell(f"summary: {number + 1} of {place.scale.rounds} rounds")
    tell("")
    return session


def image(place: BenchDirectory, _rows: frozenset[str]) -> Session:
    """A container image, read and reviewed."""
    session = Session("image")
    directory = fresh(place.disk / "image")
    directory.mkdir(exist_ok=True)
    source = container_image(directory, place.scale.image_bytes)
    session.add("mb", place.scale.image_bytes / 1e6)
    for number in range(place.scale.rounds):
        ended = run(writeaudit("image", "--static", "-q", str(source)), environment(), place.disk, AUDITED)
        session.add("image_s", ended.sample.wall_s)
        session.add("peak_mb", ended.peak_mb)
        tell(f"image: {number + 1} of {place.scale.rounds} rounds")
    tell("")
    return session


def _install(place: BenchDirectory, path: str, events: int, env: Mapping[str, str]) -> float:
    """Audit a program that makes so many events; return the seconds that writeaudit ran on after it."""
    target, stamp = fresh(place.memory / "install"), place.disk / "stamp"
    work = (place.program("install"), str(target), str(events), str(stamp))
    ended = run(run_under("ebpf", path, *work, quiet=False), env, place.disk, AUDITED)
    fresh(target)
    return (ended.ended_ns - int(stamp.read_text())) / 1e9


SESSIONS: Mapping[str, Measure] = {
    "startup": startup,
    **{
        f"sync-{where}-{mode}": sync(where, mode)
        for where in ("disk", "tmpfs")
        for mode in ("hardlink", "copy")
    },
    "flood": flood,
    "idle": idle,
    "recording": recording,
    "summary": summary,
    "image": image,
}
"""By name, in the order in which they are taken."""
