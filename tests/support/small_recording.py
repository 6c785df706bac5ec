"""A recording of a run that made one file."""

from __future__ import annotations

from pathlib import Path

from writeaudit import pipeline
from writeaudit.audit import BackendInfo, Completeness, Mount, Process, RunInfo
from writeaudit.events import Access, FsEvent, Op
from writeaudit.judgement import Policy, Zone, ZoneAccess
from writeaudit.recording import RecordingWriter


def write_recording(path: Path) -> Path:
    """Write the recording, and return its path."""
    backend = BackendInfo("ebpf", "base", "asked for with --backend")
    run = RunInfo((b"touch", b"new"), b"/w", "root", 0, 1.7e9, 0.1, 0, None, backend, "6.1", "x86_64")
    mount = Mount(20, 4026531841, 65024, "ext4", b"/dev/vda", b"/", b"/", ("rw",))
    writer = RecordingWriter(str(path))
    writer.write_meta(
        "policy", pipeline.kept_policy(Policy("p", "a test", (Zone("w", ZoneAccess.READ_WRITE, (b"/w",)),)))
    )
    writer.write_events(
        [FsEvent(1, 5, 77, 77, Op.OPEN, b"/w/new", access=Access.WRITE, created=True, mount=20)]
    )
    writer.finish_recording(
        run, Completeness(), [mount], [Process(77, 1, b"/bin/touch", (b"touch",), 0, 9, 0)]
    )
    return path
