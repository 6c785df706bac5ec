"""Rights, versions and system calls of Landlock, with a kernel that is made up."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from writeaudit.confine import landlock
from writeaudit.confine.landlock import LandlockUnavailable, RuleSet, find_abi, list_gaps
from writeaudit.confine.landlock_plan import Grant, Plan, Rule
from writeaudit.errors import WriteauditError

CREATE, ADD_RULE, RESTRICT = 444, 445, 446
# landlock(7): LANDLOCK_ACCESS_FS_*
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << bit for bit in range(6, 13))
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
READING = EXECUTE | READ_FILE | READ_DIR
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""What a rule on a file may hold; the kernel answers EINVAL to all else."""
NEWEST = 6
NOTHING = Plan((), handles_reading=False, remarks=())


class Kernel:
    """Answers the three system calls, and remembers what it was told."""

    def __init__(self) -> None:
        self.attributes: tuple[int, ...] = ()
        self.rules: dict[tuple[int, int], int] = {}
        """Rights by device and inode."""
        self.fd = -1

    def call(self, number: int, *args: Any) -> int:
        if number == CREATE:
            attributes, size, flags = args
            assert (size.value, flags.value) == (len(attributes), 0)
            self.attributes = struct.unpack(f"={size.value // 8}Q", attributes)
            self.fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            return self.fd
        assert number == ADD_RULE
        ruleset, kind, rule, flags = args
        assert (ruleset.value, kind.value, flags.value) == (self.fd, 1, 0)
        rights, fd = struct.unpack("=Qi", rule)
        found = os.fstat(fd)
        handled = self.attributes[0]
        if not rights or rights & ~handled or (not stat.S_ISDIR(found.st_mode) and rights & ~OF_FILES):
            raise OSError(errno.EINVAL, "Invalid argument")
        self.rules[found.st_dev, found.st_ino] = rights
        return 0

    def rights_at(self, path: Path) -> int:
        found = path.lstat()
        return self.rules.get((found.st_dev, found.st_ino), 0)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    made = Kernel()
    monkeypatch.setattr(landlock, "_call", made.call)
    yield made
    if made.fd >= 0:
        os.close(made.fd)


def rule(path: Path, grant: Grant, *, is_directory: bool) -> Rule:
    return Rule(os.fsencode(path), is_directory, grant)


def plan(*rules: Rule, handles_reading: bool = True) -> Plan:
    return Plan(rules, handles_reading, ())


# -- rights -----------------------------------------------------------------------------------------


def test_rights_of_writable_places(kernel: Kernel, tmp_path: Path) -> None:
    directory, file = tmp_path / "d", tmp_path / "f"
    directory.mkdir()
    file.touch()
    RuleSet(
        plan(rule(directory, Grant.WRITE, is_directory=True), rule(file, Grant.WRITE, is_directory=False)),
        NEWEST,
    )
    every = (1 << 16) - 1
    # Device nodes lead to any device: nobody may make them.
    assert kernel.rights_at(directory) == every & ~READING & ~MAKE_CHAR & ~MAKE_BLOCK
    assert kernel.rights_at(file) == WRITE_FILE | TRUNCATE | IOCTL_DEV


