"""The terminal stays the command's: job control, Ctrl-C, window sizes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.scenarios.terminal import Terminal
from writeaudit.capture.interface import Backend

_TALK = """
import os, signal, sys, threading, time
counts = {}
def caught(number, _frame):
    name = signal.Signals(number).name
    counts[name] = counts.get(name, 0) + 1
    # No print: it is not reentrant, and the program may be in one.
    os.write(1, " ".join(map(str, ("caught", name, counts[name], *os.get_terminal_size(), "\\n"))).encode())
for name in sys.argv[1:]:
    signal.signal(getattr(signal, name), caught)
print("ready", [os.isatty(n) for n in range(3)], os.tcgetpgrp(0) == os.getpgrp(), flush=True)
def listen():
    for line in sys.stdin:
        os.write(1, b"heard " + line.encode())
        if line.strip() == "end":
            break
listener = threading.Thread(target=listen)
listener.start()
while listener.is_alive():  # a signal just before a read that blocks would wait with it
    time.sleep(0.02)
time.sleep(0.2)
sys.exit(9)
"""


def _words(backend: str, tmp_path: Path, *options: str) -> list[str]:
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from writeaudit.cli import main; main()"
    outputs = ("-o", str(tmp_path / "r.wa"), "--json", str(tmp_path / "r.json"))
    return [sys.executable, "-c", start, "run", "--backend", backend, *outputs, *options, "--"]


def _talk(*signals: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", _TALK, *signals]


def test_command_has_the_terminal(backend: Backend, tmp_path: Path) -> None:
    with Terminal([*_words(backend.name, tmp_path), *_talk()], tmp_path) as terminal:
        terminal.wait_for(r"ready \[True, True, True\] True")
        terminal.type("hello\n")
        terminal.wait_for("heard hello")
        terminal.type("end\n")
        assert terminal.finish() == 9
    assert json.loads((tmp_path / "r.json").read_text())["run"]["exit_status"] == 9


def test_ctrl_c_reaches_the_command_once(backend: Backend, tmp_path: Path) -> None:
    with Terminal([*_words(backend.name, tmp_path), *_talk("SIGINT")], tmp_path) as terminal:
        terminal.wait_for("ready")
        for number in (1, 2, 3):
            terminal.type("\x03")
            terminal.wait_for(f"caught SIGINT {number} ")
        terminal.type("end\n")
        assert terminal.finish() == 9
        assert "SIGINT 4" not in terminal.output


def test_ctrl_c_that_ends_the_command_leaves_a_whole_recording(backend: Backend, tmp_path: Path) -> None:
    with Terminal(
        [*_words(backend.name, tmp_path), "sh", "-c", "echo ready; exec sleep 30"], tmp_path
    ) as terminal:
        terminal.wait_for("ready")
        terminal.type("\x03")
        assert terminal.finish() == 130
        assert "Traceback" not in terminal.output
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["run"]["signal"] == 2
    assert report["completeness"]["complete"]


def test_window_size_reaches_the_command_once(backend: Backend, tmp_path: Path) -> None:
    with Terminal([*_words(backend.name, tmp_path, "-q"), *_talk("SIGWINCH")], tmp_path) as terminal:
        terminal.wait_for("ready")
        terminal.resize(33, 111)
        terminal.wait_for("caught SIGWINCH 1 111 33")
        terminal.resize(44, 122)
        terminal.wait_for("caught SIGWINCH 2 122 44")
        terminal.type("end\n")
        assert terminal.finish() == 9


def test_ctrl_z_and_fg(backend: Backend, tmp_path: Path) -> None:
    env = {**os.environ, "PS1": "$ ", "HISTFILE": "", "TERM": "dumb"}
    words = " ".join(
        "'" + word.replace("'", "'\\''") + "'" for word in [*_words(backend.name, tmp_path, "-q"), *_talk()]
    )
    (tmp_path / "go").write_text(words)
    with Terminal(["bash", "--norc", "--noprofile", "-i"], tmp_path, env) as terminal:
        terminal.wait_for(r"\$ ")
        terminal.type(". ./go\n")
        terminal.wait_for("ready .* True")
        for _ in range(2):
            terminal.type("\x1a")
            terminal.wait_for("Stopped")
            terminal.wait_for(r"\$ ")
            terminal.type("echo shell is back\n")
            terminal.wait_for(r"\nshell is back")
            terminal.type("fg\n")
            terminal.wait_for("go|python")
            terminal.type("again\n")
            terminal.wait_for("heard again")
        terminal.type("end\n")
        terminal.wait_for(r"\$ ")
        terminal.type("echo status=$?; exit\n")
        terminal.wait_for("status=9")
        terminal.finish()
    assert json.loads((tmp_path / "r.json").read_text())["run"]["exit_status"] == 9


def test_progress_stays_out_of_the_way(backend: Backend, tmp_path: Path) -> None:
    script = "for i in 1 2 3 4 5 6; do echo line $i; : > f$i; sleep 0.1; done"
    with Terminal([*_words(backend.name, tmp_path), "sh", "-c", script], tmp_path) as terminal:
        assert terminal.finish() in {0, 100}
    for number in range(1, 7):
        assert f"line {number}\r\n" in terminal.output


@pytest.mark.parametrize("mode", ["-echo", "raw"])
def test_terminal_modes_that_the_command_leaves_stay(backend: Backend, tmp_path: Path, mode: str) -> None:
    script = f"stty {mode}; exec true"
    after = "'stty -a'"
    words = " ".join("'" + word.replace("'", "'\\''") + "'" for word in _words(backend.name, tmp_path, "-q"))
    with Terminal(["sh", "-c", f"{words} sh -c '{script}'; sh -c {after}"], tmp_path) as terminal:
        terminal.finish()
    wanted = "-echo" if mode == "-echo" else "-icanon"
    assert wanted in terminal.output
