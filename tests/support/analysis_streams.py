"""Event streams as uv makes them, and the surroundings that analysis wants.

The order of operations, the temporary names and the calls that fail were read off strace logs of
uv 0.5.29, 0.7.14 and 0.13.8.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from writeaudit.analysis import Analyzer
from writeaudit.audit import BackendInfo, Completeness, Mount, RunInfo, SharedFile
from writeaudit.events import OK, Access, FsEvent, Op
from writeaudit.judgement import Finding, Judged, Policy, Reason, Verdict, Zone, ZoneAccess

DISK = os.makedev(254, 0)
SHM = os.makedev(0, 25)


def mount(mount_id: int, dev: int, fstype: str, point: bytes, root: bytes = b"/", own: bool = True) -> Mount:
    return Mount(mount_id, 4026531841, dev, fstype, b"/dev/x", root, point, ("rw",), own=own)


ROOT = mount(1, DISK, "ext4", b"/")
TMPFS = mount(2, SHM, "tmpfs", b"/dev/shm")
BIND = mount(3, DISK, "ext4", b"/mnt/uv", b"/srv/cache/uv")
MOUNTS = (ROOT, TMPFS, BIND)

ALLOWED = Judged("any", Verdict.ALLOWED)


def run_info(
    *command: bytes,
    env: Mapping[str, str] | None = None,
    host: Mapping[str, str] | None = None,
    uid: int = 1000,
    backend: str = "strace",
    buffer_bytes: int = 0,
) -> RunInfo:
    return RunInfo(
        command=command or (b"uv", b"sync"),
        cwd=b"/srv/project",
        user="ann",
        uid=uid,
        started=0.0,
        duration_s=1.0,
        exit_status=0,
        signal=None,
        backend=BackendInfo(backend, "ptrace", ""),
        kernel="6.1",
        arch="x86_64",
        env=env if env is not None else {"HOME": "/home/ann"},
        host=host or {},
        buffer_bytes=buffer_bytes,
    )


def policy(
    tool: str = "uv", cache: ZoneAccess = ZoneAccess.READ_WRITE, cache_path: bytes = b"/dev/shm/uv"
) -> Policy:
    return Policy(
        "install",
        "profile uv/install",
        (
            Zone("cache", cache, (cache_path,)),
            Zone("venv", ZoneAccess.READ_WRITE, (b"/srv/project/.venv",)),
        ),
        tool,
    )


class Stream:
    """Makes events one after another; the mount of a path is that of its longest mount point."""

    def __init__(self, mounts: Iterable[Mount] = MOUNTS) -> None:
        self.events: list[FsEvent] = []
        self.mounts = sorted(mounts, key=lambda each: -len(each.mountpoint))
        self.pid = 100

    def add(self, op: Op, path: bytes, source: bytes | None = None, **more: Any) -> FsEvent:
        number = len(self.events) + 1
        values: dict[str, Any] = {
            "seq": number,
            "time_ns": number * 1000,
            "pid": self.pid,
            "tid": self.pid + 1,
            "op": op,
            "path": path,
            "source": source,
            "mount": self.mount_of(path),
            "source_mount": None if source is None or op is Op.SYMLINK else self.mount_of(source),
        }
        event = FsEvent(**(values | more))
        self.events.append(event)
        return event

    def mount_of(self, path: bytes) -> int | None:
        for each in self.mounts:
            point = each.mountpoint.rstrip(b"/")
            if path == point or path.startswith(point + b"/"):
                return each.id
        return None

    def read(self, path: bytes) -> FsEvent:
        return self.add(Op.OPEN, path, access=Access.READ)

    def create(self, path: bytes, *flags: str) -> FsEvent:
        return self.add(
            Op.OPEN, path, access=Access.WRITE, flags=("creat", *(flags or ("trunc",))), created=True
        )

    def write(self, path: bytes, size: int) -> FsEvent:
        return self.add(Op.WRITE, path, bytes=size, calls=1)

    def link(self, source: bytes, target: bytes, result: str = OK) -> FsEvent:
        return self.add(Op.LINK, target, source, result=result)


class Uv:
    """uv installing wheels from a cache into site-packages."""

    SITE = b"/srv/project/.venv/lib/python3.11/site-packages"

    def __init__(self, stream: Stream, cache: bytes, *, crosses: bool, temporary: bool = True) -> None:
        self.stream = stream
        self.cache = cache
        self.crosses = crosses
        """Whether copy_file_range fails with EXDEV and sendfile does the work."""
        self.temporary = temporary
        """Whether copies go to ``.tmpXXXXXX`` first (newer versions)."""
        self._made = 0

    def wheel(
        self,
        key: bytes,
        name: bytes,
        files: Mapping[bytes, int],
        link: str = "EXDEV",
        clone: str | None = None,
        by_write: bool = False,
    ) -> None:
        """Install one wheel; its first link ends with ``link`` and decides for the other files."""
        stream = self.stream
        archive = self.cache + b"/archive-v0/" + key
        info = name + b"-1.0.dist-info"
        for probe in (b"WHEEL", b"METADATA"):
            stream.read(archive + b"/" + info + b"/" + probe)
        record_from, record = archive + b"/" + info + b"/RECORD", self.SITE + b"/" + info + b"/RECORD"
        if clone is not None:
            stream.read(record_from)
            stream.create(record, "excl")
            stream.add(Op.CLONE, record, record_from, result=clone)
            stream.add(Op.UNLINK, record)
        self._copy(record_from, record, 400, temporary=False, by_write=by_write)
        failed = False
        for path, size in files.items():
            source, target = archive + b"/" + path, self.SITE + b"/" + path
            if not failed:
                stream.link(source, target, link)
                failed = link != OK
            if failed:
                self._copy(source, target, size, temporary=self.temporary, by_write=by_write)
        self.generated(info, b"INSTALLER", 2)
        self.generated(info, b"REQUESTED", 0)
        stream.add(Op.OPEN, record, access=Access.WRITE, flags=("creat", "trunc"))
        stream.write(record, 600)

    def generated(self, info: bytes, name: bytes, size: int) -> None:
        target = self.SITE + b"/" + info + b"/" + name
        passing = self._temporary(target)
        self.stream.create(passing, "excl")
        if size:
            self.stream.write(passing, size)
        self._settle(passing, target)

    def _copy(self, source: bytes, target: bytes, size: int, *, temporary: bool, by_write: bool) -> None:
        stream = self.stream
        passing = self._temporary(target) if temporary else target
        if temporary:
            stream.create(passing, "excl")
        stream.read(source)
        if temporary:
            stream.add(Op.OPEN, passing, access=Access.WRITE, flags=("creat", "trunc"))
        else:
            stream.create(passing)
        stream.add(Op.CHMOD, passing)
        if size and by_write:
            stream.write(passing, size)
        elif size:
            if self.crosses:
                stream.add(Op.COPY, passing, source, result="EXDEV")
            stream.add(Op.COPY, passing, source, bytes=size)
            stream.add(Op.COPY, passing, source, bytes=0)
        if temporary:
            self._settle(passing, target)

    def _settle(self, passing: bytes, target: bytes) -> None:
        self.stream.add(Op.RENAME, target, passing)
        self.stream.add(Op.UNLINK, passing, result="ENOENT")

    def _temporary(self, target: bytes) -> bytes:
        self._made += 1
        return os.path.dirname(target) + b"/.tmp%06d" % self._made


def analyzed(
    stream: Stream,
    judge: Callable[[FsEvent], Judged] = lambda _event: ALLOWED,
    *,
    of: Policy | None = None,
    run: RunInfo | None = None,
    completeness: Completeness | None = None,
    mounts: Iterable[Mount] | None = None,
    shared: Sequence[SharedFile] = (),
) -> list[Finding]:
    analyzer = Analyzer(
        tuple(stream.mounts if mounts is None else mounts),
        run or run_info(),
        completeness or Completeness(),
        of or policy(),
        judge,
        shared=shared,
    )
    for event in stream.events:
        analyzer.add_event(event, judge(event))
    return analyzer.list_findings()


def forbidden(zone: str | None, verdict: Verdict = Verdict.VIOLATION, reason: Reason | None = None) -> Judged:
    return Judged(zone, verdict, reason or (Reason.OUTSIDE if zone is None else Reason.READ_ONLY))
