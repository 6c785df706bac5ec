"""The processes of a run, put together from their beginnings and ends."""

from __future__ import annotations

import os

from writeaudit.recording.processes import ProcessBook


def test_process_book_puts_a_life_together() -> None:
    book = ProcessBook()
    book.note_start(0, 10, 1)
    book.note_exec(1, 10, b"/bin/sh", (b"sh",))
    book.note_start(2, 11, 10)
    book.note_start(3, 12, 10)
    book.note_exec(4, 11, b"/bin/ls", (b"ls", b"-l"))
    book.note_end(5, 11, 2)
    book.note_exec(6, 10, b"/bin/true", (b"true",))
    book.note_end(7, 10, 0)
    book.note_end(8, 99, 0)
    found = [(p.pid, p.ppid, p.argv, p.started_ns, p.ended_ns, p.exit_status) for p in book.list_processes()]
    assert found == [
        (10, 1, (b"sh",), 0, 6, None),
        (11, 10, (b"ls", b"-l"), 2, 5, 2),
        (12, 10, (b"sh",), 3, None, None),  # forked and never another program
        (10, 1, (b"true",), 6, 7, 0),
    ]


def test_parent_of_the_command_is_writeaudit() -> None:
    """Under eBPF the first that is told of it is its exec."""
    book = ProcessBook()
    book.note_exec(1, 10, b"/bin/sh", (b"sh",))
    book.note_exec(2, 99, b"/bin/stray", (b"stray",))
    assert [p.ppid for p in book.list_processes()] == [os.getpid(), 0]
