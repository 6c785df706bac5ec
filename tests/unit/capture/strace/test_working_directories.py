"""Working directories: strace shows them with some calls only, and /proc too late to be believed alone."""

from __future__ import annotations

import pytest

from tests.support.doubts import uncertain, unreachable
from tests.support.strace_lines import events
from writeaudit.capture.strace import state
from writeaudit.capture.strace.state import NoHost
from writeaudit.events import NO_DOUBT, Doubt, Operand

_MADE = b'mkdir("n", 0700) = 0'


class Disk(NoHost):
    """A host on which directories have their names, and the one process its directory."""

    def __init__(self, now: bytes | None = None, **links: bytes) -> None:
        self.now = now
        self._links = links

    def read_cwd(self, tid: int) -> bytes | None:
        return self.now

    def names_on(self, path: bytes) -> frozenset[bytes]:
        names = {name for name in path.split(b"/") if name}
        targets = {
            part
            for name in names & {link.encode() for link in self._links}
            for part in self._links[name.decode()].split(b"/")
        }
        return frozenset(names | targets)


def named(*calls: bytes, host: NoHost | None = None) -> list[Operand]:
    """Return the operands of all events but renames and removals of others."""
    found = events(*calls, **({} if host is None else {"host": host}))
    return [event.path for event in found if event.path.name is None or event.path.name.endswith(b"n")]


@pytest.mark.parametrize(
    ("calls", "base", "name"),
    [
        ([b'chdir("l") = 0'], b"/w", b"l/n"),
        ([b'chdir("l") = 0', b'chdir("..") = 0'], b"/w", b"l/../n"),
        ([b'chdir("d") = 0', b'chdir("/w/l") = 0', b'chdir("e") = 0'], b"/", b"/w/l/e/n"),
        ([b'chdir("/d") = -1 ENOENT (No such file or directory)', b'chdir("l") = 0'], b"/w", b"l/n"),
    ],
)
@pytest.mark.parametrize("now", [None, b"/later", b"/w/d"])
def test_a_directory_that_nobody_has_shown_is_known_by_its_name(
    calls: list[bytes], base: bytes, name: bytes, now: bytes | None
) -> None:
    # What /proc shows is what came later, even where it fits; whose symlinks held then, the resolver knows.
    assert named(*calls, _MADE, host=Disk(now, l=b"/w/d")) == [Operand(base, name)]


def test_a_directory_that_strace_shows_is_known_from_there_on() -> None:
    lost, shown, after = named(
        b'chdir("l") = 0',
        _MADE,
        b'mkdirat(AT_FDCWD</real>, "n", 0700) = 0',
        _MADE,
    )
    assert lost == Operand(b"/w", b"l/n")
    assert shown == after == Operand(b"/real", b"n")


def test_threads_and_children_go_on_from_there() -> None:
    child = [b"10 6.000001 fork() = 11 <0.000001>", b'11 6.000002 mkdir("n", 0700) = 0 <0.000001>']
    assert named(b'chdir("l") = 0', *child) == [Operand(b"/w", b"l/n")]


@pytest.mark.parametrize(
    "call",
    [
        b'rename("l", "x") = 0',
        b'renameat2(AT_FDCWD</w>, "x", AT_FDCWD</w>, "l", RENAME_EXCHANGE) = 0',
        b'unlink("/w/l") = 0',
        b'unlinkat(3</w>, "l", 0) = 0',
        b'rmdir("/w/l/../d/") = 0',
        b'rmdir(".") = 0',
        b'mount("tmpfs", "/w/d", "tmpfs", 0, NULL) = 0',
    ],
)
def test_names_that_were_taken_away_since_lead_nowhere(call: bytes) -> None:
    other = b"10 6.000001 fork() = 11 <0.000001>", b"11 6.000002 " + call + b" <0.000001>"
    (made,) = named(*other[:1], b'chdir("l") = 0', *other[1:], _MADE, host=Disk(None, l=b"/w/d"))
    assert uncertain(made)
    # Only a name from the root is better then.
    again = b'chdir("m") = 0', _MADE, b'chdir("/a") = 0', _MADE
    *_, below, rooted = named(*other[:1], b'chdir("l") = 0', *other[1:], *again, host=Disk(None, l=b"/w/d"))
    assert uncertain(below)
    assert rooted == Operand(b"/", b"/a/n")


