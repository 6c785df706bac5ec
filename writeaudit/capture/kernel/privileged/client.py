"""The unprivileged side: has a privileged process started, and asks it for what takes root's rights.

Imports little: the process is started before the rest of writeaudit is imported.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import threading

from writeaudit.capture.kernel.privileged.protocol import (
    GONE,
    NUMBER,
    OPEN_FILE,
    PAIR,
    STATE,
    Answer,
    Ask,
    Hangup,
    receive_message,
    send_message,
)
from writeaudit.errors import BackendUnavailable, CaptureError

TYPE_CHECKING = False  # instead of `typing`, which nobody should wait for here
if TYPE_CHECKING:
    from collections.abc import Sequence

    from writeaudit.capture.kernel.side import State
    from writeaudit.capture.members import Facts

_MONITOR = "writeaudit.capture.kernel.privileged.monitor"
_ANSWER_S = 60.0
"""How long an answer may take. Loading takes a second at most, on the slowest of machines."""


class Monitor:
    """The privileged process, as far as it can be asked. Usable from several threads."""

    def __init__(self, channel: socket.socket, pid: int, *, through_sudo: bool, complaints: int = -1) -> None:
        self._channel = channel
        self._pid = pid
        self._through_sudo = through_sudo
        self._complaints = complaints
        """What sudo printed, where it did not print it to the terminal."""
        self._lock = threading.Lock()
        self._over = False

    def load_programs(self, backend: str, ring_bytes: int, probes: str | None, joins: str = "") -> RemoteSide:
        """Have programs loaded and attached. Raises `BackendUnavailable`."""
        wanted = {"backend": backend, "ring_bytes": ring_bytes, "probes": probes, "joins": joins}
        # sudo may ask for a password meanwhile, for as long as it likes.
        try:
            body, descriptors = self._ask_for_answer(Ask.LOAD, json.dumps(wanted).encode(), timeout_s=None)
        except CaptureError as error:
            raise self._not_started() from error
        shape = json.loads(body)
        return RemoteSide(
            self, descriptors[0], int(shape["ring_bytes"]), sees_uring=bool(shape["sees_uring"])
        )

    def namespace_of(self, pid: int) -> int:
        """Return the inode number of a followed process's mount namespace. Raises OSError."""
        return int(NUMBER.unpack(self._ask_for_answer(Ask.NAMESPACE, NUMBER.pack(pid))[0])[0])

    def mountinfo_of(self, pid: int) -> bytes:
        """Return a followed process's mountinfo. Raises OSError."""
        return self._ask_for_answer(Ask.MOUNTINFO, NUMBER.pack(pid))[0]

    def root_of(self, pid: int) -> tuple[int, int]:
        """Return descriptors of a followed process's root directory and its mountinfo. Raises OSError."""
        _, (root, mounts) = self._ask_for_answer(Ask.ROOT, NUMBER.pack(pid))
        return root, mounts

    def ask_monitor(self, kind: Ask, body: bytes = b"", descriptors: tuple[int, ...] = ()) -> bytes:
        """Ask for what has no descriptors to its answer. Raises OSError, `CaptureError`."""
        return self._ask_for_answer(kind, body, descriptors=descriptors)[0]

    def close(self) -> None:
        """Hang up: the process takes the programs out of the kernel, and ends."""
        self._channel.close()

    def _ask_for_answer(
        self,
        kind: Ask,
        body: bytes,
        timeout_s: float | None = _ANSWER_S,
        descriptors: tuple[int, ...] = (),
    ) -> tuple[bytes, list[int]]:
        with self._lock:
            if self._over:
                raise CaptureError("the privileged part of writeaudit is gone")
            try:
                self._channel.settimeout(timeout_s)
                send_message(self._channel, kind, body, descriptors)
                answer, content, received = receive_message(self._channel)
            except (Hangup, OSError) as error:
                self._over = True
                raise CaptureError(
                    "the privileged part of writeaudit ended, or does not answer any more"
                ) from error
        if answer == Answer.DONE:
            return content, received
        if answer == Answer.UNAVAILABLE:
            raise BackendUnavailable(**json.loads(content))
        number = NUMBER.unpack(content)[0] if answer == Answer.ERRNO else errno.EPROTO
        raise OSError(number, os.strerror(number))

    def _not_started(self) -> BackendUnavailable:
        if not self._through_sudo:
            return BackendUnavailable("the privileged part of writeaudit ended before it had begun")
        status = -1
        with contextlib.suppress(ChildProcessError):
            status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        said = ""
        if self._complaints >= 0:
            text = os.pread(self._complaints, 4096, 0).decode("utf-8", "replace").strip()
            said = f": {text.splitlines()[-1]}" if text else ""
        return BackendUnavailable(
            f"sudo did not start the capture part (status {status}){said}",
            hint="see what `sudo -v` says; where there is no terminal, sudo must not ask for a password",
        )


