"""Joins the stages: capture, resolve, recording; then policy, analysis, report.

The one module that knows them all. `record` makes a recording, `examine` judges one.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, assert_never

from writeaudit.analysis import analyze_audit
from writeaudit.analysis.adjust import adjust_findings
from writeaudit.analysis.fail_on import FailOn, select_failing
from writeaudit.analysis.files.collector import FileCollector
from writeaudit.audit import BackendInfo, BlindSpot, Completeness, RunInfo, of_ops
from writeaudit.capture.interface import (
    Backend,
    CaptureLimits,
    CaptureOutcome,
    MountsChanged,
    MountSeen,
    ProcessExec,
    ProcessExit,
    ProcessStart,
    Record,
)
from writeaudit.capture.kernel.privileged import client
from writeaudit.capture.run_info import run_info
from writeaudit.capture.select import capture_with
from writeaudit.capture.targets import Target
from writeaudit.errors import (
    CaptureError,
    CommandNotExecutable,
    CommandNotFound,
    PolicyError,
    RecordingError,
    UsageError,
    WriteauditError,
)
from writeaudit.events import NO_DOUBT, OK, Certainty, Doubt, FsEvent, Op, RawEvent, WriteTotal
from writeaudit.frames import FrameCounter, Places, SetUp
from writeaudit.judgement import Finding, Policy, Zone, ZoneAccess, by_gravity
from writeaudit.policy import (
    MOVES,
    classifier_for,
    covers_path,
    from_json,
    literal_directory,
    load_policy,
    overlay_zones,
    survey_command,
    to_json,
    with_inherited,
    with_project,
)
from writeaudit.recording import MOST, MOST_PATH, Recording, RecordingWriter
from writeaudit.recording.digest import Digests
from writeaudit.recording.processes import ProcessBook
from writeaudit.report.image.view import ImageReport
from writeaudit.report.view import Report, Tally, build
from writeaudit.resolve.binaries import WATCHED, Binaries
from writeaudit.resolve.observer import EXPLAINED, Observer, view_of
from writeaudit.resolve.resolver import Resolver
from writeaudit.resolve.shared import CHANGES_IN_PLACE, SharedFiles
from writeaudit.trial import PolicyTrial

_COMMIT_S = 1.0
_LOOKED_AT = CHANGES_IN_PLACE | WATCHED
_KEPT_EVENTS = 1 << 17
"""How many events a run may have that are judged from memory (60 MB at most); those of a longer
one are read back from the recording."""
_KEPT_BYTES = 1 << 26
"""The same for what their paths hold, which may be thousands of bytes each."""
_SUDO_HELPS = (
    "`writeaudit run --sudo -- COMMAND` captures in the kernel, which costs the command less and sees more: "
    "sudo starts that part alone, everything else runs as you."
)
_NEVER_BEGUN = (CommandNotFound, CommandNotExecutable)
"""The command that was to be run beside what was joined could not be run: there is nothing to tell."""
_NAMES_NOTHING = frozenset({"ENAMETOOLONG", "EFAULT", "EBADF"})
"""The kernel itself could not make anything of the path: nothing is missing."""


class Recorded(NamedTuple):
    """What a run came to. ``error`` is what kept the recording from being whole, if anything."""

    path: str
    outcome: CaptureOutcome
    error: WriteauditError | None = None
    events: Sequence[FsEvent] | None = None
    """What the recording holds, where it was few enough to be kept."""
    written: Digests | None = None
    """What was written into the recording: `Recording` compares."""


class _Batch(NamedTuple):
    """What a batch of records comes to: new events, and what it says of those before."""

    events: Sequence[FsEvent]
    totals: Sequence[tuple[int, int, int]]
    """Bytes, calls and seq of each open file that is gone."""
    doubtful: Sequence[int]
    identified: Sequence[tuple[int, int, int, int]]
    """Seq, device, inode and file type."""
    unidentified: Sequence[int]


class _Recorder:
    """Takes records from capture, resolves them and writes them down, while the command runs."""

    def __init__(
        self,
        writer: RecordingWriter,
        progress: Callable[[int, int], None],
        observer: Observer,
        directories: Sequence[bytes] = (),
    ) -> None:
        """``directories``: where the command is likely to work."""
        self._writer = writer
        self.observer = observer
        self.shared = SharedFiles()
        self.binaries = Binaries()
        self._progress = progress
        self.resolver = Resolver(privileged=client.running_monitor())
        self.resolver.look_at(directories)
        self.processes = ProcessBook()
        self.resolver.frames.lineage = self.processes.list_commands
        self.failure: WriteauditError | None = None
        """What keeps the recording from being whole; what comes then is counted, and no more."""
        self.begun = False
        """Whether the command has: its recording must not be taken away then."""
        self.truncated = 0
        self.kept: list[FsEvent] | None = []
        self._started_ns: int | None = None
        self._writes: dict[int, int] = {}
        self._events = 0
        self._changes = 0
        self._next_commit = 0.0
        self._uncommitted = 0
        self._kept_bytes = 0

    def __call__(self, records: Sequence[Record]) -> None:
        """The sink. Never raises, whatever happens: the command must not suffer from it."""
        self.begun = True
        if self.failure is not None:
            self._events += sum(isinstance(record, RawEvent) for record in records)
            return
        events: list[FsEvent] = []
        totals: list[tuple[int, int, int]] = []
        try:
            self._resolve(records, events, totals)
        except Exception as error:  # noqa: BLE001 - whatever it is, what came before it is kept
            self.failure = broken_off(error)
        resolver = self.resolver
        self._events += len(events)
        batch = _Batch(
            events, totals, resolver.take_doubtful(), resolver.take_identified(), resolver.take_unidentified()
        )
        try:
            self._write(batch)
            self._keep(batch)
            self._progress(self._events, self._changes)
        except Exception as error:  # noqa: BLE001 - as above
            self.failure = self.failure or broken_off(error)

    def _resolve(
        self, records: Sequence[Record], events: list[FsEvent], totals: list[tuple[int, int, int]]
    ) -> None:
        if self._started_ns is None and records:
            # The first record of all is the exec of the command, or what came right before it.
            self._started_ns = min(record.time_ns for record in records if not isinstance(record, WriteTotal))
            self.resolver.set_start(self._started_ns)
        self.resolver.look_ahead([record for record in records if isinstance(record, RawEvent)])
        resolve, fresh = self.resolver.resolve_event, self.processes.fresh
        for record in records:
            if isinstance(record, RawEvent):
                event = resolve(record)
                path, source = record.path, record.source
                # Flags are joined and tested by calls of Python: only where there is a doubt at all.
                if path.doubt is not NO_DOUBT or (source is not None and source.doubt is not NO_DOUBT):
                    self.truncated += _is_unreadable(record)
                if record.file_key is not None:
                    self._writes[record.file_key] = event.seq
                if record.pid in fresh and _acts(record):
                    self.processes.note_act(record.pid)
                longest = max(len(event.path), len(event.source or b""))
                if longest > MOST_PATH or (event.bytes or 0) > MOST:
                    event = self._bounded(event)
                if event.op in _LOOKED_AT or event.result in EXPLAINED:
                    self._look(event, record)
                self._changes += event.op is not Op.OPEN
                events.append(event)
            elif isinstance(record, WriteTotal):
                seq = self._writes.pop(record.file_key, None)
                if seq is not None:
                    # Results that seccomp(2) made up add up to what no file can hold, nor SQLite.
                    totals.append((min(record.bytes, MOST), min(record.calls, MOST), seq))
            else:
                self._note(record)

    def _bounded(self, event: FsEvent) -> FsEvent:
        """Return an event that a recording can hold: results that seccomp(2) made up may be any."""
        if event.bytes is not None and event.bytes > MOST:
            event = event._replace(bytes=MOST)
        if len(event.path) > MOST_PATH or len(event.source or b"") > MOST_PATH:
            self.truncated += 1
            event = _cut(event)
        return event

    def _look(self, event: FsEvent, record: RawEvent) -> None:
        """Look at the disk, where what is there now explains the event or shows whom it concerns."""
        mount = self.resolver.registry.get_recorded(event.mount)
        if event.result == OK:
            if event.op in WATCHED:
                self.binaries.note_event(event)
            if event.op in CHANGES_IN_PLACE:
                self.shared.note_event(event, record.path.nlink, mount)
        else:
            view = None
            if event.result == "EXDEV" and record.source is not None:
                above = self.processes.ancestors_of(record.pid)
                view = view_of(above, record.path, record.source, self.resolver.registry.own_ns)
            self.observer.observe_refusal(event, mount, view)

    def _note(self, record: ProcessStart | ProcessExec | ProcessExit | MountsChanged | MountSeen) -> None:
        match record:
            case ProcessStart():
                self.processes.note_start(self._since(record.time_ns), record.pid, record.ppid)
                self.resolver.frames.note_start(record.pid, record.ppid)
            case ProcessExec():
                self.processes.note_exec(self._since(record.time_ns), record.pid, record.exe, record.argv)
                self.resolver.frames.note_exec(record.time_ns, record.pid)
            case ProcessExit():
                self.processes.note_end(self._since(record.time_ns), record.pid, record.exit_status)
                self.resolver.frames.note_exit(record.pid)
            case MountsChanged():
                self.resolver.mounts_changed(record.time_ns, record.pid)
            case MountSeen():
                self.resolver.mount_seen(record.mount)
            case _:
                assert_never(record)

    def _since(self, time_ns: int) -> int:
        return max(time_ns - (self._started_ns or time_ns), 0)

    def _write(self, batch: _Batch) -> None:
        self._writer.write_events(batch.events)
        self._writer.write_totals(batch.totals)
        self._writer.mark_doubtful(batch.doubtful)
        self._writer.set_identities(batch.identified)
        self._writer.clear_identities(batch.unidentified)
        self._uncommitted += sum(map(len, batch))
        now = time.monotonic()
        if self._uncommitted and now >= self._next_commit:
            self._writer.commit()
            self._next_commit = now + _COMMIT_S
            self._uncommitted = 0

    def _keep(self, batch: _Batch) -> None:
        """Do to the kept events what `_write` does to the recording."""
        kept = self.kept
        if kept is None:
            return
        kept.extend(batch.events)
        self._kept_bytes += sum(len(event.path) + len(event.source or b"") for event in batch.events)
        if self.failure is not None or len(kept) > _KEPT_EVENTS or self._kept_bytes > _KEPT_BYTES:
            self.kept = None
            return
        for size, calls, seq in batch.totals:
            kept[seq - 1] = kept[seq - 1]._replace(bytes=size, calls=calls)
        for seq in batch.doubtful:
            kept[seq - 1] = kept[seq - 1]._replace(certainty=Certainty.LEXICAL)
        for seq, dev, ino, fmt in batch.identified:
            kept[seq - 1] = kept[seq - 1]._replace(dev=dev, ino=ino, source_dev=dev, source_ino=ino, fmt=fmt)
        for seq in batch.unidentified:
            kept[seq - 1] = kept[seq - 1]._replace(ino=None, source_ino=None, source_dev=None, fmt=None)


def _acts(record: RawEvent) -> bool:
    """Whether an event is more than an open for reading."""
    return record.op is not Op.OPEN or record.access is None or record.access.writes


def _is_unreadable(record: RawEvent) -> bool:
    """Whether bytes of a path are missing that would have led somewhere."""
    doubt = record.path.doubt | (NO_DOUBT if record.source is None else record.source.doubt)
    return bool(doubt & Doubt.UNREADABLE) and record.result not in _NAMES_NOTHING


def _cut(event: FsEvent) -> FsEvent:
    """Return an event with its paths as long as a recording can hold them: 16 times what a call can name."""
    source = None if event.source is None else event.source[:MOST_PATH]
    return event._replace(path=event.path[:MOST_PATH], source=source, certainty=Certainty.LEXICAL)


def record(
    target: Target,
    path: str,
    *,
    backend: str,
    policy: Mapping[str, object],
    notes: Sequence[str] = (),
    limits: CaptureLimits | None = None,
    probes: str | None = None,
    directories: Sequence[bytes] = (),
    progress: Callable[[int, int], None] = lambda _events, _changes: None,
) -> Recorded:
    """Run a command under a backend, or join what runs already, and write the recording ``path``.

    ``policy`` is kept in the recording, to be judged by later, as are ``notes`` for its reader.
    ``probes``: a directory whose copy of the BPF sources is run. ``directories``: where the command is
    likely to work. Raises `WriteauditError` as long as the command has not begun; nothing is left behind
    then. Whatever is raised later, the recording stays, and says that it is not finished.
    """
    writer = RecordingWriter(path)
    recorder: _Recorder | None = None
    run = run_info(target, notes)
    buffer = (limits or CaptureLimits()).buffer_bytes
    try:
        writer.write_meta("policy", policy)

        def chosen(info: BackendInfo) -> None:
            nonlocal run
            run = replace(run, backend=info, buffer_bytes=buffer if info.name != "strace" else 0)
            if info.name == "strace" and not info.preferred and client.would_help():
                run = replace(run, notes=(*run.notes, _SUDO_HELPS))
            writer.write_run(run)
            writer.commit()

        def attempt(candidate: Backend) -> CaptureOutcome:
            nonlocal recorder
            recorder = _Recorder(
                writer,
                progress,
                Observer(os.getuid(), (os.getgid(), *os.getgroups())),
                [os.getcwdb(), *directories],
            )
            return candidate.capture(target, recorder, limits or CaptureLimits())

        captured = capture_with(backend, attempt, chosen, probes)
    except BaseException as error:
        if recorder is None or not recorder.begun or isinstance(error, _NEVER_BEGUN):
            writer.remove_recording()
            raise
        failure = recorder.failure or broken_off(error)
        _finish(writer, run, Completeness(finished=False), recorder, policy)
        if error is failure or not isinstance(error, Exception):
            raise
        raise failure from error
    assert recorder is not None
    outcome = captured.outcome
    run = replace(
        run,
        backend=captured.backend,
        started=_started(run, outcome) if run.joined else run.started,
        duration_s=(outcome.ended_ns - outcome.started_ns) / 1e9,
        exit_status=outcome.exit_status,
        signal=outcome.signal,
    )
    if outcome.failure is not None and recorder.failure is None:
        recorder.failure = broken_off(outcome.failure)
    unwritten = _finish(writer, run, _completeness(outcome, recorder), recorder, policy)
    broken, kept, recorder = recorder.failure or unwritten, recorder.kept, None
    if kept is None:
        _let_go()
    return Recorded(path, outcome, broken, kept, writer.digests)


def _started(run: RunInfo, outcome: CaptureOutcome) -> float:
    """Return when all were joined, in seconds since the epoch."""
    return max(run.started, time.time() - (time.monotonic_ns() - outcome.started_ns) / 1e9)


def _finish(
    writer: RecordingWriter,
    run: RunInfo,
    completeness: Completeness,
    recorder: _Recorder,
    policy: Mapping[str, object],
) -> WriteauditError | None:
    """Write the rest of a recording; returns what kept it from being written."""
    try:
        mounts = recorder.resolver.registry.all_mounts()
        zones = _zones(policy)
        shared = recorder.shared.search_names(_search_order(zones), mounts)
        protected = any(zone.access is not ZoneAccess.READ_WRITE for zone in zones)
        hidden = sum(not file.searched and len(file.names) < file.nlink for file in shared)
        if hidden and protected:
            spot = BlindSpot(
                "other_names",
                "files that have other names were opened for writing, and the search for these names in the "
                "zones of the policy was cut short: one may lie in a protected zone",
                hidden,
            )
            completeness = replace(completeness, blind_spots=(*completeness.blind_spots, spot))
        writer.finish_recording(
            run,
            completeness,
            mounts,
            recorder.processes.list_processes(),
            recorder.observer.all,
            shared,
            recorder.binaries.inspect_files(),
            recorder.observer.list_states(_search_order(zone for zone in zones if zone.name == "cache")),
            recorder.resolver.frames.list_frames(),
        )
    except WriteauditError as error:
        return error
    finally:
        recorder.resolver.close()
    return None


def _zones(policy: Mapping[str, object]) -> tuple[Zone, ...]:
    try:
        return from_json(policy).zones
    except (AttributeError, KeyError, TypeError, ValueError, PolicyError):
        return ()


def _search_order(zones: Iterable[Zone]) -> list[bytes]:
    """Return where to look for other names of files: in protected zones first, then in caches."""
    ordered = sorted(zones, key=lambda zone: (zone.access is ZoneAccess.READ_WRITE, zone.name != "cache"))
    return [place for zone in ordered for pattern in zone.patterns if (place := literal_directory(pattern))]


def broken_off(error: BaseException) -> WriteauditError:
    """Return what to say of an error that came while the command ran, whatever it was."""
    if isinstance(error, WriteauditError):
        return error
    where = traceback.extract_tb(error.__traceback__)[-1:]
    place = "".join(f" ({os.path.basename(frame.filename)}:{frame.lineno})" for frame in where)
    return CaptureError(
        f"internal error: {type(error).__name__}: {error}{place}; the recording breaks off there, and "
        "what the command did after that was not recorded",
        hint="please report it; `writeaudit report` shows what was recorded until then",
    )


def _let_go() -> None:
    """Give back the memory that recording took, before judging takes its own: a long run has much of it."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # of glibc alone
        ctypes.CDLL(None).malloc_trim(0)