@pytest.mark.parametrize(
    "call",
    [
        b'unlink("elsewhere") = 0',
        b'unlink("l") = -1 EACCES (Permission denied)',
        b'rename("/tmp/a", "/tmp/b") = 0',
        b'mkdir("/w/q", 0700) = 0',
    ],
)
def test_other_names_may_be_taken_away(call: bytes) -> None:
    assert named(b'chdir("l") = 0', call, _MADE, host=Disk(None, l=b"/w/d")) == [Operand(b"/w", b"l/n")]


def test_what_was_moved_out_of_its_mount_reads_as_the_root() -> None:
    shown, after = named(b'mkdirat(AT_FDCWD</>, "n", 0700) = 0', _MADE)
    for made in (shown, after):
        assert (made.base, made.name, uncertain(made), unreachable(made)) == (b"/w", b"n", True, True)
    (made,) = named(b'openat(AT_FDCWD</>, "n", O_WRONLY|O_CREAT, 0600) = 3</>')
    assert (made.base, made.name, unreachable(made)) == (b"/w", b"n", True)
    (read,) = named(b'openat(AT_FDCWD</w>, "link", O_RDONLY|O_DIRECTORY) = 3</>')
    assert (read.base, read.name, unreachable(read)) == (b"/", None, False)
    # A chdir from there cannot be looked up either.
    *_, below = named(b'mkdirat(AT_FDCWD</>, "n", 0700) = 0', b'chdir("..") = 0', _MADE, host=Disk(b"/"))
    assert (uncertain(below), unreachable(below)) == (True, True)


def test_the_root_itself_is_no_riddle() -> None:
    went = named(b'chdir("/") = 0', b'mkdirat(AT_FDCWD</>, "n", 0700) = 0', _MADE, host=Disk(b"/"))
    assert went == [Operand(b"/", b"n")] * 2
    by_name = named(b'chdir("/") = 0', b'mkdirat(AT_FDCWD</>, "n", 0700) = 0', _MADE)
    assert by_name == [Operand(b"/", b"n")] * 2


def test_an_open_directory_that_was_moved_out_of_its_mount() -> None:
    opened = b'openat(AT_FDCWD</w>, "d", O_RDONLY|O_DIRECTORY) = 3</w/d>'
    assert uncertain(named(opened, b'mkdirat(3</>, "n", 0700) = 0')[-1])
    root = b'openat(AT_FDCWD</w>, "/", O_RDONLY|O_DIRECTORY) = 3</>'
    assert not uncertain(named(root, b'mkdirat(3</>, "n", 0700) = 0')[-1])


@pytest.mark.parametrize("link", [b"fd/3", b"fd/3/in", b"cwd", b"root"])
def test_a_chdir_through_proc_is_a_guess_until_it_is_shown(link: bytes) -> None:
    # The descriptor may have been duplicated, the directory renamed: neither is traced.
    opened = b'openat(AT_FDCWD</w>, "d", O_RDONLY|O_DIRECTORY) = 3</w/d>'
    shown = b'mkdirat(AT_FDCWD</w/e>, "n", 0700) = 0'
    _, made, at, after = named(opened, b'chdir("/proc/self/%b") = 0' % link, _MADE, shown, _MADE)
    where = {b"fd/3": b"/w/d", b"fd/3/in": b"/w/d/in", b"cwd": b"/w", b"root": b"/"}[link]
    assert made == Operand(where, b"n", doubt=Doubt.UNCERTAIN_BASE)
    assert at == after == Operand(b"/w/e", b"n")


def test_the_link_of_proc_to_the_working_directory_is_no_better_known_than_that() -> None:
    made = b'mkdir("/proc/self/cwd/n", 0700) = 0'
    assert named(b"fchdir(3</w/d>) = 0", made) == [Operand(b"/w/d", b"n")]
    assert named(b'chdir("l") = 0', made) == [Operand(b"/w", b"l/n")]
    assert uncertain(named(b'chdir("l") = 0', b'rename("l", "x") = 0', made)[-1])
    assert named(b'chdir("in") = 0', b'chmod("/proc/self/cwd", 0700) = 0') == [Operand(b"/w", b"in")]


