"""What a CI service is told beside the reports: annotations, and the summary of the step."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from writeaudit.report.image.view import ImageReport
    from writeaudit.report.view import Report

_STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


def announce_to_github(report: Report | ImageReport, env: Mapping[str, str]) -> None:
    """In a job of GitHub Actions write annotations to standard error, and the step's summary.

    That a summary cannot be written changes no exit status: it is said.
    """
    if env.get("GITHUB_ACTIONS") != "true":
        return
    from writeaudit.report.forms import render_form

    sys.stderr.writelines(map(str, render_form("github", report, "-")))
    target = env.get(_STEP_SUMMARY)
    if not target:
        return
    try:
        # The runner made the file; several steps append to it.
        descriptor = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(map(str, render_form("markdown", report, "-")))
    except OSError as error:
        sys.stderr.write(f"writeaudit: cannot write the step's summary: {os.strerror(error.errno or 0)}\n")
