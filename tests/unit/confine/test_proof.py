"""What the prover concludes from reruns, with a command that is made up: it answers by what it may write."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import resources

import jsonschema

from tests.support.analysis_streams import run_info
from tests.support.writable_runs import directory, disk
from writeaudit.confine.form import render_json
from writeaudit.confine.proof import Proof, Refusal, Rerun, expected_statuses, prove_writable_set
from writeaudit.confine.sandbox import SandboxUnavailable, Shown
from writeaudit.confine.writable import Kind, Need, Place, WritableSet

RUN = run_info(b"prog", uid=0)
DISK = disk({path: directory(entries=1) for path in (b"/a", b"/b", b"/c", b"/d", b"/d/x", b"/d/y")})


def _set(*paths: bytes) -> WritableSet:
    return WritableSet(tuple(Place(path, Kind.TMPFS) for path in paths))


def _prove(
    writable: WritableSet, act: Callable[[dict[bytes, Place]], Rerun], *, minimal: bool = False
) -> Proof:
    def rerun(shown: Sequence[Shown]) -> Rerun:
        return act({each.place.path: each.place for each in shown if each.writable})

    return prove_writable_set(writable, RUN, rerun, DISK, minimal=minimal)


def _refused(path: bytes, result: str = "EROFS", source: bytes | None = None) -> Refusal:
    return Refusal("open", path, result, source)


def _picky(writable: dict[bytes, Place]) -> Rerun:
    """Needs /a, tries /b and does without, never touches /c."""
    refusals = [_refused(path + b"/x") for path in (b"/a", b"/b") if path not in writable]
    return Rerun(0 if b"/a" in writable else 1, tuple(refusals))


def test_each_place_is_needed_optional_or_not_needed() -> None:
    proof = _prove(_set(b"/a", b"/b", b"/c"), _picky)
    assert proof.proven
    assert {place.path: place.need for place in proof.places} == {
        b"/a": Need.NEEDED,
        b"/b": Need.OPTIONAL,
        b"/c": Need.NOT_NEEDED,
    }
    assert [trial.without for trial in proof.trials] == [(), (b"/a",), (b"/b",), (b"/c",)]


def test_minimal_leaves_out_what_can_be_left_out_together() -> None:
    proof = _prove(_set(b"/a", b"/b", b"/c"), _picky, minimal=True)
    assert [place.path for place in proof.places] == [b"/a"]
    assert {place.path for place in proof.dropped} == {b"/b", b"/c"}
    assert proof.trials[-1].without == (b"/b", b"/c")

    def either(writable: dict[bytes, Place]) -> Rerun:
        return Rerun(0 if b"/a" in writable or b"/b" in writable else 1)

    proof = _prove(_set(b"/a", b"/b"), either, minimal=True)
    assert len(proof.places) == 1
    assert len(proof.dropped) == 1


def test_nothing_is_said_to_be_unneeded_by_a_rerun_that_was_not_seen_whole() -> None:
    proof = _prove(_set(b"/a"), lambda _writable: Rerun(0, complete=False))
    assert [place.need for place in proof.places] == [Need.UNPROVEN]


def test_a_place_that_only_the_rerun_asks_for_is_added() -> None:
    def act(writable: dict[bytes, Place]) -> Rerun:
        return Rerun(0) if b"/b" in writable else Rerun(1, (_refused(b"/b/new/file"),))

    proof = _prove(_set(b"/a"), act)
    assert proof.proven
    assert [place.path for place in proof.places] == [b"/a", b"/b"]
    assert "/b" in proof.corrections[0]


def test_places_are_merged_only_if_a_rename_between_them_must_work() -> None:
    def strict(writable: dict[bytes, Place]) -> Rerun:
        if b"/d" in writable:
            return Rerun(0)
        return Rerun(1, (_refused(b"/d/y/name", "EXDEV", b"/d/x/name"),))

    proof = _prove(_set(b"/d/x", b"/d/y"), strict)
    assert [place.path for place in proof.places] == [b"/d"]
    assert "EXDEV" in proof.corrections[0]

    def tolerant(_writable: dict[bytes, Place]) -> Rerun:
        return Rerun(0, (_refused(b"/d/y/name", "EXDEV", b"/d/x/name"),))

    proof = _prove(_set(b"/d/x", b"/d/y"), tolerant)
    assert [place.path for place in proof.places] == [b"/d/x", b"/d/y"]


def test_content_exec_and_room_are_given_where_they_turn_out_to_be_needed() -> None:
    for wish in ({"copy_up": True}, {"executed": True}, {"size": None}):
        ((name, value),) = wish.items()

        def act(writable: dict[bytes, Place], name: str = name, value: object = value) -> Rerun:
            content = b"/a" not in writable or getattr(writable[b"/a"], name) == value
            refusals = (_refused(b"/a/x", "ENOSPC"),) if name == "size" and not content else ()
            return Rerun(0 if content else 1, refusals)

        writable = WritableSet((Place(b"/a", Kind.TMPFS, size=1 << 20),))
        proof = _prove(writable, act)
        assert proof.proven
        assert getattr(proof.places[0], name) == value
        assert len(proof.corrections) == 1


def test_a_proof_that_fails_says_under_which_set_and_with_which_refusal() -> None:
    proof = _prove(_set(b"/a"), lambda _writable: Rerun(7, (_refused(b"/x", "EPERM"),), output="boom"))
    assert not proof.proven
    assert "/a writable" in proof.failure
    assert "status 7" in proof.failure
    assert "EPERM" in proof.failure
    assert proof.output == "boom"
    proof = _prove(_set(b"/a"), lambda _writable: Rerun(None))
    assert "did not end in time" in proof.failure


def test_a_sandbox_that_cannot_be_had_leaves_all_unproven() -> None:
    def act(_writable: dict[bytes, Place]) -> Rerun:
        raise SandboxUnavailable("no namespaces", hint="be root")

    proof = _prove(_set(b"/a"), act)
    assert not proof.proven
    assert proof.failure == "The reruns could not be made: no namespaces (be root)."
    assert proof.places[0].need is Need.UNPROVEN


def test_how_a_rerun_has_to_end() -> None:
    refused = WritableSet((Place(b"/a", Kind.TMPFS, refused=1),))
    assert expected_statuses(RUN, _set(b"/a")) == (0,)
    assert expected_statuses(replace(RUN, exit_status=3), _set(b"/a")) == (3,)
    assert expected_statuses(replace(RUN, exit_status=3), refused) == (0,)
    assert expected_statuses(replace(RUN, exit_status=None, signal=15), _set(b"/a")) == (143, 0)


def test_json_is_what_the_schema_says() -> None:
    schema = json.loads(resources.files("writeaudit.report.json").joinpath("schema.json").read_text("utf-8"))
    writable = _set(b"/a", b"/b", b"/odd\n\xff")
    for proof in (
        None,
        _prove(writable, _picky, minimal=True),
        _prove(writable, lambda _w: Rerun(9, output="x")),
    ):
        document = json.loads(render_json(RUN, writable, proof))
        assert {place["path"] for place in document["writable"]} == {"/a", "/b", "/odd\\x0a\\xff"}
        for key in ("schema_version", "tool", "writable", "proof"):
            jsonschema.validate(document[key], {**schema["properties"][key], "$defs": schema["$defs"]})
