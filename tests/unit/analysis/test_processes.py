from __future__ import annotations

from writeaudit.analysis.processes import ProcessTable, name_process
from writeaudit.audit import Process
from writeaudit.recording.processes import ProcessBook


def test_a_process_that_executes_another_program_has_two_lives() -> None:
    book = ProcessBook()
    book.note_exec(0, 10, b"/bin/sh", (b"sh", b"-c", b"x"))
    book.note_start(1, 11, 10)
    assert 11 in book.fresh
    book.note_act(11)  # it wrote, and only then became something else
    book.note_exec(5, 11, b"/bin/evil", (b"evil",))
    book.note_end(9, 11, 0)
    table = ProcessTable(book.list_processes())
    assert name_process(table.find_program(11, 3)) == "`sh -c x` (pid 11)"
    assert name_process(table.find_program(11, 6)) == "`evil` (pid 11)"
    family = table.find_family(11, 6)
    assert family is not None
    assert len(family.lives) == 2
    assert family.parent is table.root


def test_what_did_nothing_before_it_executed_has_one() -> None:
    book = ProcessBook()
    book.note_exec(0, 10, b"/bin/sh", (b"sh",))
    book.note_start(1, 11, 10)
    book.note_exec(5, 11, b"/bin/cat", (b"cat",))
    assert [process.exe for process in book.list_processes()] == [b"/bin/sh", b"/bin/cat"]


def test_a_number_that_comes_again_is_another_process() -> None:
    processes = [
        Process(1, 0, b"/bin/sh", (b"sh",), 0, None, None),
        Process(7, 1, b"/bin/a", (b"a",), 10, 20, 1),
        Process(7, 1, b"/bin/b", (b"b",), 30, 40, 0),
    ]
    table = ProcessTable(processes)
    assert name_process(table.find_program(7, 15)) == "`a` (pid 7)"
    assert name_process(table.find_program(7, 35)) == "`b` (pid 7)"
    assert [child.failed for child in (table.root.children if table.root else [])] == [True, False]


def test_what_a_program_calls_itself_is_cut_and_safe() -> None:
    process = Process(3, 1, b"/bin/sh", (b"/bin/sh", b"-c", b"echo `x`\nrm -rf /", b"a", b"b"), 0, None, None)
    assert name_process(process) == "`sh -c echo 'x'… a …` (pid 3)"
    assert name_process(None, 4) == "pid 4"
