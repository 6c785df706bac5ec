"""What an image is read from: which kind of source it is, and which of its manifests is meant."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from writeaudit.image import skopeo
from writeaudit.image.documents import (
    Config,
    Descriptor,
    Platform,
    check_manifest,
    config_of,
    documents_in,
    items_of,
    layers_of,
    machine_of,
    manifests_of,
    object_of,
    own_platform,
    parse,
    read_config,
    text_of,
)
from writeaudit.image.errors import ImageError
from writeaudit.image.limits import Limits
from writeaudit.image.stores import ArchiveStore, DirectoryStore, Store, open_archive
from writeaudit.image.streams import CHUNK
from writeaudit.text import escape_text, nearest, size

OCI_LAYOUT, OCI_ARCHIVE, DOCKER_ARCHIVE = "OCI layout", "OCI archive", "docker archive"
DIRECTORY = "directory"
_PREFIXES = {
    "oci": (OCI_LAYOUT,),
    "oci-archive": (OCI_ARCHIVE,),
    "docker-archive": (DOCKER_ARCHIVE,),
    "dir": (DIRECTORY,),
}
_SHOWN_NAMES = 8


class StoredLayer(NamedTuple):
    """Where a layer's bytes are, and what they should be."""

    name: str
    """In the store."""
    digest: str
    """Of what is stored; empty if nothing says it."""
    media_type: str
    size: int
    """Bytes that are stored."""
    diff_id: str
    """Digest of the decompressed archive, as the configuration has it; empty if it does not."""
    problem: str = ""
    """Why it is not what the manifest says before a byte of it is read."""


class OpenImage(NamedTuple):
    """An image whose documents are read and whose layers are there to be."""

    kind: str
    store: Store | None
    """None for a directory."""
    directory: str
    """The root directory, where that is the source."""
    digest: str
    config: Config
    layers: tuple[StoredLayer, ...]
    remarks: tuple[str, ...] = ()
    """What its reader should know. Sentences, safe to show."""
    problems: tuple[str, ...] = ()
    """What is wrong with it as a whole: findings. Sentences, safe to show."""


@contextmanager
def open_image(source: str, platform: Platform | None, limits: Limits) -> Iterator[OpenImage]:
    """Open an image by what the command line calls it. Raises `ImageError`."""
    kinds, path, reference = _split(source)
    if kinds is None:
        with skopeo.fetched(source, platform) as directory:
            yield _open_layout(DirectoryStore(directory), OCI_LAYOUT, None, platform, limits)
        return
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        reason = os.strerror(getattr(error, "errno", None) or 2)
        raise ImageError(f"cannot read {escape_text(path)}: {reason}", hint=_SOURCES) from error
    if stat.S_ISDIR(mode):
        yield _open_directory(path, kinds, reference, platform, limits)
    elif stat.S_ISREG(mode):
        if DIRECTORY in kinds and len(kinds) == 1:
            raise ImageError(f"{escape_text(path)} is no directory")
        with open_archive(path, limits) as store:
            yield _open_archive(store, path, reference, platform, limits)
    else:
        raise ImageError(f"{escape_text(path)} is neither a directory nor a file", hint=_SOURCES)


_SOURCES = (
    "SOURCE is an OCI layout (DIR or DIR:NAME), an archive (docker save, skopeo copy … oci-archive:F), the "
    "root directory of a file system, or a reference for skopeo: docker-daemon:NAME:TAG, "
    "containers-storage:NAME, docker://NAME"
)


def _split(source: str) -> tuple[tuple[str, ...] | None, str, str | None]:
    """Return the kinds that it may be, its path, and the name in it. No kinds: skopeo is to fetch it."""
    prefix, colon, rest = source.partition(":")
    every = (OCI_LAYOUT, OCI_ARCHIVE, DOCKER_ARCHIVE, DIRECTORY)
    if colon and prefix in _PREFIXES and rest:
        path, reference = _named(rest)
        return _PREFIXES[prefix], path, reference
    if colon and (prefix in skopeo.TRANSPORTS):
        return None, source, None
    if os.path.lexists(source):
        return every, source, None
    path, reference = _named(source)
    if reference is not None or "/" in source[:2] or source.startswith("."):
        return every, path, reference
    return None, source, None


