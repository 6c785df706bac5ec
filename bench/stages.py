"""Judges a recording and renders one report, timed: ``python -m bench.stages RECORDING html|json OUTPUT``.

A process of its own each time, so that its peak of memory is that of the work.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time

from writeaudit import pipeline
from writeaudit.analysis.fail_on import parse_fail_on
from writeaudit.commands.options import Outputs, write_reports
from writeaudit.recording import Recording


def main() -> None:
    """Print the seconds of both stages and the peak of memory as JSON."""
    path, kind, output = sys.argv[1:]
    gc.disable()  # as the commands do
    started = time.perf_counter()
    with Recording(path) as opened:
        examined = pipeline.examine(opened, fail_on=parse_fail_on(()))
        judged = time.perf_counter()
        write_reports(examined, Outputs({kind: output}))
    ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"examine_s": judged - started, "write_s": ended - judged, "peak_mb": peak}))


if __name__ == "__main__":
    main()
