"""Processes as a folded tree: lives, groups, and what each changed."""

from __future__ import annotations

from writeaudit.audit import Process
from writeaudit.report.html.process_tree import ProcessTree


def _life(pid: int, ppid: int, start: int, name: bytes = b"x") -> Process:
    return Process(pid, ppid, b"/bin/" + name, (name,), start, start + 1, 0)


def _shown(tree: ProcessTree) -> list[tuple[str, int, int, bool]]:
    return [(group.name, group.depth, len(group.lives), group.is_exec) for group in tree.groups]


def test_runs_of_one_program_in_one_place_are_one_line() -> None:
    lives = [_life(1, 0, 0, b"make")]
    for number in range(500):
        lives.append(_life(10 + 2 * number, 1, 10 * number, b"gcc"))
        lives.append(_life(11 + 2 * number, 10 + 2 * number, 10 * number + 1, b"as"))
    tree = ProcessTree(lives)
    assert _shown(tree) == [("make", 0, 1, False), ("gcc", 1, 500, False), ("as", 2, 500, False)]
    assert [group.end for group in tree.groups] == [3, 3, 3]


def test_each_exec_is_a_life_of_its_own_and_children_stand_below_it() -> None:
    lives = [_life(1, 0, 0, b"sh"), _life(1, 0, 10, b"python"), _life(2, 1, 5, b"ls"), _life(3, 1, 15, b"cc")]
    tree = ProcessTree(lives)
    assert _shown(tree) == [
        ("sh", 0, 1, False), ("ls", 1, 1, False), ("python", 0, 1, True), ("cc", 1, 1, False),
    ]  # fmt: skip
    names = [tree.groups[tree.group_numbers[tree.find_life(1, time)]].name for time in (0, 9, 10, 99)]
    assert names == ["sh", "sh", "python", "python"]


def test_rings_reused_pids_and_endless_children_are_survived() -> None:
    ring = ProcessTree(
        [_life(1, 2, 0), _life(2, 1, 1), _life(3, 0, 2), _life(3, 0, 3), _life(4, 3, 4), _life(5, 5, 5)]
    )
    assert sum(len(group.lives) for group in ring.groups) == 6
    deep = ProcessTree([_life(number + 1, number, number) for number in range(1000)])
    assert sum(len(group.lives) for group in deep.groups) == 1000
    assert max(group.depth for group in deep.groups) < 70


def test_files_that_several_programs_changed_count_once_above_them() -> None:
    tree = ProcessTree([_life(1, 0, 0, b"make"), _life(2, 1, 1, b"cc"), _life(3, 1, 2, b"ld")])
    make, cc, ld = (tree.find_life(pid, 5) for pid in (1, 2, 3))
    for life, file in ((cc, 0), (cc, 0), (cc, 1), (ld, 1), (ld, 2), (make, 2), (ld, -1)):
        tree.add_change(life, file, 10, is_violation=file == 1)
    tree.finish()
    figures = {
        group.name: (group.own.files, group.whole.files, group.whole.bytes, group.whole.violations)
        for group in tree.groups
    }
    assert figures == {"make": (1, 3, 70, 2), "cc": (2, 2, 30, 1), "ld": (2, 2, 30, 1)}


def test_processes_that_nobody_knows_have_a_life_and_no_group() -> None:
    tree = ProcessTree([])
    assert tree.find_life(77, 0) == tree.find_life(77, 5) == 0
    assert (tree.pids, tree.group_numbers) == ([77], [-1])
    tree.add_change(0, 0, 10, is_violation=False)
    tree.finish()
    assert tree.groups == []