def _named(text: str) -> tuple[str, str | None]:
    """Return a path and the name of an image in it, where both are given."""
    if os.path.lexists(text):
        return text, None
    place = text.find(":")
    while place >= 0:
        if os.path.lexists(text[:place]):
            return text[:place], text[place + 1 :]
        place = text.find(":", place + 1)
    return text, None


def _open_directory(
    path: str, kinds: tuple[str, ...], reference: str | None, platform: Platform | None, limits: Limits
) -> OpenImage:
    store = DirectoryStore(path)
    if OCI_LAYOUT in kinds and store.has("index.json") and (store.has("oci-layout") or len(kinds) == 1):
        return _open_layout(store, OCI_LAYOUT, reference, platform, limits)
    if DOCKER_ARCHIVE in kinds and store.has("manifest.json") and not os.path.isdir(f"{path}/etc"):
        return _open_docker(store, reference, platform, limits)
    if DIRECTORY not in kinds:
        raise ImageError(f"{escape_text(path)} is no OCI layout: it has no index.json", hint=_SOURCES)
    if reference is not None:
        raise ImageError(f"{escape_text(path)} is no OCI layout, so it has no image {escape_text(reference)}")
    _check_root(path)
    return OpenImage(DIRECTORY, None, path, "", Config(), ())


_TOP = frozenset({"bin", "etc", "usr", "lib", "sbin", "opt", "app", "var", "srv", "home", "root"})


def _check_root(path: str) -> None:
    try:
        names = os.listdir(path)
    except OSError as error:
        raise ImageError(f"cannot read {escape_text(path)}: {os.strerror(error.errno or 0)}") from error
    if not names:
        raise ImageError(f"{escape_text(path)} is empty: no image", hint=_SOURCES)


def _open_archive(
    store: ArchiveStore, path: str, reference: str | None, platform: Platform | None, limits: Limits
) -> OpenImage:
    if store.has("index.json"):
        return _open_layout(store, OCI_ARCHIVE, reference, platform, limits)
    if store.has("manifest.json"):
        return _open_docker(store, reference, platform, limits)
    raise ImageError(
        f"{escape_text(path)} is no image: it has neither index.json (OCI) nor manifest.json (docker save)",
        hint="the file system of a container (docker export) is unpacked first, and its directory given",
    )


