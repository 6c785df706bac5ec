"""The JSON documents of an image: index, manifest, configuration (OCI image-spec 1.1, docker image-spec 1.2).

Nothing in them is to be trusted: each value is looked at before it is used.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from writeaudit.container_image import BuildStep
from writeaudit.credentials import redact_text
from writeaudit.image.errors import ImageError
from writeaudit.image.limits import Limits
from writeaudit.text import escape_text

DIGEST = re.compile(r"(sha256|sha512):[0-9a-f]{64}(?:[0-9a-f]{64})?\Z")
INDEXES = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)
MANIFESTS = frozenset(
    {
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    }
)
_CONFIGS = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)
_LAYERS = re.compile(
    r"application/vnd\.(?:oci\.image\.layer(?:\.nondistributable)?\.v1\.tar(?:\+gzip|\+zstd)?"
    r"|docker\.image\.rootfs\.(?:diff|foreign\.diff)\.tar(?:\.gzip|\.zstd)?)\Z"
)
_REF = "org.opencontainers.image.ref.name"
_CONTAINERD_REF = "io.containerd.image.name"
_MOST_TEXT = 4096
_SHOWN = 80

Json = Mapping[str, object]


class Platform(NamedTuple):
    """What an image is for; empty texts where nothing says it."""

    os: str = ""
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        """Return ``linux/arm64/v8``."""
        return "/".join(part for part in self if part)

    def answers(self, wanted: Platform) -> bool:
        """Whether it is what is wanted; a variant that is not asked for does not count."""
        same = self.os == wanted.os and self.architecture == wanted.architecture
        return same and wanted.variant in ("", self.variant)


_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "i386": "386"}
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "arm": "armv7l"}


def own_platform() -> Platform:
    """Return that of this machine."""
    machine = os.uname().machine
    return Platform("linux", _ARCHITECTURES.get(machine, machine))


def parse_platform(text: str) -> Platform:
    """Return ``linux/arm64/v8`` in parts. Raises `ImageError`."""
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(re.fullmatch(r"[a-z0-9_]+", part) for part in parts):
        raise ImageError(f"no platform: {text}", hint="for example: --platform linux/arm64")
    system, architecture, *rest = parts
    return Platform(system, _ARCHITECTURES.get(architecture, architecture), *rest)


def machine_of(architecture: str) -> str:
    """Return what uname(2) calls an architecture of image documents."""
    return _MACHINES.get(architecture, architecture)


class Descriptor(NamedTuple):
    """What points to a blob."""

    digest: str
    media_type: str
    size: int | None
    platform: Platform
    names: tuple[str, ...] = ()
    is_attestation: bool = False
    """Whether it only describes another one (provenance, SBOM)."""


class Config(NamedTuple):
    """What the configuration says; texts are safe to show, without credentials."""

    platform: Platform = Platform()
    user: str | None = None
    env: tuple[tuple[str, str], ...] = ()
    """Names and values. The values are not safe to show."""
    command: tuple[str, ...] = ()
    working_dir: str = ""
    diff_ids: tuple[str, ...] = ()
    history: tuple[tuple[str, bool], ...] = ()
    """For each build step its text, not safe to show, and whether it made a layer."""


def shown(text: str) -> str:
    """Return a text of an image as it may be shown: without credentials, escaped."""
    return escape_text(redact_text(text[:_MOST_TEXT]))


def parse(data: bytes, what: str) -> Json:
    """Return a document that is an object. Raises `ImageError`."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{what} is no JSON: {type(error).__name__}") from error
    if not isinstance(value, dict):
        raise ImageError(f"{what} is no JSON object")
    return value


def text_of(value: object) -> str:
    """Return a text, empty if it is none."""
    return value if isinstance(value, str) else ""


def items_of(value: object) -> Sequence[object]:
    """Return a list, empty if it is none."""
    return value if isinstance(value, list) else ()


def object_of(value: object) -> Json:
    """Return an object, empty if it is none."""
    return value if isinstance(value, dict) else {}


def _descriptor(value: object, what: str) -> Descriptor:
    held = object_of(value)
    digest = text_of(held.get("digest"))
    if not DIGEST.match(digest):
        raise ImageError(f"{what} has no proper digest: {escape_text(digest[:_SHOWN]) or 'none'}")
    size = held.get("size")
    platform = object_of(held.get("platform"))
    notes = object_of(held.get("annotations"))
    names = tuple(name for key in (_REF, _CONTAINERD_REF) if (name := text_of(notes.get(key))))
    return Descriptor(
        digest,
        text_of(held.get("mediaType")),
        size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
        _platform(platform),
        names,
        text_of(notes.get("vnd.docker.reference.type")) == "attestation-manifest",
    )


