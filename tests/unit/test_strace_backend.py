"""The strace backend with the strace of this machine; skipped where it cannot trace."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from writeaudit.capture.interface import Command, Limits, Outcome, ProcessExec, ProcessExit, Record
from writeaudit.capture.strace import StraceBackend
from writeaudit.capture.strace_drain import stand_by
from writeaudit.errors import BackendUnavailable, CommandNotExecutable, CommandNotFound
from writeaudit.events import Op, RawEvent


def _unavailable() -> str | None:
    try:
        StraceBackend().check()
    except BackendUnavailable as error:
        return error.message
    return None


_REASON = _unavailable()
needs_strace = pytest.mark.skipif(_REASON is not None, reason=f"strace backend: {_REASON}")


def command(*argv: str, **env: str) -> Command:
    """Return a command in this process's environment."""
    return Command(
        tuple(os.fsencode(arg) for arg in argv),
        {**os.environb, **{os.fsencode(k): os.fsencode(v) for k, v in env.items()}},
    )


def run(*argv: str, linger_s: float = 5.0) -> tuple[Outcome, list[Record]]:
    """Capture a command; nothing may be lost."""
    records: list[Record] = []
    outcome = StraceBackend().capture(command(*argv), records.extend, Limits(linger_s=linger_s))
    assert not outcome.lost, outcome
    return outcome, records


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a fresh directory, without symlinks in its name."""
    real = tmp_path.resolve()
    monkeypatch.chdir(real)
    return real


def python(code: str) -> tuple[str, ...]:
    """Return a command that runs Python code."""
    return (sys.executable, "-IS", "-c", textwrap.dedent(code))


def changes(records: list[Record], place: Path) -> list[tuple[Op, bytes, str]]:
    """Return what happened below a directory, but for mere reads."""
    out = []
    for record in records:
        if isinstance(record, RawEvent) and not (record.op is Op.OPEN and not record.access.writes):  # type: ignore[union-attr]
            base, name = record.path.base or b"", record.path.name
            path = base if name is None else os.path.normpath(os.path.join(base, name))
            if path.startswith(os.fsencode(place)):
                out.append((record.op, path[len(os.fsencode(place)) + 1 :], record.result))
    return out


@needs_strace
def test_names_of_every_kind(place: Path) -> None:
    names = [b"a\nb", b'q"', b"g>t", b"l<t", b"c, d", b"\xff\xfe", b"x (deleted)", b") = 3", b"\\t\t", b"#1"]
    _outcome, records = run(
        *python(
            f"""
            import os
            for name in {names!r}:
                fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
                os.write(fd, b') = 7')
                os.close(fd)
                os.rename(name, name + b"2")
            """
        )
    )
    expected: list[tuple[Op, bytes, str]] = []
    for name in names:
        expected += [(Op.OPEN, name, "ok"), (Op.WRITE, name, "ok"), (Op.RENAME, name + b"2", "ok")]
    assert changes(records, place) == expected


@needs_strace
def test_threads_and_children(place: Path) -> None:
    outcome, records = run(
        *python(
            """
            import os, threading
            made = [threading.Thread(target=os.mkdir, args=(f"t{n}",)) for n in range(20)]
            [t.start() for t in made]
            [t.join() for t in made]
            for n in range(5):
                if os.fork() == 0:
                    os.chdir(f"t{n}")
                    os.mkdir("inner")
                    os._exit(n)
            while True:
                try:
                    os.wait()
                except ChildProcessError:
                    break
            """
        )
    )
    seen = {path for op, path, result in changes(records, place) if op is Op.MKDIR and result == "ok"}
    assert seen == {b"t%d" % n for n in range(20)} | {b"t%d/inner" % n for n in range(5)}
    statuses = sorted(r.exit_status or 0 for r in records if isinstance(r, ProcessExit))
    assert statuses == [0, 0, 1, 2, 3, 4]
    assert outcome.exit_status == 0


@needs_strace
def test_the_command_ends_as_it_ends_unobserved(place: Path) -> None:
    outcome, records = run("sh", "-c", "mkdir d; exit 7")
    assert (outcome.exit_status, outcome.signal, outcome.survivors) == (7, None, ())
    assert outcome.started_ns < outcome.ended_ns <= time.monotonic_ns()
    (first, *_) = [r for r in records if isinstance(r, ProcessExec)]
    assert first.argv == (b"sh", b"-c", b"mkdir d; exit 7")
    assert all(outcome.started_ns <= r.time_ns for r in records if isinstance(r, RawEvent))
    outcome, _records = run("sh", "-c", "kill -TERM $$")
    assert (outcome.exit_status, outcome.signal) == (None, signal.SIGTERM)
    assert (place / "d").is_dir()


@needs_strace
def test_the_command_inherits_nothing_of_ours(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
        import os, sys
        numbers = sorted(os.listdir("/proc/self/fd"), key=int)
        links = []
        for number in numbers:
            try:
                links.append(number + " " + os.readlink("/proc/self/fd/" + number))
            except FileNotFoundError:
                pass  # the one with which the directory was read
        place = [str(os.getpgrp()), str(os.getsid(0)), os.getcwd(), str(os.getppid())]
        open(os.environ["OUT"], "w").write("\\n".join(links + place))
    """
    monkeypatch.setenv("OUT", str(place / "alone"))
    subprocess.run(python(code), check=True, close_fds=False)
    monkeypatch.setenv("OUT", str(place / "watched"))
    run(*python(code))
    alone, watched = ((place / name).read_text() for name in ("alone", "watched"))
    assert watched == alone