@pytest.mark.parametrize(
    ("call", "guessed"),
    [
        (b'rename("d", "e") = 0', True),
        (b'rename("/else/w", "/w") = 0', True),
        (b'renameat2(AT_FDCWD</w>, "e", AT_FDCWD</w>, "d", RENAME_EXCHANGE) = 0', True),
        (b'rename("e", "d") = 0', False),
        (b'rename("d", "e") = -1 EACCES (Permission denied)', False),
    ],
)
def test_a_descriptor_whose_file_may_have_been_renamed_is_a_guess(call: bytes, guessed: bool) -> None:
    opened = b'openat(AT_FDCWD</w>, "d", O_RDONLY|O_DIRECTORY) = 3</w/d>'
    through = b'mkdir("/proc/self/fd/3/n", 0700) = 0'
    assert named(call, opened, through)[-1] == Operand(b"/w/d", b"n")
    assert named(opened, call, through)[-1] == Operand(
        b"/w/d", b"n", doubt=Doubt.UNCERTAIN_BASE if guessed else NO_DOUBT
    )


def test_renames_that_are_forgotten_may_have_been_of_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_MOST_RENAMED", 2)
    renames = state.Renames()
    renames.note_name(b"a")
    early = renames.count
    renames.note_name(b"b")
    assert [renames.renamed_since(early, path) for path in (b"/a", b"/x/b", b"/c")] == [False, True, False]
    renames.note_name(b"d")
    assert renames.renamed_since(early, b"/c")
    assert [renames.renamed_since(renames.count, path) for path in (b"/c", b"/d")] == [False, False]


@pytest.mark.parametrize(
    ("call", "base", "name"),
    [
        (b'rename("e", "f") = 0', b"/w/f/d", b"n"),
        (b'rename("e/", "f/") = 0', b"/w/f/d", b"n"),
        (b'rename("e", "up/f") = 0', b"/w", b"up/f/d/n"),
        (b'rename("e", "/w/up/f") = 0', b"/", b"/w/up/f/d/n"),
        (b'renameat2(AT_FDCWD</w>, "e", AT_FDCWD</w>, "f", RENAME_EXCHANGE) = 0', b"/w/f/d", b"n"),
        (b'renameat2(AT_FDCWD</w>, "up/f", AT_FDCWD</w>, "e", RENAME_EXCHANGE) = 0', b"/w", b"up/f/d/n"),
        (b'rename("e", "f") = -1 EACCES (Permission denied)', b"/w/e/d", b"n"),
    ],
)
def test_a_directory_that_was_renamed_goes_on_by_its_new_name(call: bytes, base: bytes, name: bytes) -> None:
    fork = b"10 6.000001 fork() = 11 <0.000001>"
    entered = b"11 6.000002 fchdir(3</w/e/d>) = 0 <0.000001>"
    after = b'11 6.000004 mkdir("n", 0700) = 0 <0.000001>'
    assert named(fork, entered, call, after)[-1] == Operand(base, name)


@pytest.mark.parametrize("now", [None, b"/w/f/d"])
@pytest.mark.parametrize(
    "moved",
    [
        b'rename("/w/up/e", "/w/up/f") = 0',
        b'rename("../../e", "x") = 0',
        b'renameat2(3</x>, "e", 3</x>, "f", 0) = 0',
    ],
)
def test_a_directory_that_may_have_been_renamed_by_another_of_its_paths(
    now: bytes | None, moved: bytes
) -> None:
    # /w/up may be a symlink to /w, or to a directory whose parent is another, and /x a mount of /w.
    (made,) = named(b"fchdir(3</w/e/d>) = 0", moved, _MADE, host=Disk(now, up=b"/w"))
    assert uncertain(made)


def test_a_directory_that_was_renamed_under_a_guess_is_one() -> None:
    lost = [b'chdir("l") = 0', b'unlink("/w/l") = 0', b'rename("d", "/w/e") = 0']
    other = [b"10 6.000001 fork() = 11 <0.000001>", b"11 6.000002 fchdir(3</w/l/d>) = 0 <0.000001>"]
    made = b'11 6.000009 mkdir("n", 0700) = 0 <0.000001>'
    assert uncertain(named(*other, *lost, made)[-1])


