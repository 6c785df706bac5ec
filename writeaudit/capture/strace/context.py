"""What every reader of calls shares: operands from arguments, events, blind spots."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from writeaudit.audit import BlindSpot
from writeaudit.capture import outside
from writeaudit.capture.interface import Record
from writeaudit.capture.strace.calls.arguments import TracedCall, is_cwd, is_number
from writeaudit.capture.strace.lexer import Arg, Descriptor, Text, strip_deleted
from writeaudit.capture.strace.state import (
    FsContext,
    Host,
    OpenFile,
    Pending,
    Renames,
    Thread,
    WriteLedger,
)
from writeaudit.events import NO_DOUBT, Doubt, Op, Operand, RawEvent
from writeaudit.paths import last_name

_NO_FILE = (
    b"/memfd:",
    b"/SYSV",
    b"/anon_hugepage",
    b"/dev/zero",
    b"/[aio]",
    b"/dmabuf:",
    b"/i915",
    b"/drm mm",
)
"""Files of the kernel's internal mounts: they have no name and no place that a policy could name."""

_TELLING = frozenset({b"/proc", b"/dev/"})
"""How names of files begin whose opening tells something (`outside.spot_of_open`)."""
MAGIC = (b"/proc/", b"/dev/fd/", b"/dev/std")
"""How names begin that may lead through a link of the process's own in /proc."""

_OBJECTS = {b"pipe": stat.S_IFIFO, b"socket": stat.S_IFSOCK}

_NO_DATA = frozenset({stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK})


UNSETTLING = frozenset({b"unlink", b"unlinkat", b"rmdir", b"rename", b"renameat", b"renameat2"})
"""Calls after which names may lead elsewhere."""

_UNSETTLING_OPS = frozenset({Op.RENAME, Op.EXCHANGE, Op.UNLINK, Op.RMDIR, Op.MOUNT, Op.UMOUNT, Op.PIVOT_ROOT})


