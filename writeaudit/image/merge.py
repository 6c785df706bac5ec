"""Lays one layer upon another, and notes what becomes of each path.

After the OCI image-spec, "Image Layer Filesystem Changeset": a layer says what is new, what is removed
(``.wh.NAME``), and which directories begin anew (``.wh..wh..opq``). Whiteouts hold for the layers below,
wherever in the layer they stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from writeaudit.container_image import Fact, FactKind
from writeaudit.image.entries import Entry, EntryType
from writeaudit.image.errors import Damage
from writeaudit.image.limits import Limits
from writeaudit.image.nodes import Examiner, Node, describe
from writeaudit.paths import last_component, parent_directory
from writeaudit.text import escape_path, size

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_INTERNAL = b".wh..wh."
"""How names of aufs' own begin."""
_MOST_DROPPED = 1000


class _Refused(Exception):
    """An entry that is not taken; the message says why."""


class Tree:
    """The file system that the layers up to now make."""

    def __init__(self, limits: Limits, examiner: Examiner) -> None:
        self._limits = limits
        self._examiner = examiner
        self.live: dict[bytes, Node] = {}
        self.stored: list[Node] = []
        """Every file whose bytes a layer holds, in their order."""
        self.facts: list[Fact] = []
        self.refused: list[Fact] = []
        """Entries that were not taken; they are in `facts` as well."""
        self.counted = 0
        """Entries up to now."""
        self.entries = 0
        self.content = 0
        """Of the last layer."""
        self._names: dict[bytes, set[bytes]] = {}
        """The names in each directory, also of those that no layer has an entry for."""

    def add_layer(self, number: int, entries: Iterable[Entry], *, whiteouts: bool = True) -> None:
        """Take the next layer. Raises `errors.Damage`; what was read until then is taken all the same.

        ``whiteouts``: whether names that begin with ``.wh.`` are whiteouts. In a directory they are files.
        """
        layer = _LayerReader(number, self, self._limits, self._examiner, whiteouts)
        try:
            for entry in entries:
                self.counted += 1
                if self.counted > self._limits.entries:
                    raise Damage(f"the image has more than {self._limits.entries:,} entries", "bomb")
                layer.take(entry)
        finally:
            layer.link_late()
            self._merge(layer)

    def implies(self, path: bytes) -> bool:
        """Whether there is something below a path, with or without an entry for the directory."""
        return bool(self._names.get(path))

    def _merge(self, layer: _LayerReader) -> None:
        facts = layer.facts
        self.entries, self.content = layer.entries, layer.content
        self.stored += layer.stored
        for place in dict.fromkeys(layer.opaque):
            for name in list(self._names.get(place, ())):
                self._remove(_join(place, name), layer, "opaque directory", facts)
        for path in dict.fromkeys(layer.gone):
            self._remove(path, layer, "whiteout", facts)
        for path, node in layer.new.items():
            old = self.live.get(path)
            if old is None:
                facts.append(Fact(FactKind.ADDED, path, layer.number, layer.details.get(path, ""), node.size))
                if not node.is_directory:
                    self._remove_below(path, layer, f"the directory became a {node.type}", facts)
            else:
                facts += _changes(path, old, node, layer.number)
                if old.is_directory and not node.is_directory:
                    self._remove_below(path, layer, f"the directory became a {node.type}", facts)
            self._put(path, node)
        facts.sort(key=lambda fact: (fact.path or b"", fact.kind is not FactKind.DELETED))
        self.facts += facts
        self.refused += layer.refused
        self.facts += layer.refused

    def _put(self, path: bytes, node: Node) -> None:
        self.live[path] = node
        while path != b"/":
            above = parent_directory(path)
            names = self._names.setdefault(above, set())
            name = last_component(path)
            if name in names:
                return
            names.add(name)
            path = above

    def _remove(self, path: bytes, layer: _LayerReader, why: str, facts: list[Fact]) -> None:
        """Remove what lower layers have there and below, unless this layer has it as well."""
        pending = [path]
        while pending:
            each = pending.pop()
            node = self.live.get(each)
            pending += [_join(each, name) for name in self._names.get(each, ())]
            if each in layer.new:
                continue
            if node is not None:
                del self.live[each]
                facts.append(Fact(FactKind.DELETED, each, layer.number, why, node.size))
        self._forget(path)

    def _remove_below(self, path: bytes, layer: _LayerReader, why: str, facts: list[Fact]) -> None:
        for name in list(self._names.get(path, ())):
            self._remove(_join(path, name), layer, why, facts)

    def _forget(self, path: bytes) -> None:
        """Take out the names of directories in which nothing is left."""
        order = [path]
        for each in order:
            order += [_join(each, name) for name in self._names.get(each, ())]
        for each in reversed(order):
            if each in self.live or self._names.get(each):
                continue
            self._names.pop(each, None)
            if each != b"/":
                self._names.get(parent_directory(each), set()).discard(last_component(each))


