"""Container images made by hand: layers, OCI layouts and archives, docker archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")
"""The attribute security.capability for cap_net_raw=ep."""


class Layer:
    """One layer as a tar archive, entry by entry."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def file(
        self,
        name: str,
        data: bytes = b"",
        *,
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
        mtime: int = 0,
        pax: Mapping[str, str] | None = None,
    ) -> Self:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.uid, info.gid, info.mtime = len(data), mode, uid, gid, mtime
        info.pax_headers = dict(pax or {})
        self._tar.addfile(info, io.BytesIO(data))
        return self

    def directory(self, name: str, *, mode: int = 0o755) -> Self:
        return self._other(name, tarfile.DIRTYPE, mode=mode)

    def symlink(self, name: str, target: str) -> Self:
        return self._other(name, tarfile.SYMTYPE, target, mode=0o777)

    def hard_link(self, name: str, target: str) -> Self:
        return self._other(name, tarfile.LNKTYPE, target)

    def device(self, name: str, major: int, minor: int, *, mode: int = 0o666) -> Self:
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.devmajor, info.devminor = tarfile.CHRTYPE, mode, major, minor
        self._tar.addfile(info)
        return self

    def whiteout(self, path: str) -> Self:
        directory, slash, name = path.rpartition("/")
        return self.file(f"{directory}{slash}.wh.{name}")

    def opaque(self, directory: str) -> Self:
        return self.file(f"{directory}/.wh..wh..opq")

    def _other(self, name: str, kind: bytes, target: str = "", *, mode: int = 0o644) -> Self:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode = kind, target, mode
        self._tar.addfile(info)
        return self

    @property
    def data(self) -> bytes:
        """The archive, ended."""
        self._tar.close()
        return self._buffer.getvalue()


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Made(NamedTuple):
    """The parts of an image."""

    config: bytes
    layers: tuple[bytes, ...]
    """As they are stored."""
    media_type: str

    def manifest(self) -> bytes:
        return json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": descriptor(self.config, OCI_CONFIG),
                "layers": [descriptor(layer, self.media_type) for layer in self.layers],
            }
        ).encode()


def descriptor(data: bytes, media_type: str, **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}


def make(
    *layers: Layer | bytes,
    config: Mapping[str, object] | None = None,
    history: Sequence[Mapping[str, object]] | None = None,
    architecture: str = "amd64",
    compression: str = "gzip",
) -> Made:
    """Return an image of these layers; without ``history`` each layer has a step ``RUN step N``."""
    plain = [layer.data if isinstance(layer, Layer) else layer for layer in layers]
    document = {
        "os": "linux",
        "architecture": architecture,
        "config": {"User": "1000", **(config or {})},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(data) for data in plain]},
        "history": (
            [{"created_by": f"RUN step {number}"} for number, _ in enumerate(plain)]
            if history is None
            else list(history)
        ),
    }
    stored = [gzip.compress(data, 1, mtime=0) if compression == "gzip" else data for data in plain]
    media_type = f"{OCI_LAYER}+{compression}" if compression else OCI_LAYER
    return Made(json.dumps(document).encode(), tuple(stored), media_type)


def layout_files(*images: Made, names: Sequence[str] = (), **more: object) -> dict[str, bytes]:
    """Return the files of an OCI layout, by name. ``more``: additions to the descriptor of each manifest."""
    files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
    entries = []
    for number, image in enumerate(images):
        manifest = image.manifest()
        for blob in (manifest, image.config, *image.layers):
            files[blob_name(blob)] = blob
        notes = {"org.opencontainers.image.ref.name": names[number]} if names else {}
        entries.append(descriptor(manifest, OCI_MANIFEST, annotations=notes, **more))
    files["index.json"] = index(entries)
    return files


def index(entries: Sequence[Mapping[str, object]]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}).encode()


def blob_name(data: bytes) -> str:
    return f"blobs/{digest_of(data).replace(':', '/')}"


def write_layout(directory: Path, files: Mapping[str, bytes]) -> str:
    for name, data in files.items():
        place = directory / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return str(directory)


def write_archive(path: Path, files: Mapping[str, bytes], *, compressed: bool = False) -> str:
    with tarfile.open(path, "w:gz" if compressed else "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return str(path)


def docker_files(image: Made, name: str = "made:latest") -> dict[str, bytes]:
    """Return the members of what `docker save` writes, before version 25."""
    config = digest_of(image.config).removeprefix("sha256:")
    layers = {f"{number:064d}/layer.tar": data for number, data in enumerate(image.layers)}
    listed = [{"Config": f"{config}.json", "RepoTags": [name], "Layers": list(layers)}]
    return {**layers, f"{config}.json": image.config, "manifest.json": json.dumps(listed).encode()}
