"""Makes one recording, in a process of its own: ``recorder.py BACKEND RECORDING BUFFER LINGER ARG...``.

Not in the test's process: the command gets its working directory, its signals and its open files
from there, and the test runner's are none of its business. Leaves the program's status as its own
exit status (128 + N for signal N), 125 if there is no recording.
"""

from __future__ import annotations

import os
import sys

from writeaudit import pipeline
from writeaudit.capture.interface import CaptureLimits, Command
from writeaudit.errors import WriteauditError
from writeaudit.recording import Recording


def main() -> int:
    backend, recording, buffer_bytes, linger, *argv = sys.argv[1:]
    command = Command(tuple(os.fsencode(word) for word in argv), dict(os.environb))
    limits = CaptureLimits(buffer_bytes=int(buffer_bytes), linger_s=float(linger))
    try:
        done = pipeline.record(command, recording, backend=backend, policy={}, limits=limits)
    except WriteauditError as error:
        sys.stderr.write(f"recorder: {error}\n")
        return 125
    if done.error is not None:
        sys.stderr.write(f"recorder: {done.error}\n")
        return 125
    with Recording(recording) as opened:
        if done.events is not None and done.events != list(opened.read_audit().events):
            sys.stderr.write("recorder: a run is judged by other events than its recording holds\n")
            return 125
    outcome = done.outcome
    return 128 + outcome.signal if outcome.signal is not None else outcome.exit_status or 0


if __name__ == "__main__":
    sys.exit(main())
