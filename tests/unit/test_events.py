"""What an event changes: the one definition, as a truth table."""

from __future__ import annotations

import itertools

import pytest

from writeaudit.events import (
    DATA_OPS,
    METADATA_OPS,
    NAME_OPS,
    NAMESPACE_OPS,
    OK,
    TRANSFER_OPS,
    Access,
    Effect,
    FsEvent,
    Op,
    Operand,
    RawEvent,
    effect_of,
)

NONE, WANTED, CHANGED = Effect.NONE, Effect.WANTED, Effect.CHANGED

OPENS: dict[tuple[Access | None, tuple[str, ...], bool, str], Effect] = {
    # access, flags, created, result
    (Access.READ, (), False, OK): NONE,
    (Access.READ, (), False, "ENOENT"): NONE,
    (Access.READ, ("directory",), False, OK): NONE,
    (Access.READ, ("creat",), False, OK): NONE,
    (Access.READ, ("creat",), True, OK): CHANGED,
    (Access.READ, ("creat",), False, "EROFS"): WANTED,
    (Access.READ, ("trunc",), False, OK): CHANGED,
    (Access.READ, ("trunc",), False, "EACCES"): WANTED,
    (Access.WRITE, (), False, OK): WANTED,
    (Access.WRITE, (), False, "EROFS"): WANTED,
    (Access.WRITE, ("append",), False, OK): WANTED,
    (Access.WRITE, ("creat",), False, OK): WANTED,
    (Access.WRITE, ("creat",), True, OK): CHANGED,
    (Access.WRITE, ("creat", "excl"), False, "EEXIST"): WANTED,
    (Access.WRITE, ("trunc",), False, OK): CHANGED,
    (Access.READ_WRITE, (), False, OK): WANTED,
    (Access.READ_WRITE, ("tmpfile",), False, OK): CHANGED,
    (Access.READ_WRITE, ("tmpfile",), True, OK): CHANGED,
    (Access.READ_WRITE, ("tmpfile",), False, "EROFS"): WANTED,
    (Access.PATH, (), False, OK): NONE,
    (Access.PATH, ("directory",), False, OK): NONE,
    (None, (), False, OK): NONE,
    (None, ("trunc",), False, OK): CHANGED,
    (None, ("creat",), True, OK): CHANGED,
}

DONE: tuple[tuple[frozenset[Op], int | None, Effect], ...] = (
    # operations, bytes
    (NAME_OPS | METADATA_OPS | DATA_OPS, None, CHANGED),
    (TRANSFER_OPS, 1, CHANGED),
    (TRANSFER_OPS, 0, WANTED),
    (NAMESPACE_OPS | {Op.ACCESS}, None, NONE),
)


def _event(op: Op, access: Access | None = None, result: str = OK, size: int | None = None) -> FsEvent:
    return FsEvent(1, 0, 1, 1, op, b"/f", access=access, result=result, bytes=size)


@pytest.mark.parametrize("case", OPENS, ids=str)
def test_what_an_open_changes(case: tuple[Access | None, tuple[str, ...], bool, str]) -> None:
    access, flags, created, result = case
    event = _event(Op.OPEN, access, result)._replace(flags=flags, created=created)
    assert effect_of(event) is OPENS[case]


@pytest.mark.parametrize("op", [op for op in Op if op is not Op.OPEN])
def test_what_any_other_operation_changes(op: Op) -> None:
    cases = [(size, effect) for ops, size, effect in DONE if op in ops]
    assert cases
    for size, effect in cases:
        assert effect_of(_event(op, size=size)) is effect
        assert effect_of(_event(op, result="EROFS", size=size)) is min(effect, WANTED)


def test_every_operation_belongs_to_one_class() -> None:
    classes = (NAME_OPS, DATA_OPS, METADATA_OPS, NAMESPACE_OPS, frozenset({Op.OPEN, Op.ACCESS}))
    assert frozenset().union(*classes) == frozenset(Op)
    assert not any(one & other for one, other in itertools.combinations(classes, 2))


def test_an_open_as_captured_may_have_made_its_file_if_nobody_knows() -> None:
    file = Operand(b"/f", None)
    raw = RawEvent(0, 1, 1, Op.OPEN, OK, file, access=Access.READ, flags=("creat",))
    assert effect_of(raw) is WANTED
    assert effect_of(raw._replace(created=False)) is NONE
    assert effect_of(raw._replace(created=True)) is CHANGED
