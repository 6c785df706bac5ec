"""Names and mounts as a program makes them that wants the recorder to fail: very deep, very many."""

from __future__ import annotations

import time

import pytest

from writeaudit.audit import Mount
from writeaudit.bounded_cache import BoundedCache
from writeaudit.events import Certainty, Op, Operand, RawEvent
from writeaudit.resolve.mounts import registry
from writeaudit.resolve.mounts.registry import MountRegistry, MountTable
from writeaudit.resolve.names import lookup, nodes
from writeaudit.resolve.names.lookup import NameResolver
from writeaudit.resolve.resolver import Resolver

_DEEP = b"/x" * 20_000


def _mount(number: int, point: bytes, parent: int = 20, dev: int = 1) -> Mount:
    return Mount(number, 1, dev, "tmpfs", b"none", b"/", point, ("rw",), parent)


def _raw(op: Op, name: bytes, result: str = "ENOENT") -> RawEvent:
    return RawEvent(time.monotonic_ns(), 1, 1, op, result, Operand(b"/", name), follow=False)


def test_deep_name_lies_in_a_mount() -> None:
    table = MountTable([_mount(20, b"/", 1), _mount(21, b"/x/x", dev=2)])
    assert table.mount_of(_DEEP) == table.mounts[1]
    assert table.mount_around(b"/x/x") == table.mounts[0]
    assert table.key_of(_DEEP) == b"\x002" + _DEEP[4:]


def test_deep_mount_points() -> None:
    table = MountTable([_mount(20, b"/", 1), _mount(21, _DEEP, dev=2)])
    assert table.mount_of(_DEEP + b"/y") == table.mounts[1]
    assert table.mount_of(_DEEP[:-2]) == table.mounts[0]


@pytest.mark.parametrize("op", [Op.UNLINK, Op.MKDIR, Op.RMDIR, Op.CHMOD])
def test_call_with_a_deep_name_is_resolved(op: Op) -> None:
    resolver = Resolver()
    name = _DEEP[1:4096]
    event = resolver.resolve_event(_raw(op, name))
    assert event.path == b"/" + name
    resolver.resolve_event(_raw(Op.RENAME, name)._replace(source=Operand(b"/", b"a/" + name)))
    resolver.close()


def test_keys_of_directories_are_forgotten_when_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_KEY_BYTES", 10_000)
    table = MountTable([_mount(20, b"/", 1)])
    for number in range(1000):
        assert table.key_of(b"/%d/f" % number) == b"\x001/%d/f" % number
    assert len(table._keys) < 50


def test_bounded_counts_bytes() -> None:
    cache: BoundedCache[int, bytes] = BoundedCache(10_000)
    for number in range(100):
        cache.keep_entry(number, b"x" * 3000, 3000)
        assert cache[number]
        assert len(cache) <= 3
    cache.keep_entry(0, b"longer than all", 1 << 20)
    assert list(cache) == [0]


def test_names_are_right_though_little_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "_CACHE_BYTES", 0)
    monkeypatch.setattr(nodes, "_DIRECTORIES", 0)
    made = NameResolver(lambda path: b"to" if path.endswith(b"l") else _plain())
    for _ in range(2):
        assert made.resolve_name(b"/", b"a/b/l/c", follow=False) == (b"/a/b/to/c", Certainty.RESOLVED)
    assert len(made._cache) <= 1


def _plain() -> bytes:
    raise OSError(22, "no symlink")


def test_mount_id_that_is_used_again_and_again_may_have_had_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_MOST_NAMES", 3)
    mounts = MountRegistry(1, b"")
    numbers = [mounts.note_mount(_mount(40, b"/place%d" % number, dev=number)).id for number in range(5)]
    assert mounts.mounts_named([b"place0"]) >= {numbers[0], numbers[4]}
    assert numbers[0] not in mounts.mounts_named([b"never"])
    assert numbers[4] in mounts.mounts_named([b"never"])
    assert mounts.mounts_named([b""]) == frozenset(numbers)


def test_many_mounts_cost_little_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that was read after a change is not read once more for it."""
    read: list[object] = []
    lines = [b"20 1 0:1 / / rw - tmpfs none rw"]
    lines += [b"%d 20 0:%d / /m/%d rw - tmpfs none rw" % (100 + n, 100 + n, n) for n in range(2000)]

    def mountinfo(pid: object, _privileged: object) -> bytes:
        read.append(pid)
        return b"\n".join(lines)

    resolver = Resolver()
    monkeypatch.setattr("writeaudit.resolve.mounts.namespaces.mountinfo_of", mountinfo)
    for number in range(500):
        resolver.resolve_event(_raw(Op.UNLINK, b"elsewhere/%d" % number))
    earlier = time.monotonic_ns()
    begun = time.process_time()
    for _ in range(200):
        resolver.mounts_changed(earlier, 1 << 30)
    assert len(read) == 1
    assert time.process_time() - begun < 5
    resolver.close()