def _read_document(
    store: Store, name: str, what: str, limits: Limits, expected: Descriptor | None = None
) -> bytes:
    count = store.size(name)
    if count > limits.document:
        raise ImageError(f"{what} is larger than {size(limits.document)}")
    parts, left = [], limits.document + 1
    with store.open(name) as file:
        while left and (data := file.read(min(left, CHUNK))):
            parts.append(data)
            left -= len(data)
    whole = b"".join(parts)
    if not left:
        raise ImageError(f"{what} is larger than {size(limits.document)}")
    if expected is not None:
        algorithm, _, value = expected.digest.partition(":")
        if hashlib.new(algorithm, whole, usedforsecurity=False).hexdigest() != value:
            raise ImageError(
                f"{what} is not what its digest says ({expected.digest[:19]}…): the image is damaged or was "
                "changed"
            )
    return whole


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _open_layout(
    store: Store, kind: str, reference: str | None, platform: Platform | None, limits: Limits
) -> OpenImage:
    if not store.has("index.json"):
        raise ImageError("it is no OCI layout: it has no index.json", hint=_SOURCES)
    index = parse(_read_document(store, "index.json", "index.json", limits), "index.json")
    found = manifests_of(index, "index.json", limits)
    if reference is not None:
        named = [each for each in found if reference in (*each.names, each.digest)]
        if not named:
            names = list(documents_in(index))
            near = nearest(reference, names)
            known = ", ".join(names[:_SHOWN_NAMES]) or "none has a name"
            raise ImageError(
                f"there is no image {escape_text(reference)} in it",
                hint=f"{f'did you mean {near}? ' if near else ''}There are: {known}",
            )
        found = named
    elif len({name for each in found for name in each.names[:1]}) > 1:
        names = list(documents_in(index))
        raise ImageError(
            "it holds several images, and none was named",
            hint=f"name one, DIR:NAME: {', '.join(names[:_SHOWN_NAMES])}",
        )
    manifest, descriptor, remarks = _choose(store, found, platform, limits)
    config_at = config_of(manifest)
    _check_there(store, config_at, "the configuration")
    document = parse(
        _read_document(store, _blob(config_at.digest), "the configuration", limits, config_at),
        "the configuration",
    )
    config = read_config(document, limits)
    layers = []
    for number, layer in enumerate(layers_of(manifest, limits)):
        _check_there(store, layer, f"layer {number}")
        stored = store.size(_blob(layer.digest))
        problem = ""
        if layer.size is not None and layer.size != stored:
            problem = f"it has {stored:,} bytes, and its manifest says {layer.size:,}"
        layers.append(
            StoredLayer(
                _blob(layer.digest), layer.digest, layer.media_type, stored, _diff_id(config, number), problem
            )
        )
    return _checked(kind, store, descriptor.digest, config, tuple(layers), platform, remarks)


def _check_there(store: Store, descriptor: Descriptor, what: str) -> None:
    if not store.has(_blob(descriptor.digest)):
        raise ImageError(
            f"{what} is not in the image: {_blob(descriptor.digest)[:25]}… is missing",
            hint="copy it in full: skopeo copy --all SOURCE oci:DIR",
        )


def _diff_id(config: Config, number: int) -> str:
    return config.diff_ids[number] if number < len(config.diff_ids) else ""


def _choose(
    store: Store, found: list[Descriptor], platform: Platform | None, limits: Limits, depth: int = 0
) -> tuple[dict[str, object], Descriptor, list[str]]:
    """Return the manifest of the platform that is wanted, through indexes in indexes."""
    if depth > limits.nesting:
        raise ImageError(f"its indexes are nested more than {limits.nesting} deep")
    images = [each for each in found if not each.is_attestation and each.platform.os != "unknown"]
    chosen, remarks = _best(images, platform)
    _check_there(store, chosen, "a manifest")
    document = parse(_read_document(store, _blob(chosen.digest), "a manifest", limits, chosen), "a manifest")
    if check_manifest(document, chosen.media_type):
        inner = manifests_of(document, "an index", limits)
        manifest, descriptor, more = _choose(store, inner, platform, limits, depth + 1)
        return manifest, descriptor, [*remarks, *more]
    return dict(document), chosen, remarks


def _best(images: list[Descriptor], platform: Platform | None) -> tuple[Descriptor, list[str]]:
    if not images:
        raise ImageError("it holds no image")
    stated = [each for each in images if each.platform.os]
    known = ", ".join(sorted({str(each.platform) for each in stated}))
    if platform is not None and stated:
        fitting = [each for each in stated if each.platform.answers(platform)]
        if not fitting and len(stated) == len(images):
            raise ImageError(f"it has no image for {platform}", hint=f"it has: {known}")
        return (fitting or [each for each in images if not each.platform.os])[0], []
    if len(images) == 1:
        return images[0], []
    own = own_platform()
    fitting = [each for each in stated if each.platform.answers(own)]
    if not fitting:
        raise ImageError(
            f"it has images for {known or 'several platforms'}, and none for this machine's, {own}",
            hint="name one: --platform linux/arm64",
        )
    others = [] if len(stated) < 2 else [f"it has images for {known}; this is the one for {own}"]
    return fitting[0], others


