"""WA507: images that are made to do harm, or damaged. None ends in anything but an answer."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.support.container_images import (
    Layer,
    blob_name,
    descriptor,
    docker_files,
    index,
    layout_files,
    make,
    write_archive,
    write_layout,
)
from tests.support.read_images import find, read_layers, read_made, tell
from writeaudit.container_image import FactKind
from writeaudit.image.errors import ImageError
from writeaudit.image.findings import judge_completeness
from writeaudit.image.limits import Limits
from writeaudit.image.reading import read_image
from writeaudit.judgement import Severity


@pytest.mark.parametrize(
    ("layer", "name", "why"),
    [
        (Layer().file("../etc/cron.d/x", b"1"), "../etc/cron.d/x", "holds “..”"),
        (Layer().file("a/../../x", b"1"), "a/../../x", "holds “..”"),
        (
            Layer().symlink("e", "/etc").file("e/passwd", b"1"),
            "e/passwd",
            "below a symlink of the same layer",
        ),
        (Layer().symlink("e", "x").file("e/passwd", b"1"), "e/passwd", "below a symlink of the same layer"),
        (Layer().file("f", b"1").file("f/x", b"2"), "f/x", "below /f, which is a file"),
        (Layer().hard_link("pw", "/etc/shadow"), "pw", "leads out of the image"),
        (Layer().hard_link("pw", "../../etc/shadow"), "pw", "holds “..”"),
        (Layer().hard_link("pw", "nowhere"), "pw", "is not there"),
        (Layer().directory("d").hard_link("l", "d"), "l", "hard link to a directory"),
        (Layer().hard_link("a", "b").hard_link("b", "a"), "a", "is not there"),
        (Layer().file("/".join(["d"] * 300), b"1"), "/".join(["d"] * 300), "directories deep"),
        (Layer().file("x" * 5000, b"1"), "x" * 4096, "longer than 4,096 bytes"),
        (Layer().whiteout(".."), ".wh...", "a whiteout of no name"),
    ],
)
def test_entries_that_are_refused(tmp_path: Path, layer: Layer, name: str, why: str) -> None:
    read = read_layers(tmp_path, layer)
    assert name in [fact.path.decode() for fact in read.refused if fact.path is not None]
    assert why in read.refused[0].detail
    (finding,) = find(read, "WA507")
    assert finding.severity is Severity.ERROR
    assert not any(path == f"/{name}" for _kind, path, _layer in tell(read, FactKind.ADDED))
    assert judge_completeness(read.problems).complete


def test_symlinks_that_climb_out_are_a_warning(tmp_path: Path) -> None:
    layer = Layer().symlink("a/b", "../../../etc").symlink("a/ok", "../etc").symlink("abs", "/etc")
    read = read_layers(tmp_path, layer)
    (finding,) = find(read, "WA507")
    assert finding.severity is Severity.WARNING
    assert tell(read, FactKind.TRAVERSAL) == [("traversal", "/a/b", 0)]


def test_symlinks_in_a_ring(tmp_path: Path) -> None:
    read = read_layers(tmp_path, Layer().symlink("a", "b").symlink("b", "a"), Layer().file("a/x", b"1"))
    assert "too many symlinks" in read.refused[0].detail


def _damaged(tmp_path: Path, stored: bytes, *, limits: Limits | None = None) -> tuple[str, bool]:
    """Return what the first problem of a layer is that is stored so, and whether all of it was looked at."""
    made = make(Layer().file("a", b"1"))._replace(layers=(stored,))
    read = read_made(tmp_path, made, limits)
    assert all(each.severity is Severity.ERROR for each in find(read, "WA507"))
    assert find(read, "WA507")
    return read.problems[0].kind, judge_completeness(read.problems).complete


def _plain(size: int = 3000) -> bytes:
    return Layer().file("a", b"\1" * size).file("b", b"2").data


def test_a_gzip_stream_that_is_cut_off(tmp_path: Path) -> None:
    assert _damaged(tmp_path, gzip.compress(_plain(1 << 20), 0)[:-5000]) == ("truncated", False)


def test_a_gzip_stream_that_was_changed(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(_plain(1 << 18), 0))
    data[-6] ^= 1
    assert _damaged(tmp_path, bytes(data)) == ("damaged", False)


@pytest.mark.parametrize("kept", [512 * 2, 512 + 100, 200])
def test_an_archive_that_is_cut_off(tmp_path: Path, kept: int) -> None:
    assert _damaged(tmp_path, gzip.compress(_plain()[:kept])) == ("truncated", False)


def test_a_header_in_the_middle_that_is_damaged_is_no_end(tmp_path: Path) -> None:
    plain = bytearray(_plain(512))
    plain[1024 + 150] ^= 1
    assert _damaged(tmp_path, gzip.compress(plain)) == ("damaged", False)


@pytest.mark.parametrize("data", [b"", b"no archive at all", b"\0" * 100])
def test_no_archive(tmp_path: Path, data: bytes) -> None:
    _kind, complete = _damaged(tmp_path, data)
    assert not complete


def test_bytes_after_the_end_of_an_archive(tmp_path: Path) -> None:
    assert _damaged(tmp_path, gzip.compress(_plain() + b"hidden")) == ("trailing", True)


def test_a_layer_that_is_not_what_its_digest_says(tmp_path: Path) -> None:
    made = make(Layer().file("a", b"1"), Layer().file("b", b"2"))
    files = layout_files(made)
    files[blob_name(made.layers[1])] = gzip.compress(Layer().file("evil", b"2").data, 1, mtime=0)
    read = read_image(write_layout(tmp_path / "l", files))
    assert {problem.layer for problem in read.problems} == {1}
    assert any("not what its digest says" in finding.message for finding in find(read, "WA507", "digest"))


def test_content_that_is_not_what_the_configuration_says(tmp_path: Path) -> None:
    made = make(Layer().file("a", b"1"))
    other = make(Layer().file("a", b"2"))
    (finding,) = find(read_made(tmp_path, made._replace(layers=other.layers)), "WA507")
    assert "not what the configuration says" in finding.message


@pytest.mark.parametrize("which", ["manifest", "config"])
def test_documents_that_are_not_what_their_digests_say(tmp_path: Path, which: str) -> None:
    made = make(Layer().file("a", b"1"))
    files = layout_files(made)
    name = blob_name(made.manifest() if which == "manifest" else made.config)
    files[name] = files[name].replace(b"linux", b"linuX") + b" "
    with pytest.raises(ImageError, match="not what its digest says"):
        read_image(write_layout(tmp_path / "l", files))


def test_a_bomb_is_left_when_it_becomes_absurd(tmp_path: Path) -> None:
    bomb = gzip.compress(Layer().file("zeros", b"\0" * (8 << 20)).data)
    limits = Limits(ratio_from=1 << 20)
    assert _damaged(tmp_path, bomb, limits=limits) == ("bomb", False)
    assert _damaged(tmp_path / "b", bomb, limits=Limits(layer_bytes=1 << 20)) == ("bomb", False)


def test_too_many_entries(tmp_path: Path) -> None:
    layer = Layer()
    for number in range(60):
        layer.file(f"f{number}")
    read = read_made(tmp_path, make(layer), Limits(entries=50))
    assert read.problems[0].kind == "bomb"
    assert len(tell(read, FactKind.ADDED)) == 50


def test_headers_without_end(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.pax_headers = {"comment": "y" * 100_000}
    huge = info.tobuf(tarfile.PAX_FORMAT)
    assert _damaged(tmp_path / "a", gzip.compress(huge), limits=Limits(header=50_000)) == ("bomb", False)
    pax = huge[:512] + b"\0" * 512
    chain = b"".join(_pax_header(b"11 path=ab\n") for _ in range(3000))
    assert _damaged(tmp_path / "b", gzip.compress(chain)) == ("bomb", False)
    assert _damaged(tmp_path / "c", gzip.compress(pax))[1] is False


def _pax_header(records: bytes) -> bytes:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, len(records)
    return info.tobuf(tarfile.USTAR_FORMAT) + records.ljust(512, b"\0")


@pytest.mark.parametrize("records", [b"9999 path=x\n", b"path=x\n", b"0 a=b\n", b"5 a=b", b"-1 a=b\n"])
def test_damaged_pax_records(tmp_path: Path, records: bytes) -> None:
    assert _damaged(tmp_path, gzip.compress(_pax_header(records) + _plain())) == ("damaged", False)


def test_a_sparse_file_of_gnu_tar(tmp_path: Path) -> None:
    info = tarfile.TarInfo("sparse")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 5
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[482] = 1
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    data = bytes(header) + b"\0" * 512 + b"12345".ljust(512, b"\0") + Layer().file("after", b"1").data
    read = read_layers(tmp_path, data)
    assert tell(read, FactKind.ADDED) == [("added", "/after", 0), ("added", "/sparse", 0)]


def test_long_names_of_gnu_tar(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("n" * 200))
    assert tell(read_layers(tmp_path, buffer.getvalue())) == [("added", f"/{'n' * 200}", 0)]


def test_indexes_in_indexes_end(tmp_path: Path) -> None:
    files = layout_files(make(Layer().file("a", b"1")))
    for _ in range(8):
        inner = files["index.json"]
        files[blob_name(inner)] = inner
        files["index.json"] = index([descriptor(inner, "application/vnd.oci.image.index.v1+json")])
    with pytest.raises(ImageError, match="nested"):
        read_image(write_layout(tmp_path / "l", files))


@pytest.mark.parametrize(
    "document", [b"", b"[]", b"{", b"[" * 100_000, b'{"manifests": [{"digest": "sha256:../x"}]}']
)
def test_an_index_that_is_none(tmp_path: Path, document: bytes) -> None:
    with pytest.raises(ImageError):
        read_image(write_layout(tmp_path / "l", {"oci-layout": b"{}", "index.json": document}))


def test_blobs_are_not_read_through_symlinks(tmp_path: Path) -> None:
    made = make(Layer().file("a", b"1"))
    directory = write_layout(tmp_path / "l", layout_files(made))
    blob = Path(directory) / blob_name(made.layers[0])
    blob.rename(tmp_path / "elsewhere")
    blob.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ImageError, match="is not in the image"):
        read_image(directory)


def test_an_archive_that_is_cut_off_within_a_layer(tmp_path: Path) -> None:
    files = docker_files(make(Layer().file("a", b"\1" * 100_000), compression=""))
    ordered = dict(sorted(files.items(), key=lambda item: item[0].endswith("layer.tar")))
    whole = Path(write_archive(tmp_path / "i.tar", ordered)).read_bytes()
    (tmp_path / "i.tar").write_bytes(whole[:-40_000])
    read = read_image(str(tmp_path / "i.tar"))
    assert [problem.kind for problem in read.problems] == ["truncated"]


@pytest.mark.parametrize("way", ["../outside.tar", "absolute", "a/../../outside.tar", "linked/outside.tar"])
def test_an_unpacked_archive_names_no_file_outside(tmp_path: Path, way: str) -> None:
    made = make(Layer().file("private", b"1"))
    files = docker_files(made)
    (document,) = json.loads(files["manifest.json"])
    directory = tmp_path / "image"
    outside = tmp_path / "outside.tar"
    (layer,) = document["Layers"]
    outside.write_bytes(files.pop(layer))
    document["Layers"] = [str(outside) if way == "absolute" else way]
    write_layout(directory, {**files, "manifest.json": json.dumps([document]).encode()})
    (directory / "linked").symlink_to(tmp_path)
    with pytest.raises(ImageError, match="layer 0 is not in the archive"):
        read_image(str(directory))