@needs_strace
@pytest.mark.parametrize("zone", [None, "", "Asia/Tokyo"])
def test_the_command_has_its_own_environment(
    place: Path, monkeypatch: pytest.MonkeyPatch, zone: str | None
) -> None:
    if zone is None:
        monkeypatch.delenv("TZ", raising=False)
    else:
        monkeypatch.setenv("TZ", zone)
    expected = subprocess.run(["env", "-0"], check=True, capture_output=True, env=dict(os.environb)).stdout
    run("sh", "-c", "exec env -0 > env")
    seen = (place / "env").read_bytes()

    def entries(raw: bytes) -> list[bytes]:
        own = (b"_=", b"PWD=", b"OLDPWD=", b"SHLVL=")  # the shell's
        return sorted(entry for entry in raw.split(b"\0") if not entry.startswith(own))

    assert entries(seen) == entries(expected)
    assert (b"TZ=%s" % os.fsencode(zone) in seen.split(b"\0")) if zone is not None else b"TZ=" not in seen


@needs_strace
def test_a_process_that_outlives_the_audit_is_named_and_not_harmed(place: Path) -> None:
    script = "(sleep 1.5; mkdir late; echo $? > status) >/dev/null 2>&1 & sleep 0.1"
    outcome, _records = run("sh", "-c", script, linger_s=0.3)
    assert outcome.exit_status == 0
    assert outcome.survivors
    deadline = time.monotonic() + 10
    while not (place / "status").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.1)
    assert (place / "status").read_text() == "0\n"


@needs_strace
def test_the_command_goes_on_when_its_auditor_is_killed(place: Path) -> None:
    code = """
        import os
        from writeaudit.capture.interface import Command, Limits
        from writeaudit.capture.strace import StraceBackend
        script = b"echo $$ > started; sleep 1; mkdir after; echo $? > status"
        StraceBackend().capture(
            Command((b"sh", b"-c", script), os.environb.copy()), lambda records: None, Limits()
        )
    """
    root = Path(__file__).resolve().parents[2]
    auditor = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], env={**os.environ, "PYTHONPATH": str(root)}
    )
    deadline = time.monotonic() + 10
    while not (place / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    auditor.kill()
    auditor.wait()
    while not (place / "status").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.1)
    assert (place / "status").read_text() == "0\n"


def _program(path: Path, text: str = "#!/bin/sh\n", mode: int = 0o755) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


