"""Runs that were never made, for the writable set: events, and a disk that answers."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping

from tests.support.analysis_streams import run_info
from writeaudit.audit import Audit, Completeness, Mount, Process, RunInfo
from writeaudit.confine.writable import DiskFacts, PlaceState
from writeaudit.events import Access, FsEvent, Op

MOUNT = Mount(1, 7, 65024, "ext4", b"/dev/vda", b"/", b"/", ("rw",))


class Story:
    """Collects the events of a run."""

    def __init__(self) -> None:
        self.events: list[FsEvent] = []

    def add(self, op: Op, path: bytes, **more: object) -> None:
        seq = len(self.events) + 1
        event = FsEvent(seq, seq, 5, 5, op, path, mount=1)
        self.events.append(event._replace(**more))  # type: ignore[arg-type]

    def write(self, path: bytes, size: int = 10, *, created: bool = True, result: str = "ok") -> None:
        flags = ("creat",) if created else ()
        made = created and result == "ok"
        self.add(Op.OPEN, path, access=Access.WRITE, flags=flags, created=made, result=result)
        if result == "ok":
            self.add(Op.WRITE, path, bytes=size, calls=1)

    def read(self, path: bytes, result: str = "ok") -> None:
        self.add(Op.OPEN, path, access=Access.READ, result=result)

    def audit(
        self,
        run: RunInfo | None = None,
        processes: Iterable[Process] = (),
        mounts: Iterable[Mount] = (MOUNT,),
    ) -> Audit:
        run = run or run_info(b"prog", uid=0)
        events = tuple(self.events)
        return Audit(run, Completeness(), tuple(mounts), tuple(processes), events, len(events))


def disk(places: Mapping[bytes, PlaceState]) -> DiskFacts:
    """Answer from a table; of any other path, nothing is known."""

    def ask(path: bytes, _made: Iterable[bytes] | None) -> PlaceState | None:
        return places.get(path)

    return ask


def directory(mode: int = 0o755, uid: int = 0, gid: int = 0, entries: int = 0, size: int = 0) -> PlaceState:
    return PlaceState(stat.S_IFDIR, mode, uid, gid, entries, size)
