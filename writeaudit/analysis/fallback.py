"""Which files were copied because a link was refused.

Installers link a whole package and fall back for the whole package: its first refused link
is the only one. So each refused link from S to T gives a pair of roots, what is left of S and
T without their common trailing components, and every file that was filled below the target
root, after that refusal, and whose counterpart below the source root was its source is one that
was copied instead.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from writeaudit.analysis.ledger import Ledger, MadeFile
from writeaudit.events import FsEvent

# A temporary name beside or above the final one (the tempfile library's form): a link is
# made there first when the final name is taken.
_TEMPORARY = re.compile(rb"\.tmp[A-Za-z0-9]{6}\Z")


class Refusal(NamedTuple):
    """A link or a reflink that the kernel refused."""

    seq: int
    pid: int
    result: str
    source: bytes
    """b"" if the backend could not tell."""
    target: bytes
    source_mount: int | None
    mount: int | None
    source_dev: int | None
    dev: int | None

    @classmethod
    def of(cls, event: FsEvent) -> Refusal:
        """Return the refusal that ``event``, a failed link or clone, is."""
        return cls(
            seq=event.seq,
            pid=event.pid,
            result=event.result,
            source=event.source or b"",
            target=event.path,
            source_mount=event.source_mount,
            mount=event.mount,
            source_dev=event.source_dev,
            dev=event.dev,
        )

    def roots(self) -> tuple[bytes, bytes]:
        """Return source and target without their common trailing components; b"" for the root."""
        source, target = self.source.split(b"/"), self.target.split(b"/")
        if _TEMPORARY.match(target[-1]):
            target[-1] = source[-1]
        target = [part for part in target if not _TEMPORARY.match(part)]
        while len(source) > 1 and len(target) > 1 and source[-1] == target[-1]:
            source.pop()
            target.pop()
        return b"/".join(source), b"/".join(target)


class Copies(NamedTuple):
    """What was copied for want of links: each file with the first refusal that explains it."""

    left: list[tuple[Refusal, MadeFile]]
    """Those that are there at the end."""
    gone: list[tuple[Refusal, MadeFile]]
    """Those that were removed, or replaced by another file."""


def copies(refusals: Iterable[Refusal], ledger: Ledger, never_linked: re.Pattern[bytes] | None) -> Copies:
    """Return what was copied for want of a link.

    Files whose name ``never_linked`` is found in are copied or generated at any rate, and
    are left out. No file comes twice. Sorted by the event that says where the data came from.
    """
    pairing = _Pairing(refusals)
    if not pairing:
        return Copies([], [])
    made = ledger.made()
    # Who was refused a clone and copied then is one that goes on to copy: where it brought no data
    # there was none.
    goes_on = {file.pid for file in (*made, *ledger.gone) if file.cloned_in_vain and file.filled is not None}

    def eligible(file: MadeFile) -> bool:
        if file.filled is None and file.cloned_in_vain and file.pid not in goes_on:
            return False
        return never_linked is None or not never_linked.search(file.names[-1])

    return Copies(
        pairing.matched(filter(eligible, made), ledger.reads),
        pairing.matched(filter(eligible, ledger.gone), ledger.reads),
    )


class _Pairing:
    """Pairs files with the refused links that explain why they were copied."""

    def __init__(self, refusals: Iterable[Refusal]) -> None:
        roots: dict[bytes, dict[bytes, Refusal]] = defaultdict(dict)
        self._scattered: dict[tuple[int, int | None, int | None], Refusal] = {}
        for refusal in refusals:
            if not refusal.source:
                continue
            source_root, target_root = refusal.roots()
            roots[source_root].setdefault(target_root, refusal)
            if source_root == refusal.source:
                # Names with nothing in common: a store that names files by their content. Nothing
                # but the source of a copy can pair the files then.
                self._scattered.setdefault((refusal.pid, refusal.source_mount, refusal.mount), refusal)
        self._roots = roots
        self._finder = _RootFinder(roots)

    def __bool__(self) -> bool:
        return bool(self._roots)

    def matched(self, files: Iterable[MadeFile], reads: Iterable[bytes]) -> list[tuple[Refusal, MadeFile]]:
        """Return the files that a refusal explains, each with it; ``reads``: the names that were read."""
        found: list[tuple[Refusal, MadeFile]] = []
        rest: dict[bytes, MadeFile] = {}
        for made in files:
            reason = None if made.source is None else self._by_source(made, made.source)
            if reason is not None:
                found.append((reason, made))
            else:
                rest.update((name, made) for name in made.names)
        # Files without a copying call: copied by read and write, or empty. Reading is the evidence.
        taken: set[int] = set()
        for path in reads if rest else ():
            for refusal, counterpart in self._finder.pairs(path):
                candidate = rest.get(counterpart)
                if candidate is None or id(candidate) in taken or not _before(refusal, candidate):
                    continue
                taken.add(id(candidate))
                found.append((refusal, candidate))
        return sorted(found, key=lambda pair: pair[1].seq)

    def _by_source(self, made: MadeFile, source: bytes) -> Refusal | None:
        for refusal, counterpart in self._finder.pairs(source):
            if counterpart in made.names and _before(refusal, made):
                return refusal
        stray = self._scattered.get((made.pid, made.source_mount, made.mount))
        return stray if stray is not None and _before(stray, made) else None


def _before(refusal: Refusal, made: MadeFile) -> bool:
    """Whether a file was filled after a link was refused, and so perhaps for want of it.

    The refused clone of an empty file is itself all that speaks of its source: the same event.
    """
    return refusal.seq <= made.since


class _RootFinder:
    """Finds the roots above a path; remembers them by directory, as files come in families."""

    def __init__(self, roots: dict[bytes, dict[bytes, Refusal]]) -> None:
        self._roots = roots
        self._above: dict[bytes, tuple[bytes, ...]] = {}

    def pairs(self, source: bytes) -> Iterable[tuple[Refusal, bytes]]:
        """Yield for each root over ``source`` its refusal, and the name of the counterpart."""
        parent = source.rpartition(b"/")[0]
        above = self._above.get(parent)
        if above is None:
            above = self._above[parent] = tuple(self._walk(parent))
        if source in self._roots:
            above = (source, *above)
        for root in above:
            below = source[len(root) :]
            for target_root, refusal in self._roots[root].items():
                yield refusal, target_root + below

    def _walk(self, directory: bytes) -> Iterable[bytes]:
        while True:
            if directory in self._roots:
                yield directory
            if not directory:
                return
            directory = directory.rpartition(b"/")[0]
