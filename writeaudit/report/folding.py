"""Names without what differs from run to run: random parts, hashes, numbers of processes, versions of caches.

Two runs of the same thing then have the same names, for `diff` and for the fingerprints of SARIF.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

_HASH = re.compile(r"(?i)(?<![0-9a-z])(?=[0-9a-z]*[0-9])[0-9a-f]{8,}(?![0-9a-z])")
_TEMPORARY = re.compile(r"(?<=tmp)(?:[a-z0-9_]{8}|[A-Za-z0-9]{5,})(?![a-z0-9])")
_TOKEN = re.compile(r"[A-Za-z0-9_]{6,12}")
_NUMBER = re.compile(r"\d{2,}")
_BUCKET = re.compile(r"(?<=-v)\d+(?=$|/)")
_TIME = re.compile(
    r"(?<!\d)20\d\d[-_.]?[01]\d[-_.]?[0-3]\d[-_.T ]?"
    r"[0-2]\d[-_.:h]?[0-5]\d(?:[-_.:m]?[0-6]\d)?(?:[-_.]\d{1,9})?Z?(?!\d)"
)
"""A date with the time of day, as logs are called by: ``2026-12-01T05_22_37_471Z``, ``20261201-052237``."""
_STAR = "*"


@lru_cache(maxsize=1 << 16)
def fold_name(name: str) -> str:
    """Return one component of a path with every part that may be another in the next run as ``*``."""
    if _is_lot(name):
        return _STAR
    name = _TIME.sub(_STAR, name)
    name = _BUCKET.sub(_STAR, name)
    name = _HASH.sub(_STAR, name)
    name = _TEMPORARY.sub(_STAR, name)
    name = _TOKEN.sub(lambda match: _STAR if _is_random(match[0]) else match[0], name)
    return _NUMBER.sub(_STAR, name) if _TEMPORARY_WORD.search(name) else name


_TEMPORARY_WORD = re.compile(r"(?i)tmp|temp|lock|\bpid|\*")


def _is_lot(name: str) -> bool:
    """Whether a whole name looks drawn by lot, from 64 characters: ``V1StGXR8_Z5jdHi6B-myT``."""
    if not 16 <= len(name) <= 32 or not _LOT.fullmatch(name):
        return False
    kinds = ["d" if char.isdigit() else "u" if char.isupper() else "l" for char in name if char.isalnum()]
    return set(kinds) == {"d", "u", "l"} and sum(one != other for one, other in pairwise(kinds)) >= 8


_LOT = re.compile(r"[A-Za-z0-9_-]+")


def _is_random(token: str) -> bool:
    """Whether a token looks drawn by lot: digits between letters, or capitals in the middle of small letters.

    ``Ab3xQ9`` and ``x1y2z3a4`` do; ``python3``, ``linux_x86_64`` and ``CamelCase`` do not.
    """
    if "_" in token.strip("_") or not 6 <= len(token) <= 12:
        return False
    kinds = ["d" if char.isdigit() else "u" if char.isupper() else "l" for char in token]
    changes = sum(one != other for one, other in pairwise(kinds))
    digits = kinds.count("d")
    if digits:
        return changes >= 3 or (digits >= 2 and changes >= 2)
    return "u" in kinds and "l" in kinds and changes >= 4


def fold_path(shown: str) -> str:
    """Return a shown path, each component folded."""
    return _IN_ARCHIVE.sub(_STAR, "/".join(map(fold_name, shown.split("/"))))


_IN_ARCHIVE = re.compile(r"(?<=/archive-v\*/)[^/]+")
"""An entry of uv's archive: its name is drawn from 64 characters, and may look like anything."""