def _completeness(outcome: CaptureOutcome, recorder: _Recorder) -> Completeness:
    return Completeness(
        lost_events=outcome.lost_events,
        truncated=recorder.truncated,
        unresolved=recorder.resolver.unresolved,
        doubts={
            doubt.name.lower(): recorder.resolver.doubts[doubt]
            for doubt in Doubt
            if doubt.name is not None and recorder.resolver.doubts[doubt]
        },
        blind_spots=(*outcome.blind_spots, *recorder.resolver.blind_spots()),
        survivors=outcome.survivors,
        emitted=outcome.emitted,
        received=outcome.received,
        lost=outcome.lost,
        finished=recorder.failure is None,
    )


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


class ExaminedImage(NamedTuple):
    """A container image, judged."""

    report: ImageReport

    @property
    def failing(self) -> Sequence[Finding]:
        """The findings that make the exit status 100."""
        return self.report.failing

    @property
    def complete(self) -> bool:
        """Whether all of it was looked at."""
        return self.report.completeness.complete


def examine_image(
    source: str,
    *,
    platform: str | None = None,
    fail_on: FailOn,
    fail_on_words: Sequence[str] = ("error",),
) -> ExaminedImage:
    """Read a container image and judge it; nothing of it is run or unpacked. Raises `ImageError`."""
    # Imported here: an audit of a command need not wait for it.
    from writeaudit.image.documents import parse_platform  # noqa: PLC0415
    from writeaudit.image.findings import judge_completeness, list_findings  # noqa: PLC0415
    from writeaudit.image.reading import read_image  # noqa: PLC0415

    read = read_image(source, None if platform is None else parse_platform(platform))
    findings = sorted(list_findings(read), key=by_gravity)
    return ExaminedImage(
        ImageReport(
            read.image,
            findings,
            judge_completeness(read.problems),
            read.remarks,
            tuple(fail_on_words),
            select_failing(findings, fail_on),
        )
    )


