"""A compose file (compose-spec): ``read_only: true``, ``tmpfs`` and ``volumes``.

``$`` begins a variable there, in every value; ``$$`` stands for one.
"""

from __future__ import annotations

import os

from writeaudit.confine.dialects.common import (
    Subject,
    comments,
    hash_comments,
    is_plain_tmpfs,
    sort_places,
    tmpfs_options,
    volume_names,
    yaml_text,
)
from writeaudit.confine.writable import Kind, Place

_SAYS = (
    "IMAGE is an environment variable. An empty directory comes as a tmpfs, one with content as a volume, "
    "which the "
    "engine fills from the image."
)


def render_compose(subject: Subject) -> str:
    """Return a compose file."""
    found = sort_places(subject.places, "compose", "\n:", why=" (tmpfs and volumes are split at colons)")
    names = volume_names(subject)
    tmpfs = [place for place in found.places if is_plain_tmpfs(place)]
    others = [place for place in found.places if not is_plain_tmpfs(place)]
    extra = [*found.refused, _SAYS]
    if any(place.kind is Kind.BIND for place in others):
        extra.append("Files that are bound alone have to lie beside this file, as copies of the image's.")
    lines = ["services:", f"  {subject.name}:", '    image: "${IMAGE}"', "    read_only: true"]
    if subject.run.command:
        lines += ["    command:", *(f"      - {_value(word)}" for word in subject.run.command)]
    if tmpfs:
        lines += ["    tmpfs:", *(f"      - {_tmpfs(place)}" for place in tmpfs)]
    if others:
        lines.append("    volumes:")
        for place in others:
            lines += _volume(place, names[place.path])
    kept = [place for place in others if place.kind is Kind.VOLUME]
    if kept:
        lines += ["volumes:", *(f"  {names[place.path]}: {{}}" for place in kept)]
    return hash_comments(comments(subject, "compose", extra)) + "\n".join(lines) + "\n"


def _value(raw: bytes) -> str:
    return yaml_text(raw.decode("utf-8", "replace").replace("$", "$$"))


def _tmpfs(place: Place) -> str:
    options = tmpfs_options(place)
    options += [f"uid={place.uid}"] if place.uid else []
    options += [f"gid={place.gid}"] if place.gid else []
    return _value(b"%s:%s" % (place.path, ",".join(options).encode()))


def _volume(place: Place, name: str) -> list[str]:
    if place.kind is Kind.BIND:
        source = b"./" + os.path.basename(place.path)
        head = ["      - type: bind", f"        source: {_value(source)}"]
    else:
        head = ["      - type: volume"]
        head += [f"        source: {name}"] if place.kind is Kind.VOLUME else []
    return [*head, f"        target: {_value(place.path)}"]
