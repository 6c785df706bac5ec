"""What is remembered of the files that a run made."""

from __future__ import annotations

import pytest

from tests.support.analysis_streams import Stream
from writeaudit.analysis.links import provenance
from writeaudit.analysis.links.provenance import FileProvenance


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let four files be many."""
    monkeypatch.setattr(provenance, "LATEST", 4)


def opened(count: int, made: FileProvenance) -> None:
    """Read and make so many files, after those that were made before."""
    stream = Stream()
    for number in range(count):
        made.note_opened(stream.read(b"/src/%d" % number))
        made.note_opened(stream.create(b"/dst/%d" % number))


def names(made: FileProvenance) -> list[bytes]:
    """Return the present names of the files that are remembered."""
    return [file.names[-1] for file in made.list_created()]


def test_without_a_refusal_only_the_latest_files_are_remembered() -> None:
    made = FileProvenance()
    opened(1000, made)
    assert 4 <= len(made.list_created()) < 8
    assert 4 <= len(made.reads) < 8
    assert names(made)[-4:] == [b"/dst/996", b"/dst/997", b"/dst/998", b"/dst/999"]
    assert list(made.reads)[-4:] == [b"/src/996", b"/src/997", b"/src/998", b"/src/999"]


def test_from_a_refusal_on_all_are() -> None:
    made = FileProvenance()
    opened(3, made)
    made.keep_all()
    opened(1000, made)
    assert len(made.list_created()) == 1000
    assert len(made.reads) == 1000
    assert names(made)[:3] == [b"/dst/0", b"/dst/1", b"/dst/2"]


def test_reads_keep_the_order_of_the_first_time() -> None:
    made, stream = FileProvenance(), Stream()
    for name in (b"/b", b"/a", b"/b"):
        made.note_opened(stream.read(name))
    assert list(made.reads) == [b"/b", b"/a"]