@needs_strace
def test_programs_are_found_as_execvp_finds_them(place: Path) -> None:
    _program(place / "a" / "tool", mode=0o644)
    _program(place / "b" / "tool", "#!/bin/sh\nexit 5\n")
    (place / "c" / "tool").mkdir(parents=True)

    def status(*argv: str, path: str = "/nowhere") -> int | None:
        found = StraceBackend().capture(command(*argv, PATH=path), lambda _records: None, Limits())
        return found.exit_status

    assert status("tool", path=f"{place}/a:{place}/c:{place}/b") == 5
    assert status("./b/tool") == 5
    with pytest.raises(CommandNotExecutable, match="Permission denied"):
        status("tool", path=f"{place}/a")
    with pytest.raises(CommandNotExecutable, match="Permission denied"):
        status(str(place))
    for missing in ("tool", "./nothing"):
        with pytest.raises(CommandNotFound):
            status(missing)


@needs_strace
def test_a_missing_interpreter_is_no_such_command(place: Path) -> None:
    _program(place / "a" / "script", "#!/no/such -x\n")
    with pytest.raises(CommandNotFound):
        run("./a/script")


@needs_strace
def test_what_is_no_program_is_not_the_commands_failure(place: Path) -> None:
    _program(place / "a" / "data", "no program\n")
    with pytest.raises(CommandNotExecutable, match="Exec format error"):
        run("./a/data")


def test_a_missing_strace_comes_with_a_remedy() -> None:
    with pytest.raises(BackendUnavailable) as caught:
        StraceBackend("/no/such/strace").check()
    assert caught.value.hint is not None
    assert "apt install strace" in caught.value.hint


def test_an_old_strace_is_refused(place: Path) -> None:
    _program(place / "bin" / "strace", "#!/bin/sh\necho 'strace -- version 4.26'\n")
    with pytest.raises(BackendUnavailable, match=r"4\.26 is too old"):
        StraceBackend(str(place / "bin" / "strace")).check()


def test_a_strace_that_cannot_attach_leaves_the_command_undone(place: Path) -> None:
    _program(
        place / "bin" / "strace",
        '#!/bin/sh\n[ "$1" = -V ] && { echo "strace -- version 6.1"; exit; }\n'
        'echo "strace: attach: ptrace(PTRACE_SEIZE, 1): Operation not permitted" >&2\nexit 1\n',
    )
    backend = StraceBackend(str(place / "bin" / "strace"))
    with pytest.raises(BackendUnavailable, match=r"PTRACE_SEIZE.*not permitted"):
        backend.capture(command("mkdir", "made"), lambda _records: None, Limits())
    assert not (place / "made").exists()


@needs_strace
def test_nobody_waits_for_the_tracer_of_a_daemon(place: Path) -> None:
    """Whoever reads the command's standard error to its end waits for the command alone."""
    code = """
        import os
        from writeaudit.capture.interface import Command, Limits
        from writeaudit.capture.strace import StraceBackend
        script = b"(sleep 3) >/dev/null 2>&1 </dev/null &"
        StraceBackend().capture(
            Command((b"sh", b"-c", script), os.environb.copy()), lambda records: None, Limits(linger_s=0.1)
        )
    """
    root = Path(__file__).resolve().parents[2]
    ours, theirs = os.pipe()
    began = time.monotonic()
    auditor = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(root)},
        stderr=theirs,
    )
    os.close(theirs)
    told = b""
    while chunk := os.read(ours, 4096):
        told += chunk
    took = time.monotonic() - began
    os.close(ours)
    assert auditor.wait() == 0, told
    assert told == b""
    assert took < 2.5


@needs_strace
def test_deaths_by_signal_are_seen(place: Path) -> None:
    _outcome, records = run("sh", "-c", "sleep 30 & sleep 0.1; kill -9 $!; wait $!; true")
    statuses = sorted(record.exit_status or 0 for record in records if isinstance(record, ProcessExit))
    assert statuses == [0, 0, 137]


