"""What a rerun refuses before anything runs."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from tests.support.analysis_streams import run_info
from writeaudit.commands.rerun import rerun_command
from writeaudit.confine.sandbox import SandboxUnavailable


@pytest.mark.parametrize("number", [-1, 0, 65, 99999])
def test_a_made_up_recording_names_no_signal(number: int) -> None:
    run = replace(run_info(b"true", uid=os.geteuid()), signal=number)
    with pytest.raises(SandboxUnavailable, match="there is none"):
        rerun_command(run, (), {})
