"""What the privileged process and the rest of writeaudit say to one another, over a Unix socket.

One side asks, the other answers, one question at a time. A message is a head (kind, length) and its
body; descriptors come with the head. The privileged process trusts no question: each is short, and has
no more than numbers in it, apart from that for the programs to load.
"""

from __future__ import annotations

import array
import enum
import os
import socket
import struct

HEAD = struct.Struct("=II")
NUMBER = struct.Struct("=Q")
PAIR = struct.Struct("=QQ")
STATE = struct.Struct("=QQIII")
OPEN_FILE = struct.Struct("=QQQ")
GONE = 2
"""Answer to FOLLOW."""
LONGEST_QUESTION = 8192
_LONGEST_ANSWER = 1 << 31
_MOST_DESCRIPTORS = 4


class Ask(enum.IntEnum):
    """Questions."""

    LOAD = 1
    """JSON: backend, ring_bytes, probes, joins. Answer: JSON (ring_bytes, sees_uring), what to wait on."""
    BEGIN = 2
    """NUMBER: the cookie."""
    STATE = 3
    TAKE = 4
    COUNTERS = 5
    OPEN_FILES = 6
    MISSES = 7
    DETACH = 8
    NAMESPACE = 9
    """NUMBER: a process that is followed. Answer: NUMBER, the inode number of its mount namespace."""
    MOUNTINFO = 10
    """The same. Answer: the text of its mountinfo."""
    ROOT = 11
    """The same. Answer: two descriptors, of its root directory (O_PATH) and of its mountinfo."""
    HOLD = 12
    """NUMBER: the cookie. As BEGIN, and nothing is recorded before RELEASE."""
    FOLLOW = 13
    """NUMBER: a process that runs; with a descriptor of its `maps`, which only those can open who may look at
    it. Answer: NUMBER: 1, 0 if it was followed already, `GONE`."""
    GROUP = 14
    """PAIR: a cgroup's hierarchy and number."""
    BIRTHS = 15
    """Answer: PAIRs, children and who forked them."""
    FACTS = 16
    """NUMBER: a process that is followed. Answer: JSON, see `monitor`."""
    RELEASE = 17


class Answer(enum.IntEnum):
    """Answers."""

    DONE = 0
    ERRNO = 1
    """NUMBER: the operation failed."""
    UNAVAILABLE = 2
    """JSON: message and hint of a `BackendUnavailable`."""


class Hangup(Exception):
    """The other side is gone, or says what makes no sense."""


def send_message(
    channel: socket.socket, kind: int, body: bytes = b"", descriptors: tuple[int, ...] = ()
) -> None:
    """Send a message. Raises OSError."""
    head = HEAD.pack(kind, len(body))
    if descriptors:
        rights = array.array("i", descriptors)
        channel.sendmsg([head], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    else:
        channel.sendall(head)
    if body:
        channel.sendall(body)


def receive_message(channel: socket.socket, longest: int = _LONGEST_ANSWER) -> tuple[int, bytes, list[int]]:
    """Return kind, body and descriptors of the next message. Raises `Hangup`, OSError."""
    descriptors: list[int] = []
    head = b""
    while len(head) < HEAD.size:
        room = socket.CMSG_SPACE(_MOST_DESCRIPTORS * 4)
        part, ancillary, _flags, _address = channel.recvmsg(
            HEAD.size - len(head), room, socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors += array.array("i", data[: len(data) - len(data) % 4])
        if not part:
            _close_all(descriptors)
            raise Hangup
        head += part
    kind, length = HEAD.unpack(head)
    if length > longest:
        _close_all(descriptors)
        raise Hangup
    return kind, _receive_body(channel, length), descriptors


def _receive_body(channel: socket.socket, length: int) -> bytes:
    body = bytearray(length)
    view, done = memoryview(body), 0
    while done < length:
        part = channel.recv_into(view[done:])
        if not part:
            raise Hangup
        done += part
    view.release()
    return bytes(body)


def _close_all(descriptors: list[int]) -> None:
    for fd in descriptors:
        os.close(fd)
