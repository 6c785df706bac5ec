"""The strace backend with the strace of this machine: what is recorded, and what the command notices."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.doubts import unreadable
from tests.support.strace_runs import changes, python, run
from writeaudit.capture.interface import ProcessExec, ProcessExit
from writeaudit.events import Op, RawEvent


@pytest.mark.requires_strace
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


@pytest.mark.requires_strace
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


@pytest.mark.requires_strace
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


@pytest.mark.requires_strace
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


@pytest.mark.requires_strace
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


@pytest.mark.requires_strace
def test_deaths_by_signal_are_seen(place: Path) -> None:
    _outcome, records = run("sh", "-c", "sleep 30 & sleep 0.1; kill -9 $!; wait $!; true")
    statuses = sorted(record.exit_status or 0 for record in records if isinstance(record, ProcessExit))
    assert statuses == [0, 0, 137]


@pytest.mark.requires_strace
def test_strace_own_command_is_none_of_ours(place: Path) -> None:
    outcome, records = run("true")
    started = [record for record in records if isinstance(record, ProcessExec)]
    assert [exec_.argv for exec_ in started] == [(b"true",)]
    assert outcome.blind_spots == ()


@pytest.mark.requires_strace
@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs a filter without it")
def test_root_does_without_no_new_privs(place: Path) -> None:
    run("sh", "-c", "grep NoNewPrivs /proc/self/status > status")
    assert (place / "status").read_text().split() == ["NoNewPrivs:", "0"]


@pytest.mark.requires_strace
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
    assert spots == ({"unknown_calls": True} if unreadable(event.path) else {})


@pytest.mark.requires_strace
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


@pytest.mark.requires_strace
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