def choose_policy(
    command: Sequence[bytes],
    cwd: bytes,
    env: Mapping[str, str],
    *,
    policy_file: str | None,
    profile: str | None,
    zones: Sequence[str],
    named: set[str] | None = None,
    enforced: bool = False,
) -> Policy:
    """Return the policy that the options ask for. Raises `PolicyError` or `UsageError`.

    ``named`` takes the names of the variables that the policy file and ``zones`` ask for. ``enforced``:
    whether the command is to be held to it; then its user, not the project, must say what may be written.
    """
    home = env.get("HOME", "/")
    if policy_file is not None:
        chosen = load_policy(policy_file, env, cwd, home, command=command, profile=profile, named=named)
    else:
        found = survey_command(command, cwd, env, profile=profile)
        chosen = found.policy
        if named is not None:
            named.update(found.variables)
    if enforced and chosen.is_open:
        if not zones:
            raise UsageError(
                "no profile knows this command, so nobody has said where it may write",
                hint="say it: --zone out=DIR:rw, --policy FILE, --from RECORDING, or --profile install for "
                "temporary files only",
            )
        chosen = chosen._replace(is_open=False)
    chosen = with_project(chosen, env, cwd, home, named=named)
    return overlay_zones(chosen, zones, env, cwd, home, named=named)


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
    audit = recording.read_audit(events)
    kept = recording.read_meta("policy")
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
        policy = overlay_zones(policy, zones, audit.run.env, audit.run.cwd, audit.run.env.get("HOME", "/"))
    policy = with_inherited(policy, audit.run.inherited)
    classifier = classifier_for(policy, audit.processes, Places(audit.frames, audit.mounts))
    classifier.look_ahead(of_ops(audit.events, MOVES), lambda: audit.events)
    files, tally = FileCollector(classifier), Tally()
    setup = SetUp(audit.frames, audit.processes)
    counter = FrameCounter(setup) if audit.frames else None
    analysis = analyze_audit(
        audit,
        policy,
        classifier.judge,
        (files, tally) if counter is None else (files, tally, counter),
        PolicyTrial(audit.run, policy, audit.processes, recording.path),
    )
    findings = adjust_findings(analysis.findings, policy, covers_path)
    return Examined(
        build(
            audit,
            policy,
            findings,
            files.list_summaries(),
            tally,
            outcome=analysis.outcome,
            copied=analysis.copied,
            fail_on=fail_on_words,
            failing=select_failing(findings, fail_on),
            frames={} if counter is None else counter.totals,
        )
    )


def kept_policy(policy: Policy) -> dict[str, object]:
    """Return a policy as a recording keeps it."""
    return to_json(policy)
