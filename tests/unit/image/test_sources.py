"""What an image can be read from, and what is said of what is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.container_images import (
    OCI_INDEX,
    OCI_MANIFEST,
    Layer,
    Made,
    blob_name,
    descriptor,
    docker_files,
    index,
    layout_files,
    make,
    write_archive,
    write_layout,
)
from tests.support.read_images import tell
from writeaudit.image import skopeo
from writeaudit.image.documents import own_platform, parse_platform
from writeaudit.image.errors import ImageError
from writeaudit.image.reading import read_image


def _made(name: str = "a", **more: str) -> Made:
    return make(Layer().file(name, b"1"), Layer().file("second", b"2"), **more)  # type: ignore[arg-type]


TOLD = [("added", "/a", 0), ("added", "/second", 1)]


@pytest.mark.parametrize("compression", ["gzip", ""])
@pytest.mark.parametrize("form", ["layout", "archive", "docker", "docker.gz", "docker 25"])
def test_every_form_gives_the_same_answer(tmp_path: Path, form: str, compression: str) -> None:
    made = _made(compression=compression)
    match form:
        case "layout":
            source = write_layout(tmp_path / "l", layout_files(made))
        case "archive":
            source = write_archive(tmp_path / "i.tar", layout_files(made))
        case "docker 25":  # which saves both
            source = write_archive(tmp_path / "i.tar", {**docker_files(made), **layout_files(made)})
        case _:
            source = write_archive(tmp_path / "i.tar", docker_files(made), compressed=form.endswith("gz"))
    read = read_image(source)
    assert tell(read)[:2] == TOLD
    assert read.problems == ()
    assert read.image.platform == "linux/amd64"
    assert [layer.created_by for layer in read.image.layers] == ["RUN step 0", "RUN step 1"]


def test_an_image_of_several_is_named(tmp_path: Path) -> None:
    source = write_layout(tmp_path / "l", layout_files(_made("one"), _made("two"), names=["x:1", "y"]))
    assert tell(read_image(f"{source}:y"))[0] == ("added", "/two", 0)
    assert tell(read_image(f"oci:{source}:x:1"))[0] == ("added", "/one", 0)
    with pytest.raises(ImageError, match="none was named") as raised:
        read_image(source)
    assert raised.value.hint == "name one, DIR:NAME: x:1, y"
    with pytest.raises(ImageError, match="no image z"):
        read_image(f"{source}:z")


def test_docker_archives_know_names(tmp_path: Path) -> None:
    source = write_archive(tmp_path / "i.tar", docker_files(_made(), "app:1"))
    assert read_image(f"{source}:app:1").image.kind == "docker archive"
    with pytest.raises(ImageError, match="no image app:2") as raised:
        read_image(f"{source}:app:2")
    assert raised.value.hint == "there are: app:1"


def _platforms(tmp_path: Path, *names: str) -> str:
    files: dict[str, bytes] = {"oci-layout": b"{}"}
    entries = []
    for name in names:
        made = _made(name, architecture=name)
        files |= layout_files(made)
        platform = {"os": "linux", "architecture": name}
        entries.append(descriptor(made.manifest(), OCI_MANIFEST, platform=platform))
    attestation = {"os": "unknown", "architecture": "unknown"}
    entries.append(descriptor(b"{}", OCI_MANIFEST, platform=attestation))
    inner = index(entries)
    files[blob_name(inner)] = inner
    files["index.json"] = index([descriptor(inner, OCI_INDEX)])
    return write_layout(tmp_path / "l", files)


def test_platforms_in_a_nested_index(tmp_path: Path) -> None:
    own = own_platform().architecture
    source = _platforms(tmp_path, "s390x", own, "riscv64")
    assert tell(read_image(source))[0] == ("added", f"/{own}", 0)
    assert tell(read_image(source, parse_platform("linux/s390x")))[0] == ("added", "/s390x", 0)
    with pytest.raises(ImageError, match="no image for linux/mips") as raised:
        read_image(source, parse_platform("linux/mips"))
    assert "linux/s390x" in str(raised.value.hint)


def test_no_image_for_this_machine(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="none for this machine"):
        read_image(_platforms(tmp_path, "s390x", "riscv64"))


def test_an_image_for_another_machine_is_read_and_that_is_said(tmp_path: Path) -> None:
    source = write_layout(tmp_path / "l", layout_files(_made(architecture="s390x")))
    assert any("it is for linux/s390x" in remark for remark in read_image(source).remarks)


@pytest.mark.parametrize("text", ["arm64", "linux/", "a/b/c/d", "linux/../x"])
def test_platforms_that_are_none(text: str) -> None:
    with pytest.raises(ImageError, match="no platform"):
        parse_platform(text)


def test_media_types_that_are_no_layers(tmp_path: Path) -> None:
    made = _made()._replace(media_type="application/vnd.oci.image.layer.v1.tar+gzip+encrypted")
    with pytest.raises(ImageError, match=r"not supported: application/.*encrypted"):
        read_image(write_layout(tmp_path / "l", layout_files(made)))


def test_artifacts_are_no_images(tmp_path: Path) -> None:
    made = _made()
    manifest = made.manifest().replace(b"vnd.oci.image.config.v1+json", b"vnd.cncf.helm.config.v1+json")
    files = layout_files(made)
    files[blob_name(manifest)] = manifest
    files["index.json"] = index([descriptor(manifest, OCI_MANIFEST)])
    with pytest.raises(ImageError, match="an artifact"):
        read_image(write_layout(tmp_path / "l", files))


def test_a_layer_that_is_missing(tmp_path: Path) -> None:
    made = _made()
    files = layout_files(made)
    del files[blob_name(made.layers[1])]
    with pytest.raises(ImageError, match="layer 1 is not in the image"):
        read_image(write_layout(tmp_path / "l", files))


_ZSTD = bytes.fromhex("28b52ffd04000900006f6e6c79207a65726f73")


def test_zstd_without_a_library_names_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _made()._replace(layers=(_ZSTD,), media_type="application/vnd.oci.image.layer.v1.tar+zstd")
    for name in ("compression.zstd", "backports.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImageError, match="zstd") as raised:
        read_image(write_layout(tmp_path / "l", layout_files(made)))
    assert "pip install zstandard" in str(raised.value.hint)


def test_zstd_with_a_library(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    made = _made(compression="")
    packed = tuple(zstandard.ZstdCompressor().compress(layer) for layer in made.layers)
    media_type = "application/vnd.oci.image.layer.v1.tar+zstd"
    source = write_layout(tmp_path / "l", layout_files(made._replace(layers=packed, media_type=media_type)))
    assert tell(read_image(source))[:2] == TOLD
    blob = tmp_path / "l" / blob_name(packed[1])
    blob.write_bytes(packed[1][:-9])
    assert [problem.layer for problem in read_image(source).problems][:1] == [1]


def test_what_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("hello")
    archive = write_archive(tmp_path / "other.tar", {"a": b"1"})
    for source, message in (
        (str(tmp_path / "empty"), "is empty"),
        (str(tmp_path / "text"), "it is no image"),
        (archive, r"neither index.json \(OCI\) nor manifest.json"),
        (str(tmp_path / "missing"), "No such file"),
        (f"oci:{tmp_path / 'empty'}", "no OCI layout"),
        ("/dev/null", "neither a directory nor a file"),
    ):
        with pytest.raises(ImageError, match=message):
            read_image(source)


@pytest.mark.parametrize("source", ["docker-daemon:app:1", "docker://app", "app:1"])
def test_skopeo_that_is_not_installed_is_named(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ImageError, match="skopeo, which is not installed") as raised:
        read_image(source)
    assert "apt-get install skopeo" in str(raised.value.hint)


def test_skopeo_fetches_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = write_layout(tmp_path / "l", layout_files(_made()))
    fake = tmp_path / "bin/skopeo"
    fake.parent.mkdir()
    fake.write_text(
        f'#!/bin/sh\necho "$@" >{tmp_path}/called\nfor last; do :; done\n'
        f'to=${{last#oci:}}\ncp -r {layout} "${{to%:image}}"\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/bin:/usr/bin")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert tell(read_image("docker-daemon:app:1", parse_platform("linux/amd64")))[:2] == TOLD
    assert (
        (tmp_path / "called")
        .read_text()
        .startswith("--override-os linux --override-arch amd64 copy --quiet docker-daemon:app:1 oci:")
    )
    assert not list(tmp_path.glob("writeaudit-image-*"))


def test_what_skopeo_says_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "skopeo"
    fake.write_text('#!/bin/sh\necho \'time="x" level=fatal msg="no such registry"\' >&2\nexit 1\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(ImageError, match="skopeo cannot fetch app:1: no such registry"):
        read_image("app:1")
    assert {"docker", "docker-daemon", "containers-storage"} <= skopeo.TRANSPORTS


def test_what_a_killed_run_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fake = tmp_path / "bin/skopeo"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/bin:/usr/bin")
    left, others = tmp_path / "writeaudit-image-left", tmp_path / "writeaudit-image-being-made"
    left.mkdir()
    others.mkdir()
    (left / "lock").touch()
    (left / "layout").mkdir()
    with skopeo._locked(str(others)), pytest.raises(ImageError):
        read_image("app:1")
    assert not left.exists()
    assert others.exists()