def _open_docker(store: Store, reference: str | None, platform: Platform | None, limits: Limits) -> OpenImage:
    raw = _read_document(store, "manifest.json", "manifest.json", limits)
    try:
        images = [object_of(each) for each in items_of(json.loads(raw))]
    except (ValueError, RecursionError) as error:
        raise ImageError(f"manifest.json is no JSON: {type(error).__name__}") from error
    tags = [[text_of(tag) for tag in items_of(each.get("RepoTags"))] for each in images]
    if reference is not None:
        chosen = [each for each, names in zip(images, tags, strict=True) if reference in names]
        if not chosen:
            known = [escape_text(name) for names in tags for name in names]
            raise ImageError(
                f"there is no image {escape_text(reference)} in it",
                hint=f"there are: {', '.join(known[:_SHOWN_NAMES]) or 'none has a name'}",
            )
        images = chosen
    if len(images) != 1:
        known = [escape_text(name) for names in tags for name in names[:1]]
        raise ImageError(
            "it holds no image" if not images else "it holds several images, and none was named",
            hint=f"name one, FILE:NAME: {', '.join(known[:_SHOWN_NAMES])}" if known else None,
        )
    (image,) = images
    name = text_of(image.get("Config"))
    if not name or not store.has(name):
        raise ImageError("the configuration of the image is not in the archive")
    raw = _read_document(store, name, "the configuration", limits)
    digest = f"sha256:{hashlib.sha256(raw, usedforsecurity=False).hexdigest()}"
    config = read_config(parse(raw, "the configuration"), limits)
    stated = os.path.basename(name).removesuffix(".json")
    problems = []
    if len(stated) == len(digest) - 7 and f"sha256:{stated}" != digest:
        problems.append("the configuration is not what its name, a digest, says")
    layers = []
    names = [text_of(each) for each in items_of(image.get("Layers"))]
    if len(names) > limits.layers:
        raise ImageError(f"it has more than {limits.layers:,} layers")
    for number, layer in enumerate(names):
        if not store.has(layer):
            raise ImageError(f"layer {number} is not in the archive: {escape_text(layer[:80])}")
        diff_id = _diff_id(config, number)
        directory, _, last = layer.rpartition("/")
        digest_of = f"sha256:{last}" if directory == "blobs/sha256" else ""
        layers.append(StoredLayer(layer, digest_of, "", store.size(layer), diff_id))
    opened = _checked(DOCKER_ARCHIVE, store, digest, config, tuple(layers), platform, [])
    return opened._replace(problems=(*opened.problems, *problems))


def _checked(
    kind: str,
    store: Store,
    digest: str,
    config: Config,
    layers: tuple[StoredLayer, ...],
    platform: Platform | None,
    remarks: list[str],
) -> OpenImage:
    if platform is not None and config.platform.os and not config.platform.answers(platform):
        raise ImageError(
            f"it is an image for {escape_text(str(config.platform))}, not for {platform}",
            hint="leave out --platform, or fetch the other one: skopeo copy --override-arch …",
        )
    own = own_platform()
    if platform is None and config.platform.architecture:
        runs = machine_of(config.platform.architecture) == os.uname().machine
        if not runs or config.platform.os != own.os:
            remarks = [*remarks, f"it is for {escape_text(str(config.platform))}; this machine is {own}"]
    problems = []
    if config.diff_ids and len(config.diff_ids) != len(layers):
        problems.append(
            f"the configuration has digests of {len(config.diff_ids)} layers, and the image has {len(layers)}"
        )
    made = sum(makes for _text, makes in config.history)
    if config.history and made != len(layers):
        unknown = (
            f"its history has {made} build steps that made layers, and it has {len(layers)} layers: which "
            "step made which is not known"
        )
        remarks = [*remarks, unknown]
    return OpenImage(kind, store, "", digest, config, layers, tuple(remarks), tuple(problems))
