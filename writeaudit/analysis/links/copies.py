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
from collections.abc import Callable, Iterable
from typing import NamedTuple

from writeaudit.analysis.links.provenance import CreatedFile, FileProvenance
from writeaudit.events import FsEvent, Op

# A temporary name beside or above the final one (the tempfile library's form): a link is
# made there first when the final name is taken.
_TEMPORARY = re.compile(rb"\.tmp[A-Za-z0-9]{6}\Z")


class RefusedLink(NamedTuple):
    """A link or a reflink that the kernel refused."""

    seq: int
    pid: int
    time_ns: int
    op: Op
    result: str
    source: bytes
    """b"" if the backend could not tell."""
    target: bytes
    source_mount: int | None
    mount: int | None
    source_dev: int | None
    dev: int | None

    @classmethod
    def from_event(cls, event: FsEvent) -> RefusedLink:
        """Return the refusal that ``event``, a failed link or clone, is."""
        return cls(
            seq=event.seq,
            pid=event.pid,
            time_ns=event.time_ns,
            op=event.op,
            result=event.result,
            source=event.source or b"",
            target=event.path,
            source_mount=event.source_mount,
            mount=event.mount,
            source_dev=event.source_dev,
            dev=event.dev,
        )

    def strip_common_tail(self) -> tuple[bytes, bytes]:
        """Return source and target without their common trailing components; b"" for the root."""
        source, target = self.source.split(b"/"), self.target.split(b"/")
        if _TEMPORARY.match(target[-1]):
            target[-1] = source[-1]
        target = [part for part in target if not _TEMPORARY.match(part)]
        while len(source) > 1 and len(target) > 1 and source[-1] == target[-1]:
            if source[-1] == b"objects":
                break  # git's own files lie beside its objects
            source.pop()
            target.pop()
        return b"/".join(source), b"/".join(target)


class Copies(NamedTuple):
    """What was copied because links were refused: each file with the first refusal that explains it."""

    left: list[tuple[RefusedLink, CreatedFile]]
    """Those that are there at the end."""
    gone: list[tuple[RefusedLink, CreatedFile]]
    """Those that were removed, or replaced by another file."""


Store = Callable[[bytes], object]
"""Tells the stores apart that files come from: equal for two files of one store."""


def match_copies(
    refusals: Iterable[RefusedLink],
    provenance: FileProvenance,
    never_linked: re.Pattern[bytes] | None,
    store: Store,
) -> Copies:
    """Return what was copied because a link was refused.

    Installers switch once: after the first refused link (of a package, or of the whole run) they copy
    all files. So whatever the same process copied from the same store and mount to the same mount
    from then on counts.

    Files whose name ``never_linked`` is found in are copied or generated in any case, and
    are left out. No file comes twice. Sorted by the event that says where the data came from.
    """
    pairing = _Pairing(refusals, store)
    if not pairing:
        return Copies([], [])
    made = provenance.list_created()
    # Who was refused a clone and copied then is one that goes on to copy: where it brought no data
    # there was none.
    goes_on = {
        file.pid for file in (*made, *provenance.gone) if file.clone_failed and file.filled is not None
    }

    def is_eligible(file: CreatedFile) -> bool:
        if file.filled is None and file.clone_failed and file.pid not in goes_on:
            return False
        if file.names[0] == file.names[-1] + b".lock":
            return False  # how git makes files of its own
        return never_linked is None or not never_linked.search(file.names[-1])

    return Copies(
        pairing.match_files(filter(is_eligible, made), provenance.reads),
        pairing.match_files(filter(is_eligible, provenance.gone), provenance.reads),
    )