def test_rights_of_places_that_can_be_read(kernel: Kernel, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.touch()
    RuleSet(
        plan(rule(tmp_path, Grant.READ, is_directory=True), rule(file, Grant.READ, is_directory=False)),
        NEWEST,
    )
    assert kernel.rights_at(tmp_path) == READING
    assert kernel.rights_at(file) == EXECUTE | READ_FILE


def test_files_of_processes_are_opened_and_no_more(kernel: Kernel, tmp_path: Path) -> None:
    RuleSet(plan(rule(tmp_path, Grant.WRITE_ONLY_FILES, is_directory=True)), NEWEST)
    assert kernel.rights_at(tmp_path) == WRITE_FILE | TRUNCATE


@pytest.mark.parametrize("is_directory", [True, False])
def test_what_is_granted_is_handled(kernel: Kernel, tmp_path: Path, is_directory: bool) -> None:
    """The kernel refuses a rule with a right that the set does not handle: at every version."""
    place = tmp_path if is_directory else tmp_path / "f"
    (tmp_path / "f").touch()
    every = Grant.READ | Grant.WRITE | Grant.WRITE_ONLY_FILES
    for abi in range(1, NEWEST + 1):
        for handles_reading in (True, False):
            RuleSet(plan(rule(place, every, is_directory=is_directory), handles_reading=handles_reading), abi)
            assert bool(kernel.rights_at(place) & READ_FILE) == handles_reading
            os.close(kernel.fd)
    kernel.fd = -1


def test_a_rule_without_a_right_that_counts_is_left_out(kernel: Kernel, tmp_path: Path) -> None:
    RuleSet(plan(rule(tmp_path, Grant.READ, is_directory=True), handles_reading=False), NEWEST)
    assert kernel.rules == {}


# -- versions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("abi", [1, 2, 3, 4, 5, 6, 7, 99])
def test_what_each_version_handles(kernel: Kernel, abi: int) -> None:
    made = RuleSet(NOTHING, abi)
    assert made.abi == abi
    expected = (1 << 13) - 1 & ~READING
    expected |= (REFER if abi >= 2 else 0) | (TRUNCATE if abi >= 3 else 0) | (IOCTL_DEV if abi >= 5 else 0)
    handled, *rest = kernel.attributes
    assert handled == expected
    # The network from 4 on, which is left alone; abstract sockets and signals from 6 on.
    assert rest == [*([0] if abi >= 4 else []), *([0b11] if abi >= 6 else [])]


def test_reading_is_handled_where_places_are_hidden(kernel: Kernel) -> None:
    RuleSet(NOTHING._replace(handles_reading=True), NEWEST)
    assert kernel.attributes[0] == (1 << 16) - 1


@pytest.mark.parametrize(("abi", "gaps"), [(1, 4), (2, 3), (3, 2), (4, 2), (5, 1), (6, 0), (7, 0)])
def test_what_a_version_lacks_is_said(abi: int, gaps: int) -> None:
    found = list_gaps(abi)
    assert len(found) == gaps
    assert all(gap.startswith(f"Landlock has version {abi} here, and ") for gap in found)
    assert not any(gap.endswith(".") for gap in found)


def test_the_words_of_the_gaps() -> None:
    refer, truncate, ioctl, scope = list_gaps(1)
    assert "2 is needed (Linux 5.19): links and renames" in refer
    assert "3 is needed (Linux 6.2)" in truncate
    assert "O_TRUNC" in truncate
    assert "5 is needed (Linux 6.10): ioctl(2)" in ioctl
    assert "6 is needed (Linux 6.12): processes outside can be sent signals" in scope
    assert landlock.NEWEST_USED == NEWEST


# -- kernels that cannot ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words", "remedy"),
    [
        (errno.ENOSYS, "this kernel has no Landlock, or a seccomp filter hides it", "Linux 5.13"),
        (errno.EOPNOTSUPP, "switched off in this kernel", "lsm="),
        (errno.EPERM, "a seccomp filter refuses", "seccomp profile"),
        (errno.ENOMEM, "Landlock cannot be used: out of memory", None),
    ],
)
def test_why_there_is_no_landlock(
    code: int, words: str, remedy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> int:
        raise OSError(code, "out of memory")

    monkeypatch.setattr(landlock, "_call", refuse)
    for attempt in (find_abi, lambda: RuleSet(NOTHING, NEWEST)):
        with pytest.raises(LandlockUnavailable) as caught:
            attempt()
        assert str(caught.value).startswith("the command cannot be confined, and was not run: ")
        assert words in str(caught.value)
        assert (remedy in (caught.value.hint or "")) if remedy else caught.value.hint is None


def test_a_rule_that_is_refused_confines_nothing(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(landlock, "_rights_of", lambda _rule: READ_DIR)
    (tmp_path / "f").touch()
    with pytest.raises(WriteauditError, match="was not run: landlock_add_rule: Invalid argument"):
        RuleSet(plan(rule(tmp_path / "f", Grant.WRITE, is_directory=False)), NEWEST)


# -- what has changed since it was looked at --------------------------------------------------------


def _refuses_all(kernel: Kernel, place: Path, *, is_directory: bool) -> None:
    RuleSet(plan(rule(place, Grant.READ | Grant.WRITE, is_directory=is_directory)), NEWEST)
    assert kernel.rules == {}


@pytest.mark.parametrize("is_directory", [True, False])
def test_what_is_gone_is_granted_nothing(kernel: Kernel, tmp_path: Path, is_directory: bool) -> None:
    _refuses_all(kernel, tmp_path / "gone/f", is_directory=is_directory)


@pytest.mark.parametrize("is_directory", [True, False])
def test_a_symlink_in_its_place_is_granted_nothing(
    kernel: Kernel, tmp_path: Path, is_directory: bool
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").touch()
    (tmp_path / "link").symlink_to("d" if is_directory else "d/f")
    _refuses_all(kernel, tmp_path / "link", is_directory=is_directory)


@pytest.mark.parametrize("is_directory", [True, False])
def test_a_symlink_on_the_way_is_granted_nothing(kernel: Kernel, tmp_path: Path, is_directory: bool) -> None:
    (tmp_path / "d/in").mkdir(parents=True)
    (tmp_path / "d/f").touch()
    (tmp_path / "link").symlink_to("d")
    _refuses_all(kernel, tmp_path / "link" / ("in" if is_directory else "f"), is_directory=is_directory)


def test_a_file_that_has_become_a_directory_is_granted_nothing(kernel: Kernel, tmp_path: Path) -> None:
    """Nobody has looked whether something below is protected."""
    _refuses_all(kernel, tmp_path, is_directory=False)


def test_a_directory_that_has_become_a_file_is_granted_nothing(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    _refuses_all(kernel, tmp_path / "f", is_directory=True)


def test_the_root_directory(kernel: Kernel) -> None:
    RuleSet(plan(rule(Path("/"), Grant.READ, is_directory=True)), NEWEST)
    assert kernel.rights_at(Path("/")) == READING


def test_names_of_any_bytes(kernel: Kernel, tmp_path: Path) -> None:
    place = tmp_path / os.fsdecode(b"\xff\n *")
    place.mkdir()
    RuleSet(plan(rule(place, Grant.READ, is_directory=True)), NEWEST)
    assert kernel.rights_at(place) == READING


def test_no_descriptor_is_left_open(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "link").symlink_to("f")
    before = set(os.listdir("/proc/self/fd"))
    made = RuleSet(
        plan(*(rule(tmp_path / name, Grant.READ, is_directory=kind) for name in ("f", "link", "gone", "")
               for kind in (True, False))), NEWEST,
    )  # fmt: skip
    assert len(set(os.listdir("/proc/self/fd")) - before) == 1, "the rule set's own"
    assert not os.get_inheritable(made.fd)


# -- entering it ------------------------------------------------------------------------------------


class _Libc:
    def __init__(self, prctl: int, restrict: int) -> None:
        self.calls: list[tuple[int, ...]] = []
        self._prctl, self._restrict = prctl, restrict

    def prctl(self, *args: int) -> int:
        self.calls.append(args)
        return self._prctl

    def syscall(self, *args: Any) -> int:
        self.calls.append(tuple(arg.value for arg in args))
        return self._restrict


def test_no_new_privs_comes_before_the_rule_set(kernel: Kernel) -> None:
    made = RuleSet(NOTHING, NEWEST)
    libc = _Libc(0, 0)
    vars(made)["_libc"] = libc
    made.restrict_process()
    assert libc.calls == [(38, 1, 0, 0, 0), (RESTRICT, kernel.fd, 0)]


@pytest.mark.parametrize(("prctl", "restrict"), [(-1, 0), (0, -1)])
def test_a_process_that_cannot_be_restricted_is_told_so(kernel: Kernel, prctl: int, restrict: int) -> None:
    made = RuleSet(NOTHING, NEWEST)
    vars(made)["_libc"] = _Libc(prctl, restrict)
    with pytest.raises(OSError, match=r"."):
        made.restrict_process()
