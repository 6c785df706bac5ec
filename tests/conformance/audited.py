"""Runs a workload under a backend, through the whole pipeline, with the disk read before and after."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conformance import oracle
from tests.conformance.disk import FileTree, read_tree
from tests.conformance.story import StoryStep, parse_story
from writeaudit.audit import Audit, Completeness, Mount, Process
from writeaudit.capture.interface import CaptureLimits
from writeaudit.events import FsEvent
from writeaudit.recording import Recording

ROOT = Path(__file__).resolve().parent.parent.parent
WORKLOADS = ROOT / "tests" / "workloads"
_PATIENCE = float(os.environ.get("WRITEAUDIT_PATIENCE", "1"))
"""How many times slower than usual the machine is: one that is emulated, say."""


@dataclass(frozen=True, slots=True)
class Audited:
    """A workload that ran, what it says it did, what was recorded, and the disk around it."""

    ground: bytes
    """The directory that it ran in; events elsewhere (of the interpreter, say) are left out."""
    status: int
    story: tuple[StoryStep, ...]
    events: tuple[FsEvent, ...]
    everywhere: tuple[FsEvent, ...]
    """All events, those outside the ground included."""
    before: FileTree
    after: FileTree
    completeness: Completeness
    mounts: Mapping[int, Mount]
    processes: tuple[Process, ...]

    def disk_complaints(self, *, created_known: bool = True) -> list[str]:
        """Return every way in which the recording and the disk disagree (see `oracle.check`)."""
        foreign = {mount.id for mount in self.mounts.values() if not mount.own}
        return oracle.check(self.before, self.everywhere, self.after, foreign, created_known=created_known)


def run(
    argv: Sequence[str | Path],
    ground: Path,
    backend: str,
    recording: Path,
    *,
    prepare: Callable[[], None] = lambda: None,
    limits: CaptureLimits | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
    may_fail: bool = False,
    user: int | None = None,
) -> Audited:
    """Run a command with ``ground`` as its working directory.

    ``prepare`` runs before the tree is read for the first time. The workload tells its story on
    the descriptor WA_STORY_FD. Fails (AssertionError) if no recording came of it, or if the
    workload failed (a call of it went another way than it says) unless it ``may_fail``. ``user``:
    the number of the user, and of the group, as whom writeaudit and the workload run.
    """
    limits = limits or CaptureLimits()
    prepare()
    root = os.path.realpath(os.fsencode(ground))
    before = read_tree(root)
    # A file in memory: nothing of it is on a disk, and it holds any amount.
    story = os.memfd_create("story")
    # Lines of processes that write at the same time go one after the other.
    fcntl.fcntl(story, fcntl.F_SETFL, os.O_APPEND)
    try:
        done = subprocess.run(
            [
                *_as(user), sys.executable, "-m", "tests.conformance.recorder", backend, recording,
                str(limits.buffer_bytes), str(limits.linger_s), *map(str, argv),
            ],
            cwd=ground,
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "LANG": "C.UTF-8",
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",
                "WA_STORY_FD": str(story),
                **(env or {}),
            },
            pass_fds=(story,),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=timeout * _PATIENCE,
        )  # fmt: skip
        text = os.pread(story, os.fstat(story).st_size, 0)
    finally:
        os.close(story)
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert done.returncode != 125, said
    assert os.path.exists(recording), said
    after = read_tree(root)
    with Recording(os.fspath(recording)) as opened:
        audit: Audit = opened.read_audit()
        everywhere = tuple(audit.events)
        completeness, mounts, processes = audit.completeness, audit.mounts, audit.processes
    assert done.returncode == 0 or may_fail, said
    return Audited(
        root,
        done.returncode,
        parse_story(text),
        tuple(event for event in everywhere if _concerns(event, root)),
        everywhere,
        before,
        after,
        completeness,
        {mount.id: mount for mount in mounts},
        processes,
    )


def _as(user: int | None) -> tuple[str, ...]:
    """Return what makes a command that of another user, who may read whatever root's Python needs."""
    if user is None:
        return ()
    ids = (f"--reuid={user}", f"--regid={user}", "--clear-groups")
    return ("setpriv", *ids, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")


def _concerns(event: FsEvent, root: bytes) -> bool:
    """Whether an event is about the tree, by one of its paths."""
    return any(
        path is not None and (path == root or path.startswith(root + b"/"))
        for path in (event.path, event.source)
    )