class RemoteSide:
    """Programs that the privileged process loaded; see `writeaudit.capture.kernel.side.KernelSide`."""

    def __init__(self, monitor: Monitor, wake_fd: int, ring_bytes: int, *, sees_uring: bool) -> None:
        self._monitor = monitor
        self.wake_fd = wake_fd
        self.ring_bytes = ring_bytes
        self.sees_uring = sees_uring

    def begin_recording(self, cookie: int) -> None:
        """See `KernelSide`."""
        self._monitor.ask_monitor(Ask.BEGIN, NUMBER.pack(cookie))

    def hold_recording(self, cookie: int) -> None:
        """See `KernelSide`."""
        self._monitor.ask_monitor(Ask.HOLD, NUMBER.pack(cookie))

    def follow_group(self, hierarchy: int, number: int) -> None:
        """See `KernelSide`."""
        self._monitor.ask_monitor(Ask.GROUP, PAIR.pack(hierarchy, number))

    def follow_process(self, pid: int) -> bool | None:
        """See `KernelSide`."""
        proof: tuple[int, ...] = ()
        try:
            with contextlib.suppress(PermissionError):  # who was started by root need not prove anything
                proof = (os.open(f"/proc/{pid}/maps", os.O_RDONLY | os.O_CLOEXEC),)
            answer = NUMBER.unpack(self._monitor.ask_monitor(Ask.FOLLOW, NUMBER.pack(pid), proof))[0]
        except (FileNotFoundError, ProcessLookupError):
            return None
        finally:
            for fd in proof:
                os.close(fd)
        return None if answer == GONE else bool(answer)

    def list_births(self) -> Sequence[tuple[int, int]]:
        """See `KernelSide`."""
        return list(PAIR.iter_unpack(self._monitor.ask_monitor(Ask.BIRTHS)))

    def read_facts(self, pid: int) -> Facts:
        """See `KernelSide`."""
        from writeaudit.capture.members import unpack_facts  # noqa: PLC0415 - start-up

        return unpack_facts(self._monitor.ask_monitor(Ask.FACTS, NUMBER.pack(pid)))

    def release_recording(self) -> None:
        """See `KernelSide`."""
        self._monitor.ask_monitor(Ask.RELEASE)

    def read_state(self) -> State:
        """See `KernelSide`."""
        from writeaudit.capture.kernel.side import State  # noqa: PLC0415 - start-up

        waiting, generation, expects, lacks, level = STATE.unpack(self._monitor.ask_monitor(Ask.STATE))
        return State(waiting, generation, bool(expects), lacks, level)

    def take_records(self) -> bytes:
        """See `KernelSide`."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.wake_fd)
        return self._monitor.ask_monitor(Ask.TAKE)

    def read_counters(self) -> Sequence[int]:
        """See `KernelSide`."""
        return [value for (value,) in NUMBER.iter_unpack(self._monitor.ask_monitor(Ask.COUNTERS))]

    def open_files(self) -> Sequence[tuple[int, int, int]]:
        """See `KernelSide`."""
        return list(OPEN_FILE.iter_unpack(self._monitor.ask_monitor(Ask.OPEN_FILES)))

    def count_misses(self) -> int:
        """See `KernelSide`."""
        return int(NUMBER.unpack(self._monitor.ask_monitor(Ask.MISSES))[0])

    def detach(self) -> None:
        """See `KernelSide`."""
        self._monitor.ask_monitor(Ask.DETACH)

    def close(self) -> None:
        """See `KernelSide`."""
        os.close(self.wake_fd)
        self._monitor.close()


_running: list[Monitor] = []


def running_monitor() -> Monitor | None:
    """Return the privileged process, if one was started."""
    return _running[-1] if _running else None


def start_through_sudo(ring_bytes: int) -> Monitor:
    """Have sudo start the privileged process; returns at once. Raises `BackendUnavailable`.

    Where there is a terminal sudo may ask for a password there; it is gone when the programs are loaded.
    """
    if _running:
        return _running[-1]
    ours, theirs = socket.socketpair()
    asks = _has_terminal()
    words = ["sudo", "--"] if asks else ["sudo", "-n", "--"]
    words += [sys.executable, "-I", "-B", "-m", _MONITOR, str(ring_bytes)]
    complaints = -1 if asks else os.memfd_create("writeaudit-sudo")
    actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)]
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    actions.append((os.POSIX_SPAWN_DUP2, null, 1))
    if not asks:
        actions.append((os.POSIX_SPAWN_DUP2, complaints, 2))
    try:
        pid = os.posix_spawnp("sudo", words, os.environ, file_actions=actions)
    except OSError as error:
        ours.close()
        raise BackendUnavailable(
            f"sudo cannot be run: {error.strerror}", hint="install sudo, or run writeaudit as root"
        ) from error
    finally:
        theirs.close()
        os.close(null)
    _running.append(Monitor(ours, pid, through_sudo=True, complaints=complaints))
    return _running[-1]


def would_help() -> bool:
    """Whether `start_through_sudo` may well work here, as far as can be told without asking sudo."""
    import shutil  # noqa: PLC0415 - start-up

    from writeaudit.capture.kernel import libbpf  # noqa: PLC0415 - start-up
    from writeaudit.capture.own_status import own_status  # noqa: PLC0415 - start-up
    from writeaudit.capture.requirements import check_kernel, in_user_namespace  # noqa: PLC0415 - start-up

    if (
        running_monitor() is not None
        or os.geteuid() == 0
        or shutil.which("sudo") is None
        or in_user_namespace()
    ):
        return False
    try:
        check_kernel()
        libbpf.Libbpf()
    except BackendUnavailable:
        return False
    return own_status().get("NoNewPrivs", "0") == "0"


def start_by_fork(ring_bytes: int, *, may_join: bool = False) -> Monitor:
    """Fork the privileged process off this one, which is root's and is about to become another user's.

    ``may_join``: root asked for what runs already to be followed, whosever it is. To be called while this
    process has no other thread.
    """
    if _running:
        return _running[-1]
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            from writeaudit.capture.kernel.privileged import monitor  # noqa: PLC0415 - start-up

            monitor.stand_apart(theirs.fileno())
            monitor.serve_client(theirs, ring_bytes, any_backend=True, may_join=may_join)
        finally:
            os._exit(0)
    theirs.close()
    _running.append(Monitor(ours, pid, through_sudo=False))
    return _running[-1]


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