@needs_strace
def test_strace_own_command_is_none_of_ours(place: Path) -> None:
    outcome, records = run("true")
    started = [record for record in records if isinstance(record, ProcessExec)]
    assert [exec_.argv for exec_ in started] == [(b"true",)]
    assert outcome.blind_spots == ()


@needs_strace
@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs a filter without it")
def test_root_does_without_no_new_privs(place: Path) -> None:
    run("sh", "-c", "grep NoNewPrivs /proc/self/status > status")
    assert (place / "status").read_text().split() == ["NoNewPrivs:", "0"]


@needs_strace
def test_calls_that_are_younger_than_strace_are_owned_up_to(place: Path) -> None:
    """fchmodat2(2): recorded by its name, or else a blind spot, with the name as it was found later."""
    outcome, records = run(
        *python(
            """
            import ctypes, os, time
            os.close(os.open("f", os.O_CREAT | os.O_WRONLY))
            syscall = ctypes.CDLL(None).syscall
            name = ctypes.create_string_buffer(b"f")
            assert syscall(452, -100, name, 0o640, 0) in (0, -1)
            time.sleep(0.2)
            """
        )
    )
    if (place / "f").stat().st_mode & 0o777 != 0o640:
        pytest.skip("Linux before 6.6: there is no such call")
    (event,) = (r for r in records if isinstance(r, RawEvent) and r.op is Op.CHMOD)
    assert (event.path.base, event.path.name, event.mode) == (os.fsencode(place), b"f", 0o640)
    spots = {spot.kind: spot.incomplete for spot in outcome.blind_spots}
    assert spots == ({"unknown_calls": True} if event.path.truncated else {})


@needs_strace
@pytest.mark.skipif(os.geteuid() != 0, reason="open_by_handle_at takes CAP_DAC_READ_SEARCH")
def test_files_opened_by_their_handle(place: Path) -> None:
    outcome, records = run(
        *python(
            """
            import ctypes, os, struct
            os.mkdir("d")
            os.close(os.open("d/f", os.O_CREAT | os.O_WRONLY))
            libc = ctypes.CDLL(None, use_errno=True)
            handle = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0) + bytes(128))
            mount = ctypes.c_int()
            assert libc.name_to_handle_at(-100, b"d/f", handle, ctypes.byref(mount), 0) == 0
            where = os.open(".", os.O_RDONLY)
            fd = libc.open_by_handle_at(where, handle, os.O_WRONLY)
            os.write(fd, b"found")
            """
        )
    )
    (opened,) = (r for r in records if isinstance(r, RawEvent) and r.op is Op.OPEN and r.path.base
                 and r.path.base.endswith(b"/d/f") and r.flags == ())  # fmt: skip
    assert (opened.path.base, opened.result) == (os.fsencode(place / "d" / "f"), "ok")
    assert outcome.blind_spots == ()


@needs_strace
def test_a_working_directory_that_is_renamed(place: Path) -> None:
    """mkdir(2) does not say where it begins."""
    _outcome, records = run(
        *python(
            """
            import os
            os.makedirs("a/b")
            os.chdir("a/b")
            os.rename("../../a", "../../c")
            os.mkdir("x")
            """
        )
    )
    assert (Op.MKDIR, b"c/b/x", "ok") in changes(records, place)


def _writable(fd: int) -> bool:
    return bool(select.select([], [fd], [], 0)[1])


def test_the_drain_reads_on_once_it_is_let_go() -> None:
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    drain = stand_by(ours)
    os.set_blocking(theirs, False)
    while _writable(theirs):
        os.write(theirs, bytes(4096))
    os.close(ours)
    time.sleep(0.05)
    assert not _writable(theirs)
    drain.take_over()
    assert select.select([], [theirs], [], 5)[1]
    os.close(theirs)
    _pid, status = os.waitpid(drain.pid, 0)
    assert status == 0


def test_a_drain_that_is_not_needed_ends() -> None:
    ours, theirs = os.pipe()
    drain = stand_by(ours)
    drain.dismiss()
    with pytest.raises(ProcessLookupError):
        os.kill(drain.pid, 0)
    os.close(ours)
    os.close(theirs)
