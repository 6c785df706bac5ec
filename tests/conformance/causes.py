"""What changed about a file between two looks at the disk, and which operations explain it."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from tests.conformance.disk import Entry
from writeaudit.events import Op

_DATA = frozenset({Op.WRITE, Op.COPY, Op.CLONE, Op.MMAP_WRITE, Op.TRUNCATE, Op.FALLOCATE})
_METADATA = frozenset({Op.CHMOD, Op.CHOWN, Op.UTIME, Op.SETXATTR, Op.REMOVEXATTR, Op.SETFLAGS})
_NAMES = frozenset({Op.LINK, Op.RENAME, Op.EXCHANGE, Op.UNLINK, Op.RMDIR})
_SET_ID = stat.S_ISUID | stat.S_ISGID
_DATA_WORDS = frozenset({op.value for op in _DATA} | {"trunc"})
_ANY_WORDS = frozenset(_DATA_WORDS | {op.value for op in _METADATA} | {op.value for op in _NAMES} | {"names"})


def changes(old: Entry | None, new: Entry) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each thing that changed about a file, with the words of which one must be its cause."""
    if old is None:
        # Made in the run: it was empty, and had one name.
        if stat.S_ISREG(new.mode):
            if new.size:
                yield "the data", _DATA_WORDS
            if new.nlink > 1:
                yield "the link count", frozenset({"link"})
        return
    if old.digest != new.digest or old.size != new.size:
        yield "the data", _DATA_WORDS
    if old.mode != new.mode:
        dropped = old.mode ^ new.mode == old.mode & ~new.mode & _SET_ID
        # Writing to a file, and giving it away, take its set-user-ID bits (chown(2), write(2)).
        extra = _DATA_WORDS | {Op.CHOWN.value} if dropped else frozenset()
        yield "the mode", frozenset({Op.CHMOD.value, Op.SETXATTR.value, Op.REMOVEXATTR.value}) | extra
    if (old.uid, old.gid) != (new.uid, new.gid):
        yield "the owner", frozenset({Op.CHOWN.value})
    if old.xattrs != new.xattrs:
        yield (
            "an extended attribute",
            frozenset({Op.SETXATTR.value, Op.REMOVEXATTR.value, Op.CHMOD.value, Op.CHOWN.value})
            | _DATA_WORDS,
        )
    directory = stat.S_ISDIR(new.mode)
    if old.nlink != new.nlink:
        yield "the link count", frozenset({"names"} if directory else {"link", "unlink", "rename"})
    if old.mtime_ns != new.mtime_ns:
        yield (
            "the modification time",
            frozenset({"names", "utime"}) if directory else _DATA_WORDS | {"utime"},
        )
    if old.ctime_ns != new.ctime_ns:
        yield "the status time", _ANY_WORDS
