"""The privileged process and its client, over a socket: no kernel, no root."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from writeaudit.capture.kernel.privileged import monitor, protocol
from writeaudit.capture.kernel.privileged.client import Monitor
from writeaudit.capture.kernel.privileged.protocol import NUMBER, Answer, Ask
from writeaudit.capture.kernel.side import MapSide, State
from writeaudit.errors import BackendUnavailable, CaptureError


class FakeLoaded:
    """Programs that nobody loaded."""

    def __init__(self, size: int) -> None:
        self.ring_fd = os.eventfd(0)
        self.ring_bytes = size
        self.sees_uring = True

    def close(self) -> None:
        os.close(self.ring_fd)


class FakeSide(MapSide):
    """A kernel side that follows one process."""

    def begin_recording(self, cookie: int) -> None:
        self.cookie = cookie

    def read_state(self) -> State:
        return State(7, 1, expects=False)

    def take_records(self) -> bytes:
        return b"x" * (1 << 20)

    def read_counters(self) -> list[int]:
        return [1, 2, 1 << 63]

    def open_files(self) -> list[tuple[int, int, int]]:
        return [(1, 2, 3)]

    def count_misses(self) -> int:
        return 5

    def follow_process(self, pid: int) -> bool:
        return True

    def list_births(self) -> list[tuple[int, int]]:
        return [(2, 1)]

    def follows(self, pid: int) -> bool:
        return pid == os.getpid()


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Our end, with a privileged process (a thread here) at the other."""
    loads = lambda size, probes, joins: FakeLoaded(size)  # noqa: E731
    monkeypatch.setattr("writeaudit.capture.kernel.ebpf.load_programs", loads)
    monkeypatch.setattr(monitor, "MapSide", FakeSide)
    monkeypatch.setattr(monitor, "_keep_capabilities", lambda: None)
    ours, theirs = socket.socketpair()
    ours.settimeout(20)

    def serve() -> None:
        monitor.serve_client(theirs, 0, any_backend=False)
        theirs.close()

    served = threading.Thread(target=serve, daemon=True)
    served.start()
    yield ours
    ours.close()
    served.join(20)
    assert not served.is_alive()


def _client(channel: socket.socket) -> Monitor:
    return Monitor(channel, 0, through_sudo=False)


def test_side_answers_through_the_socket(channel: socket.socket) -> None:
    side = _client(channel).load_programs("ebpf", 1 << 16, None)
    side.begin_recording(12)
    assert (side.ring_bytes, side.sees_uring) == (1 << 16, True)
    assert side.read_state() == State(7, 1, expects=False)
    assert side.take_records() == b"x" * (1 << 20)
    assert list(side.read_counters()) == [1, 2, 1 << 63]
    assert list(side.open_files()) == [(1, 2, 3)]
    assert side.count_misses() == 5
    side.close()


def test_followed_processes_alone_are_looked_at(channel: socket.socket) -> None:
    client = _client(channel)
    client.load_programs("ebpf", 1 << 16, None)
    assert client.namespace_of(os.getpid()) == os.stat("/proc/self/ns/mnt").st_ino
    assert client.mountinfo_of(os.getpid()).count(b"\n") > 1
    root, mounts = client.root_of(os.getpid())
    assert os.path.samestat(os.fstat(root), os.stat("/"))
    assert os.read(mounts, 10)
    os.close(root)
    os.close(mounts)
    for ask in (client.namespace_of, client.mountinfo_of, client.root_of):
        with pytest.raises(PermissionError):
            ask(1)
        with pytest.raises(FileNotFoundError):
            ask(1 << 40)


def test_only_packaged_programs_are_loaded_through_sudo(channel: socket.socket) -> None:
    client = _client(channel)
    for backend, probes in (("ebpf", "/tmp/probes"), ("bcc", None), ("../../etc", None)):
        with pytest.raises(BackendUnavailable, match="--sudo"):
            client.load_programs(backend, 1 << 16, probes)


_LOAD = json.dumps({"backend": "ebpf", "ring_bytes": 1 << 16, "probes": None}).encode()


