"""Lists of random operations for tests/workloads/executor.py, and the tree that they begin with."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

Operation = list[object]

_NAMES = ("a", "b", "d", "f0", "f1", "la", "lb", "lf", "m")
_STEPS = ("a", "a", "b", "d", "la", "lb", "m", ".", "..", "up")
_TEXTS = ("a", "b", "../a", "f0", "a/b", "nowhere", "../d/f1", ".", "..")
_HOW = (0, 0, 0, 1, 2)
"""Flags of renameat2(2): none, RENAME_NOREPLACE, RENAME_EXCHANGE."""
_ACTORS = 4


def plant(ground: Path, *, bind: bool) -> None:
    """Make the tree that operations begin with, and mount ``w/d`` on ``w/m`` if ``bind``."""
    tree = ground / "w"
    for name in ("a/b", "a/c", "d/e", "m"):
        (tree / name).mkdir(parents=True)
    for name in ("f0", "a/f1", "a/b/f2", "d/f0"):
        (tree / name).write_bytes(name.encode() * 40)
    os.link(tree / "f0", tree / "a" / "f0")
    os.link(tree / "d" / "f0", tree / "d" / "f1")
    for name, text in (("la", "a"), ("lb", str(tree / "a/b")), ("lf", "a/f1"), ("ld", "missing")):
        (tree / name).symlink_to(text)
    (tree / "a" / "up").symlink_to("..")
    (tree / "a" / "lb").symlink_to("b")
    for name in ("START", "END"):
        (ground / name).touch()
    if bind:
        subprocess.run(["mount", "--bind", tree / "d", tree / "m"], check=True)


def uproot(ground: Path) -> None:
    """Undo the mount of `plant`."""
    subprocess.run(["umount", ground / "w" / "m"], check=True)


def generate(seed: int, length: int, root: bytes) -> list[Operation]:
    """Return ``length`` operations; the same for the same arguments."""
    draw = random.Random(seed)
    makers: list[tuple[int, Callable[[], Operation]]] = [
        (20, lambda: ["open", _slot(draw), _path(draw, root), *_opening(draw), draw.randrange(4)]),
        (8, lambda: ["open", _slot(draw), _path(draw, root), "r", os.O_DIRECTORY, draw.randrange(4)]),
        (12, lambda: ["write", draw.randrange(4), draw.randrange(1, 300)]),
        (4, lambda: ["copy", draw.randrange(4), draw.randrange(4)]),
        (3, lambda: ["ftruncate", draw.randrange(4), draw.randrange(200)]),
        (3, lambda: ["truncate", _path(draw, root), draw.randrange(200)]),
        (6, lambda: ["close", draw.randrange(4)]),
        (10, lambda: ["mkdir", _slot(draw), _path(draw, root)]),
        (2, lambda: ["mknod", _slot(draw), _path(draw, root)]),
        (6, lambda: ["symlink", _slot(draw), _path(draw, root), draw.choice(_TEXTS)]),
        (8, lambda: ["link", _slot(draw), _path(draw, root), _path(draw, root), draw.choice((0, 0x400))]),
        (12, lambda: ["rename", _slot(draw), _path(draw, root), _path(draw, root), draw.choice(_HOW)]),
        (10, lambda: ["unlink", _slot(draw), _path(draw, root)]),
        (6, lambda: ["rmdir", _slot(draw), _path(draw, root)]),
        (3, lambda: ["chmod", _slot(draw), _path(draw, root), draw.choice((0o600, 0o755, 0o700))]),
        (3, lambda: ["utime", _slot(draw), _path(draw, root)]),
        (5, lambda: ["chdir", _path(draw, root)]),
        (2, lambda: ["fchdir", draw.randrange(4)]),
    ]  # fmt: skip
    weights = [weight for weight, _make in makers]
    return [[draw.randrange(_ACTORS), *make()] for _weight, make in draw.choices(makers, weights, k=length)]


def _slot(draw: random.Random) -> int | None:
    return draw.choice((None, None, 0, 1, 2, 3))


def _path(draw: random.Random, root: bytes) -> str:
    """Return one to three components; every now and then from the root of the tree on."""
    steps = [draw.choice(_STEPS) for _ in range(draw.choice((0, 0, 0, 1, 1, 2)))]
    path = "/".join([*steps, draw.choice(_NAMES)])
    return os.fsdecode(root) + "/w/" + path if draw.random() < 0.25 else path


def _opening(draw: random.Random) -> tuple[str, int]:
    access = draw.choice(("r", "w", "w", "rw", "path"))
    flags = draw.choice((0, os.O_CREAT, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_TRUNC, os.O_NOFOLLOW))
    return (access, 0) if access == "path" else (access, flags)


def private(seed: int, length: int) -> list[Operation]:
    """Return operations of which each actor's stay in a directory of its own, ``w/<actor>``.

    They may be made at the same time: no two actors ever meet.
    """
    draw = random.Random(seed)
    operations: list[Operation] = []
    for actor in range(_ACTORS):
        home = f"p{actor}"
        operations.append([actor, "mkdir", None, home])
        if actor % 2:
            operations.append([actor, "chdir", home])
    for _ in range(length):
        actor = draw.randrange(_ACTORS)
        prefix = "" if actor % 2 else f"p{actor}/"

        def path(prefix: str = prefix) -> str:
            return prefix + "/".join(draw.choices("xyz", k=draw.choice((1, 1, 2))))

        kinds: list[Operation] = [
            ["open", None, path(), "w", os.O_CREAT, draw.randrange(4)],
            ["write", draw.randrange(4), draw.randrange(1, 99)],
            ["close", draw.randrange(4)],
            ["mkdir", None, path()],
            ["rename", None, path(), path(), draw.choice((0, 1, 2))],
            ["link", None, path(), path(), 0],
            ["symlink", None, path(), draw.choice(("x", "y/z", "q"))],
            ["unlink", None, path()],
            ["rmdir", None, path()],
        ]
        operations.append([actor, *draw.choice(kinds)])
    return operations