class _LayerReader:
    """One layer, before it is laid upon the others."""

    def __init__(self, number: int, tree: Tree, limits: Limits, examiner: Examiner, whiteouts: bool) -> None:
        self.number = number
        self._whiteouts = whiteouts
        self.new: dict[bytes, Node] = {}
        self.gone: list[bytes] = []
        self.opaque: list[bytes] = []
        self.stored: list[Node] = []
        self.facts: list[Fact] = []
        self.refused: list[Fact] = []
        self.details: dict[bytes, str] = {}
        self.entries = 0
        self.content = 0
        self._live = tree.live
        self._limits = limits
        self._examiner = examiner
        self._late: list[tuple[Entry, bytes]] = []
        """Hard links to what had not been met."""
        self._directories: dict[bytes, bytes] = {}
        """Directories as they are spelled, without a slash before them, and where they lead to."""
        self._dropped = 0

    def take(self, entry: Entry) -> None:
        """Take one entry."""
        self.entries += 1
        try:
            path = self._resolve(entry.name)
            name = last_component(path) if self._whiteouts else b""
            if name == _OPAQUE:
                self.opaque.append(parent_directory(path))
            elif name.startswith(_INTERNAL):
                return
            elif name.startswith(_WHITEOUT):
                self._take_whiteout(path, name)
            elif entry.type is EntryType.HARD_LINK:
                self._link(entry, path)
            else:
                self._check_symlink(entry, path)
                self._add(path, self._examiner.node(entry, path, self.number))
        except _Refused as refused:
            name = entry.name[: self._limits.path]
            self.refused.append(Fact(FactKind.TRAVERSAL, name, self.number, str(refused), entry.size))

    def _take_whiteout(self, path: bytes, name: bytes) -> None:
        hidden = name[len(_WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise _Refused("a whiteout of no name")
        self.gone.append(_join(parent_directory(path), hidden))

    def _add(self, path: bytes, node: Node) -> None:
        before = self.new.get(path)
        if before is not None and before.size and before is not node:
            self.facts.append(
                Fact(FactKind.OVERWRITTEN, path, self.number, "twice in this layer", before.size)
            )
        if before is not None and before.is_directory and not node.is_directory:
            self._drop_below(path)
        if node.path == path and node.type is EntryType.FILE:
            self.stored.append(node)
            self.content += node.size
        self.new[path] = node
        lower = self._live.get(path)
        if (
            before is not None
            or node.type is EntryType.SYMLINK
            or (lower is not None and lower.type is not node.type)
            or (not node.is_directory and path[1:] in self._directories)
        ):
            self._directories.clear()

    def _drop_below(self, path: bytes) -> None:
        self._dropped += 1
        if self._dropped > _MOST_DROPPED:
            raise Damage("too many of its directories become something else within it", "bomb")
        below = path + b"/"
        for each in [each for each in self.new if each.startswith(below)]:
            del self.new[each]

    def _link(self, entry: Entry, path: bytes) -> None:
        target = self._resolve(entry.link, "the target of a hard link")
        node = self._find(target)
        if node is None:
            self._late.append((entry, path))
            return
        if node.is_directory:
            raise _Refused(f"a hard link to a directory, {escape_path(target)}")
        lower = "" if target in self.new else " of a lower layer"
        self.details[path] = f"hard link to {escape_path(target)}{lower}"
        self._add(path, node)

    def link_late(self) -> None:
        """Make the hard links whose targets came after them; refuse those whose targets did not."""
        late, self._late = self._late, []
        for entry, path in late:
            try:
                self._link(entry, path)
            except _Refused as refused:
                self.refused.append(Fact(FactKind.TRAVERSAL, entry.name, self.number, str(refused)))
        for entry, _path in self._late:
            target = escape_path(entry.link[: self._limits.path])
            why = "leads out of the image" if entry.link.startswith(b"/") else "is not there"
            self.refused.append(
                Fact(FactKind.TRAVERSAL, entry.name, self.number, f"a hard link to {target}, which {why}")
            )

    def _find(self, path: bytes) -> Node | None:
        return self.new.get(path) or self._live.get(path)

    def _check_symlink(self, entry: Entry, path: bytes) -> None:
        """Note a symlink that climbs out of the root: harmless in a container, not for who unpacks it."""
        if entry.type is not EntryType.SYMLINK or b".." not in entry.link or entry.link.startswith(b"/"):
            return
        depth = path.count(b"/") - 1
        for part in entry.link.split(b"/"):
            depth += -1 if part == b".." else part not in (b"", b".")
            if depth < 0:
                self.refused.append(
                    Fact(
                        FactKind.TRAVERSAL,
                        path,
                        self.number,
                        f"a symlink that climbs out of the image: {escape_path(entry.link[:1024])}",
                    )
                )
                return

    def _resolve(self, name: bytes, what: str = "its name") -> bytes:
        """Return the absolute path of a name, without symlinks above it. Raises `_Refused`."""
        if len(name) > self._limits.path:
            raise _Refused(f"{what} is longer than {self._limits.path:,} bytes")
        if b"\0" in name:
            raise _Refused(f"{what} holds a null byte")
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise _Refused(f"{what} holds “..”")
        if len(parts) > self._limits.depth:
            raise _Refused(f"{what} is more than {self._limits.depth} directories deep")
        if not parts:
            return b"/"
        *above, last = parts
        directory = b"/".join(above)
        known = self._directories.get(directory)
        if known is None:
            known = self._directories[directory] = self._walk(above)
        return _join(known, last)

    def _walk(self, parts: list[bytes]) -> bytes:
        """Follow the symlinks of lower layers within the image, as a container engine does."""
        path, followed = b"/", 0
        pending = list(reversed(parts))
        while pending:
            part = pending.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                path = parent_directory(path)
                continue
            inner = _join(path, part)
            node = self._find(inner)
            if node is None or node.is_directory:
                path = inner
                continue
            if node.type is not EntryType.SYMLINK:
                if inner in self.new:
                    raise _Refused(f"it lies below {escape_path(inner)}, which is a {node.type}")
                path = inner  # it replaces the file of a lower layer
                continue
            if inner in self.new:
                raise _Refused(f"it lies below a symlink of the same layer, {escape_path(inner)}")
            followed += 1
            if followed > self._limits.symlinks:
                raise _Refused("too many symlinks lead to it")
            pending += reversed(node.link.split(b"/"))
            path = b"/" if node.link.startswith(b"/") else path
        return path


def _changes(path: bytes, old: Node, new: Node, layer: int) -> Iterator[Fact]:
    """Yield what a layer does to a path that a lower layer has."""
    if old is new:
        return
    if old.type is not new.type:
        yield Fact(FactKind.REPLACED, path, layer, f"{describe(old)} by {describe(new)}", old.size)
        return
    attributes = new.changed_attributes(old)
    if new.type is EntryType.FILE:
        if old.digest and old.digest == new.digest:
            yield Fact(FactKind.METADATA_ONLY, path, layer, attributes or _touched(old, new), new.size)
            if new.size:
                detail = f"{size(new.size)}, stored in layer {old.layer} before"
                yield Fact(FactKind.BYTES_AGAIN, path, layer, detail, new.size)
        else:
            detail = f"{size(old.size)} by {size(new.size)}"
            yield Fact(FactKind.OVERWRITTEN, path, layer, detail, old.size)
        return
    if (old.link, old.device) != (new.link, new.device):
        yield Fact(FactKind.OVERWRITTEN, path, layer, f"{describe(old)} by {describe(new)}")
    elif attributes:
        yield Fact(FactKind.METADATA_ONLY, path, layer, attributes)


def _touched(old: Node, new: Node) -> str:
    return "time of change" if old.mtime != new.mtime else "nothing differs"


def _join(directory: bytes, name: bytes) -> bytes:
    return b"/" + name if directory == b"/" else directory + b"/" + name
