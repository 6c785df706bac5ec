"""What a reviewer should know of the finished image, and of what is left in it of earlier layers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from writeaudit.audit import Binary
from writeaudit.container_image import Fact, FactKind, Waste
from writeaudit.credentials import KNOWN_FORMS, SECRET_NAME
from writeaudit.elf import find_writable_paths, list_hazards
from writeaudit.image.capabilities import parse_capability
from writeaudit.image.documents import Config, machine_of
from writeaudit.image.entries import EntryType
from writeaudit.image.merge import Tree
from writeaudit.image.nodes import Node
from writeaudit.image.secrets import is_placeholder
from writeaudit.paths import parent_directory
from writeaudit.text import escape_path, escape_text, is_number, size

_SETUID, _SETGID, _STICKY, _OTHERS_WRITE = 0o4000, 0o2000, 0o1000, 0o0002
_EXECUTED = 0o111
_RUNNABLE = frozenset({"exec", "dyn"})
_NEVER_SECRET = ("_FILE", "_PATH", "_DIR", "_SOCK", "_URL", "_KEYRING", "_FINGERPRINT", "_VERSION", "_SHA256")
"""How names end whose values say where a secret is, not what it is."""
_PUBLIC = frozenset({"GPG_KEY", "GPG_KEYS"})
"""Fingerprints that images of languages carry."""
_ROOT = frozenset({"", "0", "root"})


class UnsafeElf(NamedTuple):
    """One thing that is unsafe in one program or library."""

    kind: str
    what: str
    """``with an executable stack``."""
    path: bytes
    layer: int
    detail: str


class Review(NamedTuple):
    """All that was found in the finished image, and in what is left of earlier layers."""

    facts: list[Fact]
    waste: Waste
    unsafe: list[UnsafeElf]
    hardening: Mapping[str, int]
    weak_secrets: frozenset[tuple[int, bytes]]
    """Layers and paths of secrets that are likely to matter less."""
    owners: Mapping[bytes, tuple[int, int]]
    """Owner and mode of files with rights of their own."""


def review_tree(tree: Tree, config: Config) -> Review:
    """Look at the finished file system, and at every file whose bytes a layer holds."""
    live = tree.live
    facts: list[Fact] = []
    hardening: Counter[str] = Counter()
    unsafe: list[UnsafeElf] = []
    owners: dict[bytes, tuple[int, int]] = {}
    machine = machine_of(config.platform.architecture)
    for path, node in sorted(live.items()):
        rights = list(_rights(path, node))
        if any(fact.kind in (FactKind.SETUID, FactKind.SETGID, FactKind.CAPS) for fact in rights):
            owners[path] = (node.uid, node.mode)
        facts += rights
        if node.binary is not None:
            binary = node.binary._replace(path=path)
            found, traits = _elf_facts(path, node, binary, tree, machine)
            facts += found
            unsafe += traits
            hardening["elf"] += 1
            hardening.update(fact.kind for fact in found)
    secrets, weak = _secret_facts(live, tree.stored)
    again, waste = _waste_facts(live, tree.stored)
    facts += [*secrets, *again]
    return Review(facts, waste, unsafe, hardening, weak, owners)


def _rights(path: bytes, node: Node) -> Iterator[Fact]:
    mode = f"mode {node.mode:04o}, owner {node.uid}:{node.gid}"
    if node.type is EntryType.FILE:
        if node.mode & _SETUID:
            yield Fact(FactKind.SETUID, path, node.layer, mode)
        if node.mode & _SETGID and node.mode & 0o010:
            yield Fact(FactKind.SETGID, path, node.layer, mode)
        if node.capability:
            yield Fact(FactKind.CAPS, path, node.layer, parse_capability(node.capability))
    if node.type in (EntryType.CHARACTER, EntryType.BLOCK):
        major, minor = node.device
        yield Fact(FactKind.DEVICE, path, node.layer, f"{node.type} {major}:{minor}, {mode}")
    if node.mode & _OTHERS_WRITE and node.type is not EntryType.SYMLINK:
        if node.is_directory and node.mode & _STICKY:
            return  # as /tmp is: nobody can take away what others put there
        if node.type in (EntryType.CHARACTER, EntryType.BLOCK):
            return  # said of it already
        yield Fact(FactKind.WORLD_WRITABLE, path, node.layer, f"{node.type}, {mode}")


def _elf_facts(
    path: bytes, node: Node, binary: Binary, tree: Tree, machine: str
) -> tuple[list[Fact], list[UnsafeElf]]:
    origin = os.fsdecode(parent_directory(path))
    writable = find_writable_paths(binary, origin, lambda place: is_open_to_all(tree, place))
    binary = binary._replace(writable_paths=writable)
    facts: list[Fact] = []
    traits: list[UnsafeElf] = []
    # Where the image has the directory, what may be written there is known: a build directory is no guess.
    for kind, what, detail in list_hazards(binary, machine, build_directory=lambda _entry: False):
        traits.append(UnsafeElf(kind, what, path, node.layer, escape_text(detail)))
        fact = _ELF_KINDS.get(kind)
        if fact is not None:
            facts.append(Fact(fact, path, node.layer, escape_text(detail)))
    if binary.damaged or binary.type not in _RUNNABLE:
        return facts, traits
    if binary.type == "exec":
        facts.append(Fact(FactKind.NO_PIE, path, node.layer, "loaded at a fixed address"))
    if binary.relro == "none":
        facts.append(Fact(FactKind.NO_RELRO, path, node.layer, "its relocations stay writable"))
    elif binary.relro == "partial":
        facts.append(Fact(FactKind.PARTIAL_RELRO, path, node.layer, "its table of functions stays writable"))
    return facts, traits


_ELF_KINDS = {
    "execstack": FactKind.EXECSTACK,
    "machine": FactKind.MACHINE,
    "empty-path": FactKind.RPATH,
    "relative-path": FactKind.RPATH,
    "writable-path": FactKind.RPATH,
}


def is_open_to_all(tree: Tree, directory: str, symlinks: int = 40) -> bool:
    """Whether every user can put a file into a directory of the image, or make that directory."""
    pending = [part for part in reversed(directory.encode("utf-8", "surrogateescape").split(b"/")) if part]
    path, live = b"/", tree.live
    while pending:
        part = pending.pop()
        if part == b".":
            continue
        if part == b"..":
            path = parent_directory(path)
            continue
        inner = path.rstrip(b"/") + b"/" + part
        node = live.get(inner)
        if node is None and tree.implies(inner):
            path = inner
            continue
        if node is None:
            break  # whoever can write to the directory above can make it
        if node.type is EntryType.SYMLINK:
            symlinks -= 1
            if symlinks < 0:
                return False
            pending += [each for each in reversed(node.link.split(b"/")) if each]
            path = b"/" if node.link.startswith(b"/") else path
            continue
        if not node.is_directory:
            return False
        path = inner
    node = live.get(path)
    return node is not None and node.is_directory and bool(node.mode & _OTHERS_WRITE)


def _secret_facts(
    live: Mapping[bytes, Node], stored: Iterable[Node]
) -> tuple[list[Fact], frozenset[tuple[int, bytes]]]:
    facts: list[Fact] = []
    weak: set[tuple[int, bytes]] = set()
    visible = {node.digest for node in live.values() if node.secrets}
    for path, node in sorted(live.items()):
        for secret in node.secrets:
            facts.append(Fact(FactKind.SECRET_VISIBLE, path, node.layer, secret.what, node.size))
            if secret.weak:
                weak.add((node.layer, path))
    for node in stored:
        if node.secrets and node.digest not in visible:
            for secret in node.secrets:
                facts.append(
                    Fact(FactKind.SECRET_IN_LOWER_LAYER, node.path, node.layer, secret.what, node.size)
                )
                if secret.weak:
                    weak.add((node.layer, node.path))
    return facts, frozenset(weak)


def _waste_facts(live: Mapping[bytes, Node], stored: Iterable[Node]) -> tuple[list[Fact], Waste]:
    facts: list[Fact] = []
    used = {id(node) for node in live.values()}
    first: dict[bytes, Node] = {}
    hidden = repeated = 0
    for node in stored:
        if not node.size or not node.digest:
            continue
        is_used = id(node) in used
        if not is_used:
            hidden += node.size
            facts.append(
                Fact(
                    FactKind.WASTED,
                    node.path,
                    node.layer,
                    _describe_unused(node),
                    node.size,
                )
            )
        before = first.setdefault(node.digest, node)
        if before is node or before.path == node.path:
            continue
        where = f"{escape_path(before.path)} (layer {before.layer})"
        facts.append(Fact(FactKind.SAME_BYTES, node.path, node.layer, f"as {where}", node.size))
        if is_used and id(before) in used:
            repeated += node.size
        elif is_used:
            first[node.digest] = node  # the other one counts as hidden
    return facts, Waste(hidden, repeated)


def _describe_unused(node: Node) -> str:
    return f"{size(node.size)}, and no name of the finished image leads to them"


def review_environment(config: Config) -> Iterator[Fact]:
    """Yield the variables whose names, or values, say that they are secrets."""
    for name, value in config.env:
        upper = name.upper()
        by_value = KNOWN_FORMS.search(value) is not None
        by_name = (
            SECRET_NAME.search(name) is not None
            and not upper.endswith(_NEVER_SECRET)
            and upper not in _PUBLIC
            and not is_placeholder(value.encode("utf-8", "surrogateescape"))
        )
        if by_value or by_name:
            why = "its value has the form of a token" if by_value else "its name says so"
            yield Fact(FactKind.SECRET_IN_ENVIRONMENT, None, None, f"{escape_text(name[:200])}: {why}")


def review_user(config: Config, passwd: bytes) -> Iterator[Fact]:
    """Yield that the image runs as root, if it does. ``passwd``: what its /etc/passwd holds."""
    if config.user is None:
        return
    name = config.user.partition(":")[0]
    if name in _ROOT or (is_number(name, 20) and int(name) == 0):
        detail = "no user is set" if not name else f"the user is {escape_text(config.user)}"
        yield Fact(FactKind.RUNS_AS_ROOT, None, None, detail)
        return
    for line in passwd.split(b"\n"):
        fields = line.split(b":")
        if len(fields) > 2 and fields[0] == name.encode("utf-8", "surrogateescape") and fields[2] == b"0":
            yield Fact(
                FactKind.RUNS_AS_ROOT, None, None, f"the user is {escape_text(name)}, whose number is 0"
            )
            return
