"""Joins the stages: capture, resolve, recording; then policy, analysis, report.

The one module that knows them all. `record` makes a recording, `examine` judges one.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import os
import pwd
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, assert_never

from writeaudit import __version__
from writeaudit.analysis import analyze
from writeaudit.analysis.fail_on import FailOn, failing
from writeaudit.audit import BackendInfo, Completeness, RunInfo
from writeaudit.capture.interface import (
    Backend,
    Command,
    Limits,
    MountsChanged,
    MountSeen,
    Outcome,
    ProcessExec,
    ProcessExit,
    ProcessStart,
    Record,
)
from writeaudit.capture.select import capture_with
from writeaudit.errors import OutputError, RecordingError, WriteauditError
from writeaudit.events import Certainty, FsEvent, Op, RawEvent, WriteTotal
from writeaudit.judgement import Finding, Policy
from writeaudit.policy import (
    Classifier,
    FileCollector,
    discover,
    from_json,
    load,
    overlay,
    to_json,
    with_inherited,
)
from writeaudit.recording import Recording, RecordingWriter
from writeaudit.report.view import Report, Tally, build
from writeaudit.resolve.processes import ProcessBook
from writeaudit.resolve.resolver import Resolver

_PLACES = re.compile(
    r"HOME|PWD|TMPDIR|VIRTUAL_ENV|CONDA_PREFIX|UV_NO_CACHE|UV_LINK_MODE|UV_PROJECT_ENVIRONMENT|UV_PROJECT|"
    r"[A-Z0-9_]+_(DIR|DIRECTORY|HOME|PREFIX|CACHE|ROOT|DIRS|FOLDER|PATH)"
)
"""Variables that say where things go. No others are kept: they may hold secrets."""

_SETTINGS = ("fs/protected_hardlinks", "fs/protected_symlinks")
_COMMIT_S = 1.0
_COMMIT_EVENTS = 4096
_KEPT_EVENTS = 1 << 17
"""How many events a run may have that are judged from memory (60 MB at most); those of a longer
one are read back from the recording."""
_NAMES_NOTHING = frozenset({"ENAMETOOLONG", "EFAULT", "EBADF"})
"""The kernel itself could not make anything of the path: nothing is missing."""


class Recorded(NamedTuple):
    """What a run came to. ``error`` is what kept the recording from being whole, if anything."""

    path: str
    outcome: Outcome
    error: WriteauditError | None = None
    events: Sequence[FsEvent] | None = None
    """What the recording holds, where it was few enough to be kept."""


class _Batch(NamedTuple):
    """What a batch of records comes to: new events, and what it says of those before."""

    events: Sequence[FsEvent]
    totals: Sequence[tuple[int, int, int]]
    """Bytes, calls and seq of each open file that is gone."""
    doubtful: Sequence[int]
    unidentified: Sequence[int]


class _Recorder:
    """Takes records from capture, resolves them and writes them down, while the command runs."""

    def __init__(self, writer: RecordingWriter, progress: Callable[[int, int], None]) -> None:
        self._writer = writer
        self._progress = progress
        self.resolver = Resolver()
        self.processes = ProcessBook()
        self.failure: OutputError | None = None
        self.truncated = 0
        self.kept: list[FsEvent] | None = []
        self._started_ns: int | None = None
        self._writes: dict[int, int] = {}
        self._events = 0
        self._changes = 0
        self._next_commit = 0.0
        self._uncommitted = 0

    def __call__(self, records: Sequence[Record]) -> None:
        """The sink. Never raises for want of room: the command must not suffer from it."""
        if self._started_ns is None and records:
            # The first record of all is the exec of the command, or what came right before it.
            self._started_ns = min(record.time_ns for record in records if not isinstance(record, WriteTotal))
            self.resolver.start(self._started_ns)
        events: list[FsEvent] = []
        totals: list[tuple[int, int, int]] = []
        self.resolver.look_ahead([record for record in records if isinstance(record, RawEvent)])
        for record in records:
            match record:
                case RawEvent():
                    event = self.resolver.resolve(record)
                    if record.result not in _NAMES_NOTHING and (
                        record.path.truncated or (record.source is not None and record.source.truncated)
                    ):
                        self.truncated += 1
                    if record.file_key is not None:
                        self._writes[record.file_key] = event.seq
                    self._changes += event.op is not Op.OPEN
                    events.append(event)
                case WriteTotal():
                    seq = self._writes.pop(record.file_key, None)
                    if seq is not None:
                        totals.append((record.bytes, record.calls, seq))
                case _:
                    self._note(record)
        self._events += len(events)
        batch = _Batch(events, totals, self.resolver.doubtful(), self.resolver.unidentified())
        self._write(batch)
        self._keep(batch)
        self._progress(self._events, self._changes)

    def _note(self, record: ProcessStart | ProcessExec | ProcessExit | MountsChanged | MountSeen) -> None:
        match record:
            case ProcessStart():
                self.processes.started(self._since(record.time_ns), record.pid, record.ppid)
            case ProcessExec():
                self.processes.executed(self._since(record.time_ns), record.pid, record.exe, record.argv)
            case ProcessExit():
                self.processes.ended(self._since(record.time_ns), record.pid, record.exit_status)
            case MountsChanged():
                self.resolver.mounts_changed(record.time_ns, record.pid)
            case MountSeen():
                self.resolver.mount_seen(record.mount)
            case _:
                assert_never(record)

    def _since(self, time_ns: int) -> int:
        return max(time_ns - (self._started_ns or time_ns), 0)

    def _write(self, batch: _Batch) -> None:
        if self.failure is not None:
            return
        try:
            self._writer.events(batch.events)
            self._writer.totals(batch.totals)
            self._writer.doubtful(batch.doubtful)
            self._writer.unidentified(batch.unidentified)
            self._uncommitted += sum(map(len, batch))
            now = time.monotonic()
            if self._uncommitted and (now >= self._next_commit or self._uncommitted >= _COMMIT_EVENTS):
                self._writer.commit()
                self._next_commit = now + _COMMIT_S
                self._uncommitted = 0
        except OutputError as error:
            self.failure = error

    def _keep(self, batch: _Batch) -> None:
        """Do to the kept events what `_write` does to the recording."""
        kept = self.kept
        if kept is None:
            return
        kept.extend(batch.events)
        if len(kept) > _KEPT_EVENTS:
            self.kept = None
            return
        for size, calls, seq in batch.totals:
            kept[seq - 1] = kept[seq - 1]._replace(bytes=size, calls=calls)
        for seq in batch.doubtful:
            kept[seq - 1] = kept[seq - 1]._replace(certainty=Certainty.LEXICAL)
        for seq in batch.unidentified:
            kept[seq - 1] = kept[seq - 1]._replace(ino=None, source_ino=None, source_dev=None, fmt=None)


def record(
    command: Command,
    path: str,
    *,
    backend: str,
    policy: Mapping[str, object],
    owner: tuple[int, int] | None = None,
    limits: Limits | None = None,
    probes: str | None = None,
    progress: Callable[[int, int], None] = lambda _events, _changes: None,
) -> Recorded:
    """Run a command under a backend and write the recording ``path``.

    ``policy`` is kept in the recording, to be judged by later. ``probes``: a directory whose
    copy of the BPF sources is run. Raises `WriteauditError` as
    long as the command has not begun; nothing is left behind then.
    """
    writer = RecordingWriter(path, owner)
    recorder: _Recorder | None = None
    run = _run_info(command)
    try:
        writer.meta("policy", policy)

        def chosen(info: BackendInfo) -> None:
            writer.run(replace(run, backend=info))
            writer.commit()

        def attempt(candidate: Backend) -> Outcome:
            nonlocal recorder
            recorder = _Recorder(writer, progress)
            return candidate.capture(command, recorder, limits or Limits())

        captured = capture_with(backend, attempt, chosen, probes)
    except BaseException:
        writer.abandon()
        raise
    assert recorder is not None
    outcome = captured.outcome
    run = replace(
        run,
        backend=captured.backend,
        duration_s=(outcome.ended_ns - outcome.started_ns) / 1e9,
        exit_status=outcome.exit_status,
        signal=outcome.signal,
    )
    failure: WriteauditError | None = recorder.failure
    completeness = _completeness(outcome, recorder)
    try:
        writer.finish(run, completeness, recorder.resolver.book.all(), recorder.processes.all())
    except WriteauditError as error:
        failure = failure or error
    finally:
        recorder.resolver.close()
    kept, recorder = recorder.kept, None
    if kept is None:
        _let_go()
    return Recorded(path, outcome, failure, kept)


def _let_go() -> None:
    """Give back the memory that recording took, before judging takes its own: a long run has much of it."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # of glibc alone
        ctypes.CDLL(None).malloc_trim(0)