@dataclass(slots=True)
class TraceContext:
    """The state of a reading, and where its records go."""

    host: Host
    deleted_inside: bool
    """strace before 5.19: the kernel's mark is part of the path."""
    own_mount_ns: int | None = None
    """Inode number of writeaudit's own mount namespace."""
    threads: dict[int, Thread] = field(default_factory=dict)
    pids: set[int] = field(default_factory=set)
    """Every process that the run ever had."""
    out: list[Record] = field(default_factory=list)
    ledger: WriteLedger = field(default_factory=WriteLedger)
    spots: dict[str, BlindSpot] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    truncated: int = 0
    detached: int = 0
    """How many mounts are without a place, as far as can be known; see `may_be_detached`."""
    renames: Renames = field(default_factory=Renames)
    resumed: Pending | None = None
    """How the call at hand began, if it is not told of in one line."""
    unsure: bool = False
    """Some thread's working directory has to be looked up by the name that led there (`FsContext.way`)."""

    @property
    def may_be_detached(self) -> bool:
        """Whether a path of the kernel's may begin at the root of a mount that is attached nowhere.

        Who holds its descriptor cannot be told: they are duplicated, inherited and passed on unseen.
        """
        return self.detached > 0

    @property
    def _mount_doubt(self) -> Doubt:
        return Doubt.DETACHED_MOUNT if self.may_be_detached else NO_DOUBT

    def add_blind_spot(self, kind: str, message: str, *, incomplete: bool = True) -> None:
        """Note something that was met and cannot be seen in full."""
        known = self.spots.get(kind)
        self.spots[kind] = BlindSpot(kind, message, 1 if known is None else known.count + 1, incomplete)

    def report_detached_mount(self) -> None:
        """Say that an event's path is in doubt, if it is. See `may_be_detached`."""
        if self.may_be_detached:
            self.add_blind_spot(
                "detached_mount",
                "a mount was attached nowhere (open_tree, fsmount, MNT_DETACH), and could be used by its "
                "files: strace does not tell paths in it from others; the ebpf backend does",
            )

    def count_lost(self, kind: str) -> None:
        """Count an event that is known to be missing."""
        self.lost[kind] = self.lost.get(kind, 0) + 1

    def decode_descriptor(self, arg: Arg) -> Descriptor | None:
        """Return a decoded descriptor; None for one that is not open, or not decoded."""
        if not isinstance(arg, Descriptor):
            return None
        if self.deleted_inside and not arg.deleted and arg.path.startswith(b"/"):
            return Descriptor(arg.number, *strip_deleted(arg.path))
        return arg

    def base_operand(self, thread: Thread, base: Arg | None) -> Operand:
        """Return the operand of a base directory (None: the working directory).

        It has a name only if it is known by a `FsContext.way`, and no ``base`` if nothing is known.
        ``AT_FDCWD</path>`` is the kernel's own word for the working directory, and is remembered.
        """
        fs = thread.fs
        if base is None or base == b"AT_FDCWD":
            return self._cwd_operand(thread, fs)
        found = self.decode_descriptor(base)
        if found is None:
            hidden = self.find_hidden(thread, base)
            if hidden is None:
                return Operand(None, None, mount_ns=thread.mount_ns)
            # As the process spelled it: symlinks may be in it.
            return _mark_uncertain(self.open_operand(thread, hidden.path, deleted=False), uncertain=True)
        if is_cwd(found):
            if fs.leaving or self._is_stale(fs, found.path):
                # So it was when the call began, or before another thread went elsewhere.
                path, deleted = strip_deleted(found.path)
                return _mark_uncertain(self.open_operand(thread, path, deleted=deleted), uncertain=True)
            if found.path == b"/" != fs.cwd and fs.root == b"/" and thread.mount_ns is None:
                # Nobody went there: so reads a directory that was moved out of what a mount shows.
                fs.mark_lost(unreachable=True)
            else:
                fs.note_shown_cwd(found.path)
            return self._cwd_operand(thread, fs)
        if not found.path.startswith(b"/"):
            return Operand(None, None, mount_ns=thread.mount_ns)
        was = self._led_out(thread, found)
        start = self.open_operand(thread, was or found.path, deleted=found.deleted)
        return _mark_uncertain(start, uncertain=was is not None or self._is_stale(None, found.path))

    def _is_stale(self, fs: FsContext | None, path: bytes) -> bool:
        """Whether what strace showed at the beginning of the call at hand need not hold at its end."""
        if self.resumed is None:
            return False
        moved = fs is not None and fs.version != self.resumed.version
        return moved or self.renames.renamed_since(self.resumed.renames, path)

    def named_operand(self, thread: Thread, base: Arg | None, name: Arg, *, follow: bool = False) -> Operand:
        """Return the operand of a name relative to ``base`` (None: the working directory).

        A name that leads through the process's own ``/proc/self/fd`` begins at the open file; with
        ``follow`` it may be that file itself, which may have no other name.
        """
        if isinstance(name, Text):
            text, doubt = name.value, name.doubt
        else:
            text, doubt = b"", Doubt.UNREADABLE  # an address: strace could not read the name
        fs = thread.fs
        start = self.base_operand(thread, base)
        if text[:1] == b"/":
            # In a chroot, what is called so may be something else.
            if text.startswith(MAGIC) and fs.root == b"/" and not fs.root_guessed:
                led = self.through_proc(thread, text, follow=follow)
                if led is not None:
                    return led
            start = self.open_operand(thread, fs.root, deleted=False)
            return _mark_uncertain(
                start._replace(name=text, doubt=start.doubt | doubt), uncertain=fs.root_guessed
            )
        if start.name is not None:
            text = start.name + b"/" + text
        root = None if fs.root_guessed else fs.root
        return start._replace(name=text, doubt=start.doubt | doubt, root=root)

    def _led_out(self, thread: Thread, found: Descriptor) -> bytes | None:
        """Return what an open directory was called that was moved out of what its mount shows, as it seems.

        Its path reads as the root's; None if it may well be the root.
        """
        if found.path != b"/" or thread.mount_ns is not None or self.may_be_detached:
            return None
        known = thread.files.open.get(found.number)
        return None if known is None or known.path == b"/" else known.path

    def open_operand(self, thread: Thread, path: bytes, *, deleted: bool, fmt: int | None = None) -> Operand:
        """Return the operand of an open file."""
        return Operand(
            path, None, mount_ns=thread.mount_ns, fmt=fmt, deleted=deleted, doubt=self._mount_doubt
        )

    def renew_operand(self, file: Operand) -> Operand:
        """Return the operand of a file that was named before, as it is to be taken now."""
        return file._replace(doubt=file.doubt | self._mount_doubt)

    def file_operand(self, call: TracedCall, arg: Arg) -> Operand | None:
        """Return the operand of a call's descriptor; None if it is no file."""
        found = self.decode_descriptor(arg)
        if found is None and self.find_hidden(call.thread, arg) is None:
            if call.ok and is_number(arg):
                self.count_lost("undecoded")
            return None
        if found is not None and not has_name(found.path, deleted=found.deleted):
            return None
        return self.base_operand(call.thread, arg)

    def find_hidden(self, thread: Thread, arg: Arg) -> OpenFile | None:
        """Return what is known of a descriptor whose path is too long for strace to decode."""
        if not is_number(arg):
            return None
        known = thread.files.open.get(int(arg))
        return known if known is not None and known.hidden else None

    def by_number(self, thread: Thread, number: int) -> Operand | None:
        """Return the operand of a descriptor that strace did not decode."""
        known = thread.files.open.get(number)
        if known is not None:
            found = self.opened_object(thread, known.path, deleted=known.deleted)
            return _mark_uncertain(found, uncertain=self.renames.renamed_since(known.renames, known.path))
        link = self.host.open_file(thread.tid, number)
        if link is None:
            return None
        path, deleted = strip_deleted(link)
        return _mark_uncertain(self.opened_object(thread, path, deleted=deleted), uncertain=path[:1] == b"/")

    def opened_object(self, thread: Thread, path: bytes, *, deleted: bool) -> Operand:
        """Return the operand of whatever is open: a file, or one of the kernel's own objects."""
        if path[:1] == b"/":
            return self.open_operand(thread, path, deleted=deleted)
        kind, _colon, number = path.partition(b":")
        fmt = _OBJECTS.get(kind, 0)
        if not fmt and kind != b"anon_inode":
            path = b"anon_inode:" + number  # of a namespace, say
        return Operand(path, None, mount_ns=thread.mount_ns, fmt=fmt)

    def now_open(self, thread: Thread, number: int, file: OpenFile) -> OpenFile:
        """Note what a descriptor refers to from now on."""
        table = thread.files.open
        before = table.get(number)
        if before is not None and before.key is not None:
            self.ledger.settle_file(before, self.out)
        file.renames = self.renames.count
        table[number] = file
        if file.path[:5] in _TELLING:
            spot = outside.spot_of_open(
                file.path, self.pids, writes=True
            )  # which of them may, is not told here
            if spot is not None:
                self.add_blind_spot(spot.kind, spot.message, incomplete=spot.incomplete)
        return file

    def open_file(self, thread: Thread, found: Descriptor) -> OpenFile:
        """Return what is known of an open descriptor, remembering it if it is new."""
        number, path, deleted = found
        known = thread.files.open.get(number)
        if known is None or known.path != path:
            return self.now_open(thread, number, OpenFile(path, deleted))
        known.deleted = deleted
        return known

    def holds_data(self, thread: Thread, file: OpenFile) -> bool:
        """Whether writing to an open file changes a file."""
        if file.is_file is None:
            file.is_file = has_name(file.path, deleted=file.deleted)
            if file.is_file and not file.deleted and not self.may_be_detached:
                file.fmt = self.host.file_type(file.path)
                if file.fmt in _NO_DATA:
                    file.is_file = not self._is_still(thread, file)
                    file.fmt = None if file.is_file else file.fmt
        return file.is_file

    def _is_still(self, thread: Thread, file: OpenFile) -> bool:
        """Whether an open file is what its name stands for now. It may have another name by then."""
        if file.path.startswith(b"/dev/"):
            return True
        numbers = [number for number, known in thread.files.open.items() if known is file]
        return any(self.host.open_type(thread.tid, number, file.path) == file.fmt for number in numbers)

    def emit_event(
        self, call: TracedCall, op: Op, path: Operand, source: Operand | None = None, **rest: object
    ) -> None:
        """Hand out an event of a call."""
        thread, outcome = call.thread, call.outcome
        if outcome == "ENAMETOOLONG":
            # The kernel did not take the whole of it either.
            path = path._replace(doubt=path.doubt & ~Doubt.UNREADABLE)
            source = None if source is None else source._replace(doubt=source.doubt & ~Doubt.UNREADABLE)
        doubt = path.doubt if source is None else path.doubt | source.doubt
        self.truncated += bool(doubt & Doubt.UNREADABLE)
        if doubt & Doubt.DETACHED_MOUNT:
            self.report_detached_mount()
        if self.unsure and op in _UNSETTLING_OPS and call.ok:
            self._doubt_ways(path, source)
        self.out.append(
            RawEvent(
                call.time_ns,
                thread.process.pid,
                thread.tid,
                op,
                outcome,
                path,
                source,
                lasted_ns=call.result.duration_ns,
                **rest,  # type: ignore[arg-type]
            )
        )

    def _doubt_ways(self, *changed: Operand | None) -> None:
        """Names were taken away, or something was put over them: doubt the ways that go by them."""
        unsure = [fs for fs in self.fs_contexts() if fs.way is not None]
        self.unsure = bool(unsure)
        names = [o.base if o.name is None else o.name for o in changed if o is not None]
        for fs in unsure:
            fs.doubt_names([last_name(name or b"") for name in names])

    def fs_contexts(self) -> list[FsContext]:
        """Return where the threads are; several may share a place."""
        return list({id(thread.fs): thread.fs for thread in self.threads.values()}.values())

    def _cwd_operand(self, thread: Thread, fs: FsContext) -> Operand:
        """Return the operand of a working directory itself, as it was shown last."""
        # While another thread is about to go elsewhere, nobody can say which of both is meant.
        guessed = fs.guessed or fs.leaving > 0
        if fs.way is not None:
            base, name = fs.way
            start = Operand(base, name, mount_ns=thread.mount_ns, doubt=self._mount_doubt)
            return _mark_uncertain(start, uncertain=guessed)
        found = self.open_operand(thread, fs.cwd, deleted=fs.cwd_deleted)
        if fs.cwd_unreachable:
            found = found._replace(doubt=found.doubt | Doubt.UNREACHABLE)
        return _mark_uncertain(found, uncertain=guessed)

    def through_proc(self, thread: Thread, name: bytes, *, follow: bool) -> Operand | None:
        """Return where a name leads through a link of the process's own in /proc, if it does."""
        parts = name.split(b"/")
        if parts[1] == b"dev":
            number = _STANDARD.get(parts[2])
            if parts[2] == b"fd" and len(parts) > 3:
                number = parts[3]
                parts = [b"", b"proc", b"self", b"fd", *parts[3:]]
            elif number is not None:
                parts = [b"", b"proc", b"self", b"fd", number, *parts[3:]]
            else:
                return None
        process = thread.process
        if len(parts) < 4:
            return None
        if parts[2] in (b"self", b"%d" % process.pid):
            whose = process.leader or thread
        elif parts[2] in (b"thread-self", b"%d" % thread.tid):
            whose = thread
        else:
            return None
        found: Operand | None
        rest = parts[4:]
        if parts[3] == b"cwd":
            found = self._cwd_operand(thread, whose.fs)
        elif parts[3] == b"root":
            found = self.open_operand(thread, whose.fs.root, deleted=False)
            found = _mark_uncertain(found, uncertain=whose.fs.root_guessed)
        elif parts[3] == b"fd" and rest and rest[0].isdigit():
            found = self.by_number(whose, int(rest[0]))
            rest = rest[1:]
        else:
            return None
        if found is None or not rest:
            return found if follow else None
        way = b"" if found.name is None else found.name + b"/"
        return found._replace(name=way + (b"/".join(rest).lstrip(b"/") or b"."), fmt=None)


_STANDARD = {b"stdin": b"0", b"stdout": b"1", b"stderr": b"2"}


def _mark_uncertain(operand: Operand, *, uncertain: bool) -> Operand:
    """Return an operand; if ``uncertain``, its base may be another directory than the one that was meant."""
    return operand._replace(doubt=operand.doubt | Doubt.UNCERTAIN_BASE) if uncertain else operand


def has_name(path: bytes, *, deleted: bool) -> bool:
    """Whether a decoded path is that of a file in a file system (and no socket, pipe, memfd, …)."""
    return path[:1] == b"/" and not (deleted and path.startswith(_NO_FILE))


Handler = Callable[[TraceContext, TracedCall], None]
Handlers = dict[bytes, Handler]


def merge_handlers(*tables: Handlers) -> Handlers:
    """Join tables of handlers; a call in two of them is a mistake in the program."""
    out: Handlers = {}
    for table in tables:
        assert not out.keys() & table.keys()
        out.update(table)
    return out