class _Pairing:
    """Pairs files with the refused links that explain why they were copied."""

    def __init__(self, refusals: Iterable[RefusedLink], store: Store) -> None:
        self._store = store
        roots: dict[bytes, dict[bytes, RefusedLink]] = defaultdict(dict)
        self._switched: dict[tuple[int, int | None, int | None, object], RefusedLink] = {}
        """The first refusal of each process, pair of mounts, and store."""
        self._scattered: dict[tuple[int, int | None, int | None], RefusedLink] = {}
        for refusal in refusals:
            if not refusal.source:
                continue
            key = refusal.pid, refusal.source_mount, refusal.mount, store(refusal.source)
            self._switched.setdefault(key, refusal)
            source_root, target_root = refusal.strip_common_tail()
            roots[source_root].setdefault(target_root, refusal)
            if source_root == refusal.source:
                # Names with nothing in common: a store that names files by their content. Nothing
                # but the source of a copy can pair the files then.
                self._scattered.setdefault((refusal.pid, refusal.source_mount, refusal.mount), refusal)
        self._roots = roots
        self._finder = _RootFinder(roots)

    def __bool__(self) -> bool:
        return bool(self._roots)

    def match_files(
        self, files: Iterable[CreatedFile], reads: Iterable[bytes]
    ) -> list[tuple[RefusedLink, CreatedFile]]:
        """Return the files that a refusal explains, each with it; ``reads``: the names that were read."""
        found: list[tuple[RefusedLink, CreatedFile]] = []
        rest: dict[bytes, CreatedFile] = {}
        for made in files:
            reason = None if made.source is None else self._by_source(made, made.source)
            if reason is not None:
                found.append((reason, made))
            else:
                rest.update((name, made) for name in made.names)
        # Files without a copying call: copied by read and write, or empty. Reading is the evidence.
        taken: set[int] = set()
        for path in reads if rest else ():
            for refusal, counterpart in self._finder.find_pairs(path):
                candidate = rest.get(counterpart)
                if candidate is None or id(candidate) in taken or not _refused_before(refusal, candidate):
                    continue
                taken.add(id(candidate))
                found.append((refusal, candidate))
        for made in {id(each): each for each in rest.values()}.values():
            if made.read_from is None or id(made) in taken:
                continue
            source, mount = made.read_from
            switched = self._switched.get((made.pid, mount, made.mount, self._store(source)))
            if switched is not None and _refused_before(switched, made):
                found.append((switched, made))
        return sorted(found, key=lambda pair: pair[1].seq)

    def _by_source(self, made: CreatedFile, source: bytes) -> RefusedLink | None:
        for refusal, counterpart in self._finder.find_pairs(source):
            if counterpart in made.names and _refused_before(refusal, made):
                return refusal
        stray = self._scattered.get((made.pid, made.source_mount, made.mount))
        if stray is None:
            stray = self._switched.get((made.pid, made.source_mount, made.mount, self._store(source)))
        return stray if stray is not None and _refused_before(stray, made) else None


def _refused_before(refusal: RefusedLink, made: CreatedFile) -> bool:
    """Whether a file was filled after a link was refused, and so perhaps because of it.

    The refused clone of an empty file is itself all that speaks of its source: the same event.
    """
    return refusal.seq <= made.since


class _RootFinder:
    """Finds the roots above a path; remembers them by directory, as neighbouring files share it."""

    def __init__(self, roots: dict[bytes, dict[bytes, RefusedLink]]) -> None:
        self._roots = roots
        self._above: dict[bytes, tuple[bytes, ...]] = {}

    def find_pairs(self, source: bytes) -> Iterable[tuple[RefusedLink, bytes]]:
        """Yield for each root over ``source`` its refusal, and the name of the counterpart."""
        parent = source.rpartition(b"/")[0]
        above = self._above.get(parent)
        if above is None:
            above = self._above[parent] = tuple(self._walk_upwards(parent))
        if source in self._roots:
            above = (source, *above)
        for root in above:
            below = source[len(root) :]
            for target_root, refusal in self._roots[root].items():
                yield refusal, target_root + below

    def _walk_upwards(self, directory: bytes) -> Iterable[bytes]:
        while True:
            if directory in self._roots:
                yield directory
            if not directory:
                return
            directory = directory.rpartition(b"/")[0]
