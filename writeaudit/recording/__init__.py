"""The recording: the one file that outlives a run. SQLite, described in docs/recording.md.

It is written while the command runs, so that whatever happens to writeaudit, the events up
to then can be read. Everything after it (policy, analysis, reports) works from it alone.
"""

from writeaudit.recording.place import find_last, make_runs_directory, runs_directories, runs_directory
from writeaudit.recording.reader import Recording
from writeaudit.recording.schema import APPLICATION_ID, MOST, MOST_PATH, SCHEMA_VERSION
from writeaudit.recording.writer import RecordingWriter

__all__ = [
    "APPLICATION_ID",
    "MOST",
    "MOST_PATH",
    "SCHEMA_VERSION",
    "Recording",
    "RecordingWriter",
    "find_last",
    "make_runs_directory",
    "runs_directories",
    "runs_directory",
]