@pytest.mark.parametrize("call", [b"fchmod(3</>, 0700) = 0", b'fsetxattr(3</>, "user.a", "1", 1, 0) = 0'])
def test_a_file_that_was_moved_out_of_its_mount(call: bytes) -> None:
    opened = b'openat(AT_FDCWD</w>, "d", O_RDONLY|O_DIRECTORY) = 3</w/d>'
    changed = named(opened, call)[-1]
    assert (changed.base, uncertain(changed)) == (b"/w/d", True)
    *_, made = named(opened, b"fchdir(3</>) = 0", _MADE)
    assert (made.base, uncertain(made)) == (b"/w/d", True)


def test_an_open_that_shows_the_directory_settles_where_it_is() -> None:
    shown = b'openat(AT_FDCWD</w/d>, "n", O_RDWR|O_CREAT, 0600) = 3</w/d/n>'
    *_, made = named(b'chdir("l") = 0', shown, b'unlink("/w/l") = 0', _MADE, host=Disk(l=b"d"))
    assert made == Operand(b"/w/d", b"n")


def test_a_way_has_an_end() -> None:
    there_and_back = [b'chdir("d") = 0', b'chdir("..") = 0'] * 2000
    (made,) = named(*there_and_back, _MADE)
    assert uncertain(made)
    assert len(made.base or b"") < 100


def test_in_a_chroot_a_name_is_a_guess_until_it_is_shown() -> None:
    inside = [b'chroot("/jail") = 0', b'chdir("/l") = 0', _MADE, b'mkdirat(AT_FDCWD</jail/d>, "n", 0700) = 0']
    made, shown, after = named(*inside, _MADE)[-3:]
    assert uncertain(made)
    # Whether /jail was a symlink nobody could say at once; it matters where a name leads to the root.
    assert shown == after == Operand(b"/jail/d", b"n", root=None)


def test_a_root_that_is_sure_and_one_that_is_not() -> None:
    class Real(NoHost):
        def real_path(self, path: bytes) -> bytes | None:
            return path

    below, rooted = b'mkdirat(AT_FDCWD</jail/d>, "n", 0700) = 0', b'mkdir("/n", 0700) = 0'
    jailed = [b'chroot("/jail") = 0', below, rooted]
    assert named(*jailed, host=Real())[-2:] == [
        Operand(b"/jail/d", b"n", root=b"/jail"),
        Operand(b"/jail", b"/n"),
    ]
    moved = b'rename("/jail", "/other") = 0'
    other = [b"10 6.000001 fork() = 11 <0.000001>", b"11 6.000002 " + moved + b" <0.000001>"]
    assert uncertain(named(other[0], jailed[0], other[1], rooted, host=Real())[-1])
    for unsure in (b'chroot("/x/../jail") = 0', b'chroot("d") = 0'):
        before = b'chdir("l") = 0'
        assert uncertain(named(before, unsure, rooted, host=Real())[-1])
    assert uncertain(named(*jailed)[-1])


def test_what_was_shown_at_the_beginning_of_a_call_may_not_hold_at_its_end() -> None:
    fork = b"10 6.000001 fork() = 11 <0.000001>"
    moved = b'11 6.000003 rename("a", "b") = 0 <0.000001>'
    began = b'10 6.000002 openat(AT_FDCWD</w/a/d>, "fifo", O_WRONLY <unfinished ...>'
    ended = b"10 6.000004 <... openat resumed>) = -1 ENXIO (No such device or address) <0.000001>"
    entered = b"fchdir(3</w/a/d>) = 0"
    *_, opened, made = events(fork, entered, began, moved, ended, _MADE)
    assert uncertain(opened.path)
    assert made.path == Operand(b"/w/b/d", b"n")
    # And so it is with other directories, and with fchdir itself.
    made_there = b'10 6.000002 mkdirat(4</w/a>, "n", 0700 <unfinished ...>'
    assert uncertain(
        events(fork, made_there, moved, b"10 6.000004 <... mkdirat resumed>) = 0 <0.000001>")[-1].path
    )
    went = b"10 6.000002 fchdir(4</w/a> <unfinished ...>"
    assert uncertain(
        events(fork, went, moved, b"10 6.000004 <... fchdir resumed>) = 0 <0.000001>", _MADE)[-1].path
    )
    quiet = events(fork, went, b"10 6.000004 <... fchdir resumed>) = 0 <0.000001>", _MADE)[-1]
    assert quiet.path == Operand(b"/w/a", b"n")


