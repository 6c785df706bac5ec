"""WA302: what everybody may write, told of by its last name; empty lock files harm nobody."""

from __future__ import annotations

from tests.support.analysis_streams import Stream, analyzed
from writeaudit.events import Op
from writeaudit.judgement import Finding


def _world_writable(stream: Stream) -> list[Finding]:
    return [finding for finding in analyzed(stream) if finding.rule == "WA302"]


def test_file_is_told_of_by_its_last_name() -> None:
    stream = Stream()
    stream.add(Op.CHMOD, b"/p/.tmpAb3xQ9", mode=0o666)
    stream.add(Op.RENAME, b"/p/settings", b"/p/.tmpAb3xQ9")
    (finding,) = _world_writable(stream)
    assert "/p/settings" in finding.message
    assert ".tmp" not in finding.message


def test_empty_lock_file_is_for_everybody_on_purpose() -> None:
    stream = Stream()
    stream.add(Op.CHMOD, b"/p/.tmpAb3xQ9", mode=0o666)
    stream.add(Op.RENAME, b"/p/.lock", b"/p/.tmpAb3xQ9")
    assert not _world_writable(stream)


def test_lock_file_that_holds_something_is_not() -> None:
    stream = Stream()
    stream.add(Op.CHMOD, b"/p/uv.lock", mode=0o666)
    stream.add(Op.WRITE, b"/p/uv.lock", bytes=10)
    assert len(_world_writable(stream)) == 1


def test_file_that_is_gone_is_not_told_of() -> None:
    stream = Stream()
    stream.add(Op.CHMOD, b"/p/x", mode=0o666)
    stream.add(Op.UNLINK, b"/p/x")
    assert not _world_writable(stream)


def test_mode_that_is_taken_back_is_not_told_of() -> None:
    stream = Stream()
    stream.add(Op.CHMOD, b"/p/x", mode=0o666)
    stream.add(Op.CHMOD, b"/p/x", mode=0o644)
    assert not _world_writable(stream)
