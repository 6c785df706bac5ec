"""A backend is tried in a child: whatever it does there, the answer comes, and nothing stays."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from writeaudit.capture.interface import CaptureLimits, CaptureOutcome, Command, ProcessExec, Sink
from writeaudit.capture.targets import Target
from writeaudit.capture.trial import try_backend
from writeaudit.errors import BackendUnavailable, CaptureError


class _Fake:
    name = "fake"
    tier = "base"
    engine = "none"

    def __init__(self, act: Callable[[Command, Sink], CaptureOutcome]) -> None:
        self._act = act

    def check(self) -> None:
        pass

    def capture(self, target: Target, sink: Sink, limits: CaptureLimits) -> CaptureOutcome:
        assert isinstance(target, Command)
        return self._act(target, sink)


def _see(_command: Command, sink: Sink) -> CaptureOutcome:
    sink((ProcessExec(1, os.getpid(), b"/bin/true", ()),))
    return CaptureOutcome(0, None, 1, 2)


def _raise(error: Exception) -> Callable[[Command, Sink], CaptureOutcome]:
    def act(_command: Command, _sink: Sink) -> CaptureOutcome:
        raise error

    return act


def _die(_command: Command, _sink: Sink) -> CaptureOutcome:
    os.kill(os.getpid(), signal.SIGSYS)
    raise AssertionError


def _hang(_command: Command, _sink: Sink) -> CaptureOutcome:
    time.sleep(60)
    raise AssertionError


def test_backend_that_sees_the_command_works() -> None:
    try_backend(_Fake(_see))


def test_refusal_comes_back_whole() -> None:
    refusal = BackendUnavailable("no", hint="do", detail="it said", command="do it", missing="strace")
    with pytest.raises(BackendUnavailable) as caught:
        try_backend(_Fake(_raise(refusal)))
    got = caught.value
    fields = (got.reason, got.hint, got.detail, got.command, got.missing)
    assert fields == ("no", "do", "it said", "do it", "strace")


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (_raise(CaptureError("broke off")), "broke off"),
        (_raise(ZeroDivisionError("odd")), "ZeroDivisionError: odd"),
        (lambda _command, _sink: CaptureOutcome(0, None, 1, 2), "did not see the command"),
        (lambda _command, _sink: CaptureOutcome(3, None, 1, 2), "failed under it"),
        (_die, "killed by SIGSYS, as a seccomp filter does"),
    ],
)
def test_whatever_goes_wrong_is_a_reason(act: Callable[[Command, Sink], CaptureOutcome], reason: str) -> None:
    with pytest.raises(BackendUnavailable, match=reason):
        try_backend(_Fake(act))


def test_trial_that_hangs_is_given_up_and_ended() -> None:
    began = time.monotonic()
    with pytest.raises(BackendUnavailable, match="did not end within 1 s"):
        try_backend(_Fake(_hang), patience_s=1.0)
    assert time.monotonic() - began < 30
