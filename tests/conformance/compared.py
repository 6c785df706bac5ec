"""The tree that a replay leaves, beside the one on the disk."""

from __future__ import annotations

from collections.abc import Iterator

from tests.conformance.causes import changes
from tests.conformance.disk import Entry, FileTree
from tests.conformance.replayed import Node


def compare(path: bytes, node: Node, entry: Entry, seen: dict[int, tuple[int, int]]) -> Iterator[str]:
    """Say how a replayed file differs from that on the disk."""
    if node.fmt is not None and node.fmt != entry.fmt:
        yield f"{path!r} is of type {entry.fmt:o}, the replay says {node.fmt:o}"
    if node.text is not None and node.text != entry.text:
        yield f"{path!r} is a symlink to {entry.text!r}, the replay says {node.text!r}"
    if node.identity is not None and node.identity != entry.identity:
        yield f"{path!r} is another file ({entry.identity}) than in the replay ({node.identity})"
    known = seen.setdefault(id(node), entry.identity)
    if known != entry.identity:
        yield f"{path!r} is a file of its own, the replay says it is a hard link of {known}"


def unexplained(names: dict[bytes, Node], after: FileTree) -> Iterator[str]:
    """Say what changed and has no event that explains it."""
    judged: set[int] = set()
    for path, node in sorted(names.items()):
        entry = after.entries.get(path)
        if entry is None or id(node) in judged:
            continue
        judged.add(id(node))
        for what, causes in changes(node.entry, entry):
            if not causes & node.causes:
                known = ", ".join(sorted(node.causes)) or "nothing"
                yield f"{what} of {path!r} changed, and no event explains it (it has: {known})"