def _completeness(outcome: Outcome, recorder: _Recorder) -> Completeness:
    return Completeness(
        lost_events=outcome.lost_events,
        truncated=recorder.truncated,
        unresolved=recorder.resolver.unresolved,
        blind_spots=(*outcome.blind_spots, *recorder.resolver.blind_spots()),
        survivors=outcome.survivors,
        emitted=outcome.emitted,
        received=outcome.received,
        lost=outcome.lost,
        finished=recorder.failure is None,
    )


def _run_info(command: Command) -> RunInfo:
    credentials = command.credentials
    uid = credentials.uid if credentials else os.getuid()
    system = os.uname()
    return RunInfo(
        command=command.argv,
        cwd=os.getcwdb(),
        user=credentials.name if credentials else _user_name(uid),
        uid=uid,
        started=time.time(),
        duration_s=0.0,
        exit_status=None,
        signal=None,
        backend=BackendInfo("", "", ""),
        kernel=system.release,
        arch=system.machine,
        env=placing_variables(command.env),
        tool_version=__version__,
        host=_settings(),
        inherited=tuple(_inherited()),
    )


def placing_variables(env: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return the variables that say where things go, as text."""
    texts = {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()}
    return {name: value for name, value in sorted(texts.items()) if _PLACES.fullmatch(name)}


def _settings() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _SETTINGS:
        try:
            with open(f"/proc/sys/{name}", encoding="ascii") as setting:
                found[name.replace("/", ".")] = setting.read().strip()
        except OSError:
            continue
    return found


def _inherited() -> Iterator[bytes]:
    """Yield the files that the command will find open for writing: its redirected streams, mostly."""
    seen: set[bytes] = set()
    for number in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            if not os.get_inheritable(number) or not stat.S_ISREG(os.fstat(number).st_mode):
                continue
            if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                continue
            path = os.readlink(b"/proc/self/fd/%d" % number)
            if path not in seen and os.path.samestat(os.stat(path), os.fstat(number)):
                seen.add(path)
                yield path


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


class Examined(NamedTuple):
    """A recording, judged."""

    report: Report

    @property
    def failing(self) -> Sequence[Finding]:
        """The findings that make the exit status 100."""
        return self.report.failing

    @property
    def complete(self) -> bool:
        """Whether "clean" may be said at all."""
        return self.report.audit.completeness.complete


def choose_policy(
    command: Sequence[bytes],
    cwd: bytes,
    env: Mapping[str, str],
    *,
    policy_file: str | None,
    profile: str | None,
    zones: Sequence[str],
) -> Policy:
    """Return the policy that the options ask for. Raises `PolicyError` or `UsageError`."""
    home = env.get("HOME", "/")
    if policy_file is not None:
        chosen = load(policy_file, env, cwd, home, command=command, profile=profile)
    else:
        chosen = discover(command, cwd, env, profile=profile)
    return overlay(chosen, zones, env, cwd, home)


def examine(
    recording: Recording,
    *,
    fail_on: FailOn,
    fail_on_words: Sequence[str] = ("error",),
    policy_file: str | None = None,
    profile: str | None = None,
    zones: Sequence[str] = (),
    events: Sequence[FsEvent] | None = None,
) -> Examined:
    """Judge a recording: by the policy that it was made under, or by another one.

    ``events``: those that it holds, if they are at hand. Otherwise the returned report reads them
    from ``recording``, which must stay open. Raises `RecordingError`, `PolicyError`, `UsageError`.
    """
    audit = recording.audit(events)
    kept = recording.meta("policy")
    if policy_file is not None or profile is not None or kept is None:
        run = audit.run
        policy = choose_policy(
            run.command, run.cwd, run.env, policy_file=policy_file, profile=profile, zones=zones
        )
    else:
        try:
            policy = from_json(kept)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RecordingError(f"{recording.path} is damaged: it does not say its policy") from error
        policy = overlay(policy, zones, audit.run.env, audit.run.cwd, audit.run.env.get("HOME", "/"))
    policy = with_inherited(policy, audit.run.inherited)
    classifier = Classifier(policy)
    files, tally = FileCollector(classifier), Tally()
    findings = analyze(audit, policy, classifier.judge, (files, tally))
    return Examined(
        build(
            audit,
            policy,
            findings,
            files.result(),
            tally,
            fail_on=fail_on_words,
            failing=failing(findings, fail_on),
        )
    )


def kept_policy(policy: Policy) -> dict[str, object]:
    """Return a policy as a recording keeps it."""
    return to_json(policy)
