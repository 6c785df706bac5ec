"""Compiles the probes into CO-RE objects: when writeaudit is packaged, and for ``run --probes``.

The compiler is clang if the system has one, else the one in the package ``ziglang``;
``WRITEAUDIT_BPF_CC`` names another (``clang-18``, or ``python3 -m ziglang cc``). Needs nothing
but the standard library: hatch_build.py runs this before anything is installed.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

MAIN = "writeaudit.bpf.c"
OBJECT_NAME = "writeaudit.bpf.o"
DIRECT_NAME = "writeaudit.direct.bpf.o"
PERF_NAME = "writeaudit.perf.bpf.o"
OBJECTS: dict[str, tuple[str, ...]] = {
    OBJECT_NAME: (),
    DIRECT_NAME: ("-DWA_DIRECT",),
    PERF_NAME: ("-DWA_DIRECT", "-DWA_PERF"),
}
"""What is built of the one source: for every kernel from 5.8 on, and for those (6.2 and later)
that let a program read kernel memory by plain loads, which is twice as fast."""

TARGET_ARCH = {"x86_64": "x86", "aarch64": "arm64"}
"""Machines (`uname -m`) whose registers the probes know, by libbpf's name for them.

The object itself runs on the BPF machine, which is the same everywhere; but a system call's
arguments lie in `struct pt_regs`, whose fields belong to the processor.
"""

_FLAGS = (
    "-O2",
    "-g",  # BTF, which CO-RE relocations live in
    "-std=gnu11",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",  # a program's signature is the hook's
    "-fno-unwind-tables",  # libbpf warns of sections that it does not know
    "-fno-asynchronous-unwind-tables",
    "-ffile-prefix-map={root}=.",  # no build path in the object: the same sources, the same bytes
    "-c",
)
# v2: from 5.8 on all kernels verify v3 as well, but with v3 the compilers accept an atomic's
# old value, which kernels before 5.12 do not have; v2 makes that an error here, not there.
_CLANG_TARGET = ("-target", "bpfel", "-mcpu=v2")
_ZIG_TARGET = ("-target", "bpfel-freestanding-none", "-mcpu=v2")


_SHOWN = 3


class BuildError(Exception):
    """The object cannot be made; the message says why and what to do."""


def system_clang() -> str | None:
    """Return the path of a clang that can compile for BPF, or None."""
    clang = shutil.which("clang")
    if clang is None:
        return None
    # Some vendors leave the BPF target out of theirs.
    targets = subprocess.run([clang, "--print-targets"], capture_output=True, text=True, check=False)
    return clang if "bpfel" in targets.stdout else None


def find_compiler() -> list[str]:
    """Return the compiler's command line up to its target. Raises `BuildError` if there is none."""
    if wish := os.environ.get("WRITEAUDIT_BPF_CC"):
        command = shlex.split(wish)
        return [*command, *(_ZIG_TARGET if "zig" in wish else _CLANG_TARGET)]
    if clang := system_clang():
        return [clang, *_CLANG_TARGET]
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc", *_ZIG_TARGET]
    raise BuildError(
        "no compiler for BPF: neither clang nor the Python package ziglang is here; "
        "install one of them (apt-get install clang, or pip install ziglang)"
    )


def target_arch(machine: str = "") -> str | None:
    """Return libbpf's name for a machine (`uname -m`), by default this one; None if it is not known."""
    return TARGET_ARCH.get(machine or platform.machine())


def compile_object(sources: Path, target: Path, *, extra: Sequence[str] = (), machine: str = "") -> str:
    """Compile ``sources``/writeaudit.bpf.c into ``target``; return the compiler's warnings.

    For this machine, or for another (`uname -m`). The file appears complete or not at all. Raises
    `BuildError`.
    """
    arch = target_arch(machine)
    if arch is None:
        raise BuildError(
            f"the probes know no processor of type {machine or platform.machine()} "
            f"(only {', '.join(TARGET_ARCH)}); "
            "the strace backend works without them"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    flags = [flag.format(root=sources.parent) for flag in _FLAGS]
    command = [
        *find_compiler(), *flags, *extra, f"-D__TARGET_ARCH_{arch}",
        str(sources / MAIN), "-o", str(partial),
    ]  # fmt: skip
    try:
        # zig keeps what it compiled; nothing of that is to be left in the user's home.
        with tempfile.TemporaryDirectory(prefix=".zig-", dir=target.parent) as cache:
            done = subprocess.run(
                command,
                cwd=sources.parent,
                env={"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache, **os.environ},
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode != 0:
            raise BuildError(f"{shlex.join(command)} failed:\n{done.stderr.rstrip()}")
        partial.replace(target)
    except OSError as error:
        raise BuildError(f"cannot build {target}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return done.stderr


def compile_all(sources: Path, directory: Path, *, extra: Sequence[str] = (), machine: str = "") -> str:
    """Compile every object into ``directory``; return the compiler's warnings. Raises `BuildError`."""
    return "".join(
        compile_object(sources, directory / name, extra=[*flags, *extra], machine=machine)
        for name, flags in OBJECTS.items()
    )


def pick_complaint(output: str) -> str:
    """Return on one line what a compiler complains of first, or else the end of what it printed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line]
    return "; ".join(errors[:_SHOWN] or lines[-_SHOWN:])