def test_threads_that_go_elsewhere_at_the_same_time() -> None:
    thread = b"10 6.000001 clone(child_stack=0x1, flags=CLONE_VM|CLONE_FS|CLONE_THREAD) = 11 <0.000001>"
    leaving = b'10 6.000002 chdir("..") <unfinished ...>'.replace(b")", b"")
    shown = (
        b'11 6.000003 openat(AT_FDCWD</>, "n", O_RDONLY) = -1 ENOENT (No such file or directory) <0.000001>'
    )
    below = b'11 6.000004 mkdir("n", 0700) = 0 <0.000001>'
    back = b"10 6.000005 <... chdir resumed>) = 0 <0.000001>"
    opened, made, after = named(thread, leaving, shown, below, back, _MADE)
    assert uncertain(opened)
    assert uncertain(made)
    assert after == Operand(b"/w", b"../n")
    other = b"11 6.000003 fchdir(3</x>) = 0 <0.000001>"
    assert uncertain(named(thread, leaving, other, back, _MADE)[-1])


def test_children_of_threads_that_go_elsewhere_meanwhile() -> None:
    thread = b"10 6.000001 clone(child_stack=0x1, flags=CLONE_VM|CLONE_FS|CLONE_THREAD) = 11 <0.000001>"
    forking = b"10 6.000002 fork( <unfinished ...>"
    went = b"11 6.000003 fchdir(3</x>) = 0 <0.000001>"
    child = b'12 6.000004 mkdir("n", 0700) = 0 <0.000001>'
    assert uncertain(named(thread, forking, went, child)[-1])
    assert not uncertain(named(thread, forking, child)[-1])


def test_a_child_that_nobody_has_cloned_is_somewhere() -> None:
    assert uncertain(named(b'12 6.000004 mkdir("n", 0700) = 0 <0.000001>')[-1])


@pytest.mark.parametrize(
    "call",
    [
        b'mount("/w", "/x", NULL, MS_BIND, NULL) = 0',
        b'umount2("/x", 0) = 0',
        b'mount("/w/e", "/x", NULL, MS_MOVE, NULL) = 0',
    ],
)
def test_mounts_make_ways_doubtful_and_those_that_move_every_directory(call: bytes) -> None:
    assert uncertain(named(b'chdir("l") = 0', call, _MADE)[-1])
    assert uncertain(named(b"fchdir(3</w/e/d>) = 0", call, _MADE)[-1]) is (b"MOVE" in call)


def test_descriptors_that_are_duplicated() -> None:
    opened = [
        b'openat(AT_FDCWD</w>, "%b", O_RDONLY|O_DIRECTORY) = %d</w/%b>' % (n, i, n)
        for i, n in enumerate((b"a", b"b"))
    ]
    through = b'mkdir("/proc/self/fd/0/n", 0700) = 0'
    assert named(*opened, b"dup2(1</w/b>, 0</w/a>) = 0</w/b>", through)[-1] == Operand(b"/w/b", b"n")
    assert named(*opened, b"dup3(1</w/b>, 0</w/a>, O_CLOEXEC) = 0</w/b>", through)[-1] == Operand(
        b"/w/b", b"n"
    )
    assert (
        named(*opened, b"dup2(1</w/b>, 0</w/a>) = -1 EBADF (Bad file descriptor)", through)[-1].base
        == b"/w/a"
    )


def test_a_descriptor_that_was_never_seen_is_asked_for_too_late() -> None:
    class Open(NoHost):
        def open_file(self, pid: int, fd: int) -> bytes | None:
            return b"/w/e"

    assert named(b'mkdir("/proc/self/fd/7/n", 0700) = 0', host=Open()) == [
        Operand(b"/w/e", b"n", doubt=Doubt.UNCERTAIN_BASE)
    ]


def test_a_user_namespace_has_a_directory_of_its_own() -> None:
    shared = b"10 6.000001 clone(child_stack=0x1, flags=CLONE_FS|SIGCHLD) = 11 <0.000001>"
    apart = [
        b"11 6.000002 unshare(CLONE_NEWUSER) = 0 <0.000001>",
        b"11 6.000003 fchdir(3</x>) = 0 <0.000001>",
    ]
    assert named(shared, *apart, _MADE)[-1] == Operand(b"/w", b"n")