def _platform(held: Json) -> Platform:
    return Platform(text_of(held.get("os")), text_of(held.get("architecture")), text_of(held.get("variant")))


def manifests_of(index: Json, what: str, limits: Limits) -> list[Descriptor]:
    """Return what an index points to. Raises `ImageError`."""
    entries = items_of(index.get("manifests"))
    if len(entries) > limits.manifests:
        raise ImageError(f"{what} names more than {limits.manifests:,} manifests")
    return [_descriptor(entry, what) for entry in entries]


def layers_of(manifest: Json, limits: Limits) -> list[Descriptor]:
    """Return the layers of a manifest, the lowest first. Raises `ImageError` for types that are no layers."""
    entries = items_of(manifest.get("layers"))
    if len(entries) > limits.layers:
        raise ImageError(f"the manifest names more than {limits.layers:,} layers")
    layers = [_descriptor(entry, "a layer") for entry in entries]
    for layer in layers:
        if not _LAYERS.match(layer.media_type):
            raise ImageError(
                f"a layer has a media type that is not supported: {_type(layer.media_type)}",
                hint="supported are tar archives: plain, gzip, zstd. This may be an artifact, or encrypted",
            )
    return layers


def config_of(manifest: Json) -> Descriptor:
    """Return what points to the configuration. Raises `ImageError` for an artifact that is no image."""
    config = _descriptor(manifest.get("config"), "the configuration")
    if config.media_type and config.media_type not in _CONFIGS:
        raise ImageError(
            f"it is no container image, but an artifact: its configuration is {_type(config.media_type)}",
            hint="images have application/vnd.oci.image.config.v1+json",
        )
    return config


def check_manifest(document: Json, media_type: str) -> bool:
    """Whether a document is an index (true) or a manifest (false). Raises `ImageError` for anything else."""
    named = text_of(document.get("mediaType")) or media_type
    if named in INDEXES or (not named and "manifests" in document):
        return True
    if named in MANIFESTS or (not named and "layers" in document and "config" in document):
        return False
    if document.get("schemaVersion") == 1 or "fsLayers" in document:
        raise ImageError(
            "it is a docker image of schema version 1, which is not supported",
            hint="convert it: skopeo copy --format v2s2 SOURCE oci:DIR",
        )
    raise ImageError(f"a manifest has a media type that is not supported: {_type(named)}")


def _type(media_type: str) -> str:
    return escape_text(media_type[:_SHOWN]) or "none is given"


def read_config(document: Json, limits: Limits) -> Config:
    """Return what a configuration says."""
    held = object_of(document.get("config"))
    env = []
    for each in items_of(held.get("Env"))[: limits.manifests]:
        name, _, value = text_of(each).partition("=")
        env.append((name, value))
    words = [*items_of(held.get("Entrypoint")), *items_of(held.get("Cmd"))][: limits.manifests]
    history = [object_of(each) for each in items_of(document.get("history"))[: 2 * limits.layers]]
    diff_ids = items_of(object_of(document.get("rootfs")).get("diff_ids"))[: limits.layers + 1]
    return Config(
        platform=_platform(document),
        user=text_of(held.get("User")),
        env=tuple(env),
        command=tuple(shown(text_of(word)) for word in words),
        working_dir=shown(text_of(held.get("WorkingDir"))),
        diff_ids=tuple(text_of(each) for each in diff_ids),
        history=tuple(
            (text_of(each.get("created_by"))[:_MOST_TEXT], each.get("empty_layer") is not True)
            for each in history
        ),
    )


def assign_steps(config: Config, layers: int) -> tuple[BuildStep, ...]:
    """Return the build steps, each with its layer; without layers where their numbers do not agree."""
    made = sum(makes for _text, makes in config.history)
    number = iter(range(layers))
    return tuple(
        BuildStep(shown(text), next(number) if makes and made == layers else None)
        for text, makes in config.history
    )


def documents_in(index: Json) -> Iterator[str]:
    """Yield the names that an index has for its manifests, for a hint."""
    for entry in items_of(index.get("manifests")):
        notes = object_of(object_of(entry).get("annotations"))
        for key in (_REF, _CONTAINERD_REF):
            if name := text_of(notes.get(key)):
                yield escape_text(name[:_SHOWN])