@pytest.mark.parametrize(
    "question",
    [
        protocol.HEAD.pack(Ask.LOAD, protocol.LONGEST_QUESTION + 1),
        protocol.HEAD.pack(Ask.LOAD, 0xFFFFFFFF),
        protocol.HEAD.pack(Ask.LOAD, 2) + b"[]",
        protocol.HEAD.pack(Ask.LOAD, 2) + b"\xff{",
        protocol.HEAD.pack(Ask.LOAD, 5000) + b"[" * 5000,
        protocol.HEAD.pack(Ask.LOAD, 48) + b'{"backend":"ebpf","ring_bytes":12,"probes":null}',
        protocol.HEAD.pack(Ask.STATE, 0),
        protocol.HEAD.pack(Ask.ROOT, 8) + NUMBER.pack(1),
        protocol.HEAD.pack(77, 0),
    ],
)
def test_senseless_question_ends_it(channel: socket.socket, question: bytes) -> None:
    channel.sendall(question)
    with pytest.raises(protocol.Hangup):
        protocol.receive_message(channel)


@pytest.mark.parametrize(
    "question",
    [(Ask.LOAD, _LOAD), (Ask.ROOT, b"1"), (Ask.BEGIN, b""), (99, b""), (Ask.NAMESPACE, b"/etc/pas")],
)
def test_senseless_question_once_loaded(channel: socket.socket, question: tuple[int, bytes]) -> None:
    protocol.send_message(channel, Ask.LOAD, _LOAD)
    kind, _body, fds = protocol.receive_message(channel)
    assert kind == Answer.DONE
    os.close(fds[0])
    protocol.send_message(channel, *question)
    if question[0] == Ask.NAMESPACE:  # eight bytes are a number, whatever they spell
        assert protocol.receive_message(channel)[0] == Answer.ERRNO
        return
    with pytest.raises(protocol.Hangup):
        protocol.receive_message(channel)


def test_descriptors_are_not_taken(channel: socket.socket) -> None:
    protocol.send_message(channel, Ask.LOAD, _LOAD, (0,))
    with pytest.raises((protocol.Hangup, ConnectionResetError)):
        protocol.receive_message(channel)


def test_privileged_process_that_is_gone_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    client = _client(ours)
    with pytest.raises(BackendUnavailable, match="ended before it had begun"):
        client.load_programs("ebpf", 1 << 16, None)
    with pytest.raises(CaptureError, match="gone"):
        client.ask_monitor(Ask.STATE)
    client.close()


def test_answer_that_does_not_come_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    client = _client(ours)
    with pytest.raises(CaptureError, match="does not answer"):
        client._ask_for_answer(Ask.STATE, b"", timeout_s=0.05)
    theirs.close()
    client.close()


def test_process_that_runs_is_followed_for_those_who_may_look_at_it(channel: socket.socket) -> None:
    client = _client(channel)
    side = client.load_programs("ebpf", 1 << 16, None, "processes")
    assert side.follow_process(os.getpid()) is True
    assert list(side.list_births()) == [(2, 1)]
    assert side.follow_process(1 << 30) is None, "nobody has that number"


@pytest.mark.parametrize("proof", ["none", "another file", "another process", "only its name"])
def test_process_is_not_followed_without_proof(channel: socket.socket, proof: str) -> None:
    client = _client(channel)
    client.load_programs("ebpf", 1 << 16, None, "processes")
    path = None if proof == "none" else "/proc/self/status" if proof == "another file" else "/proc/self/maps"
    target = os.getppid() if proof == "another process" else os.getpid()
    given = () if path is None else (os.open(path, os.O_PATH if proof == "only its name" else os.O_RDONLY),)
    try:
        with pytest.raises(PermissionError):
            client.ask_monitor(Ask.FOLLOW, NUMBER.pack(target), given)
    finally:
        for fd in given:
            os.close(fd)


def test_cgroup_is_followed_for_root_alone(channel: socket.socket) -> None:
    client = _client(channel)
    side = client.load_programs("ebpf", 1 << 16, None, "cgroup")
    with pytest.raises(PermissionError):
        side.follow_group(0, 1)


def test_descriptor_with_any_other_question_ends_it(channel: socket.socket) -> None:
    client = _client(channel)
    client.load_programs("ebpf", 1 << 16, None)
    with pytest.raises(CaptureError), open(os.devnull, "rb") as file:
        client.ask_monitor(Ask.STATE, b"", (file.fileno(),))
