"""Which packages the files of a run belong to, as far as their paths tell."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from writeaudit.judgement import FileSummary, NetEffect, Verdict

_PLACES = re.compile(
    rb"(?P<npm>.*/node_modules/(?:@[^/]+/)?[^/.][^/]*)/"
    rb"|(?P<python>.*/(?:site|dist)-packages)/(?P<name>[^/]+)-(?P<version>[^/-]+)\.dist-info/"
    rb"|(?P<rest>.*/(?:gems/[^/]+/gems|registry/src/[^/]+)/[^/]+-\d[^/]*)/"
)
_LEFT = frozenset({NetEffect.CREATED, NetEffect.MODIFIED, NetEffect.REPLACED})


@dataclass(slots=True)
class Package:
    """One package, by the directory that its files lie in."""

    directory: bytes
    name: bytes
    version: bytes
    files: int = 0
    violations: int = 0
    bytes: int = 0
    """Written to files that are left."""


def find_packages(files: Iterable[FileSummary], most: int = 20_000) -> list[Package]:
    """Return packages (npm, Python, gems, cargo) of which anything was left, those with violations first.

    A Python package is known by its ``.dist-info``; the modules of the same name are counted with it.
    """
    found: dict[bytes, Package] = {}
    modules: dict[bytes, Package] = {}
    loose: list[FileSummary] = []
    for file in files:
        if file.net not in _LEFT:
            continue
        match = _PLACES.match(file.path)
        if match is None:
            if b"-packages/" in file.path:
                loose.append(file)
            continue
        package = _package(match, found, modules, most)
        if package is not None:
            _count(package, file)
    for file in loose:
        directory, _, below = file.path.rpartition(b"-packages/")
        top = below.partition(b"/")[0].removesuffix(b".py")
        package = modules.get(_module(directory + b"-packages", top))
        if package is not None:
            _count(package, file)
    return sorted(found.values(), key=lambda each: (-each.violations, -each.bytes, each.directory))


def _package(
    match: re.Match[bytes], found: dict[bytes, Package], modules: dict[bytes, Package], most: int
) -> Package | None:
    if match["python"] is not None:
        key = match["python"] + b"/" + match["name"] + b"-" + match["version"]
        name, version = match["name"], match["version"]
    else:
        key = match["npm"] or match["rest"]
        name, version = key.rpartition(b"/")[2], b""
        if match["npm"] is not None:
            name = key.rpartition(b"/node_modules/")[2]
        else:
            name, _, version = name.rpartition(b"-")
    package = found.get(key)
    if package is None and len(found) < most:
        package = found[key] = Package(key, name, version)
        if match["python"] is not None:
            package.directory = match["python"] + b"/" + name
            modules[_module(match["python"], name)] = package
    return package


def _module(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name.lower().replace(b"-", b"_").replace(b".", b"_")


def _count(package: Package, file: FileSummary) -> None:
    package.files += not file.directory
    package.violations += file.verdict is Verdict.VIOLATION
    package.bytes += file.bytes_written
