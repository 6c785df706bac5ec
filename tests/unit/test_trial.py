"""What a remedy would come to, tried on the policy of a run."""

from __future__ import annotations

import pytest

from tests.support.analysis_streams import run_info
from writeaudit.audit import Process
from writeaudit.judgement import Policy, Zone, ZoneAccess
from writeaudit.trial import PolicyTrial

_POLICY = Policy("p", "test", (Zone("project", ZoneAccess.READ_ONLY, (b"/p",)),), "make")


def _trial(*processes: Process) -> PolicyTrial:
    return PolicyTrial(run_info(), _POLICY, processes, "/x/writeaudit/runs/1.wa")


def test_options_are_applied() -> None:
    trial = _trial()
    paths = [b"/p/a", b"/p/b", b"/q"]
    assert trial.count_allowed(paths) == 0
    assert trial.count_allowed(paths, zones=["NAME=/p/a:rw"]) == 1
    assert trial.count_allowed(paths, zones=["NAME=/p/a:rw", "NAME=/q:rw"]) == 2
    assert trial.count_allowed(paths, zones=["project=/p:rw"]) == 2
    assert trial.count_allowed(paths, zones=["nonsense"]) == 0


def test_profiles_are_tried() -> None:
    trial = _trial()
    home = run_info().env["HOME"]
    cache = f"{home}/.cache/uv/x".encode()
    assert trial.count_allowed([cache, b"/elsewhere"], profile="uv") == 1
    assert trial.count_allowed([b"/elsewhere"], profile="uv") == 0


def test_recording_is_named_so_that_it_is_found() -> None:
    assert _trial().recording == "last"
    assert PolicyTrial(run_info(), _POLICY, (), "/x/own.wa").recording == "/x/own.wa"


@pytest.mark.parametrize(
    ("argv", "tools"),
    [
        ((b"uv", b"sync"), ("uv",)),
        ((b"/usr/bin/python3", b"/usr/bin/pip3", b"install"), ("pip",)),
        ((b"python3", b"-m", b"pip", b"install"), ("pip",)),
        ((b"node", b"/usr/bin/npm", b"ci"), ("npm",)),
        ((b"cp", b"a", b"uv"), ()),
        ((b"make", b"all"), ()),
        ((), ()),
    ],
)
def test_tools_behind_another_command(argv: tuple[bytes, ...], tools: tuple[str, ...]) -> None:
    processes = [
        Process(1, 0, b"/usr/bin/make", (b"make",), 0, 9, 0),
        Process(2, 1, b"/x", argv, 1, 8, 0),
        Process(3, 1, b"/x", argv, 1, 8, 0),
    ]
    assert _trial(*processes).list_tools() == tools
