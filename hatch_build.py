"""Compiles probes/ into the CO-RE object, for wheels, for checkouts and as a command.

As hatchling's build hook it puts the object and everything else that lies outside the
package into the wheel, under ``writeaudit/_resources/``. As a command (``python
hatch_build.py``, or ``make probes``) it brings the object of a checkout up to date in
``build/``; it needs nothing but the standard library and a compiler then.

The compiler is clang if the system has one, else the one in the package ``ziglang``;
``WRITEAUDIT_BPF_CC`` names another (``clang-18``, or ``python3 -m ziglang cc``).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
else:
    try:
        from hatchling.builders.hooks.plugin.interface import BuildHookInterface
    except ImportError:  # run as a command, outside a build

        class BuildHookInterface:
            """Stands in for hatchling's where only the command is wanted."""

            def __class_getitem__(cls, _item: object) -> type:
                return cls


ROOT = Path(__file__).resolve().parent
OBJECT_NAME = "writeaudit.bpf.o"
DIRECT_NAME = "writeaudit.direct.bpf.o"
OBJECTS: dict[str, tuple[str, ...]] = {OBJECT_NAME: (), DIRECT_NAME: ("-DWA_DIRECT",)}
"""What is built of the one source: for every kernel from 5.8 on, and for those (6.2 and later)
that let a program read kernel memory by plain loads, which is twice as fast."""

BUILD = ROOT / "build"
"""Where a checkout keeps the objects; git ignores it."""

TARGET_ARCH = {"x86_64": "x86"}
"""Machines (`uname -m`) whose registers the probes know, by libbpf's name for them.

The object itself runs on the BPF machine, which is the same everywhere; but a system call's
arguments lie in `struct pt_regs`, whose fields belong to the processor.
"""

WHEEL_PLATFORMS = "manylinux_2_17_{0}.musllinux_1_1_{0}"
"""The wheel holds no code that links a C library, so any will do; it holds no Python
extension either, hence ``py3-none``. Only Linux on that processor can use the object."""

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

_INCLUDED = {
    "probes": "writeaudit/_resources/probes",
    "reports/templates": "writeaudit/_resources/templates",
    "docs/rules": "writeaudit/_resources/rules",
}


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


def compiler() -> list[str]:
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


def target_arch(machine: str | None = None) -> str | None:
    """Return libbpf's name for the machine, or None if the probes do not know it."""
    return TARGET_ARCH.get(machine or platform.machine())


def compile_object(sources: Path, target: Path, *, extra: Sequence[str] = ()) -> str:
    """Compile ``sources``/writeaudit.bpf.c into ``target``; return the compiler's warnings.

    The file appears complete or not at all. Raises `BuildError`.
    """
    arch = target_arch()
    if arch is None:
        raise BuildError(
            f"the probes know no processor of type {platform.machine()} (only {', '.join(TARGET_ARCH)}); "
            "the strace backend works without them"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    flags = [flag.format(root=sources.parent) for flag in _FLAGS]
    command = [
        *compiler(), *flags, *extra, f"-D__TARGET_ARCH_{arch}",
        str(sources / "writeaudit.bpf.c"), "-o", str(partial),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, cwd=sources.parent, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BuildError(f"{shlex.join(command)} failed:\n{done.stderr.rstrip()}")
        partial.replace(target)
    except OSError as error:
        raise BuildError(f"cannot build {target}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return done.stderr


def compile_all(sources: Path, directory: Path, *, extra: Sequence[str] = ()) -> str:
    """Compile every object into ``directory``; return the compiler's warnings. Raises `BuildError`."""
    return "".join(
        compile_object(sources, directory / name, extra=[*flags, *extra]) for name, flags in OBJECTS.items()
    )


def up_to_date(sources: Path, target: Path) -> bool:
    """Whether ``target`` is newer than every source and than this script."""
    try:
        built = target.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    inputs = [Path(__file__), sources, *sources.rglob("*")]
    return all(path.stat().st_mtime_ns <= built for path in inputs)


class ProbesHook(BuildHookInterface[Any]):
    """What hatchling calls: see its documentation of build hooks."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Ask for a compiler only where the system has none: it is a large download."""
        if os.environ.get("WRITEAUDIT_BPF_CC") or target_arch() is None or system_clang():
            return []
        return ["ziglang>=0.13"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the object; for a wheel also say what else goes in, and for which machines."""
        root = Path(self.root)
        known = target_arch() is not None
        build = root / "build"
        if known and not all(up_to_date(root / "probes", build / name) for name in OBJECTS):
            warnings = compile_all(root / "probes", build)
            if warnings:
                self.app.display_warning(warnings)
        if version == "editable":
            return  # everything is found beside the package
        include = build_data["force_include"]
        include.update({str(root / source): place for source, place in _INCLUDED.items()})
        machine = platform.machine()
        if known:
            include.update({str(build / name): f"writeaudit/_resources/{name}" for name in OBJECTS})
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{WHEEL_PLATFORMS.format(machine)}"


def main(argv: Sequence[str] | None = None) -> int:
    """Bring the checkout's objects up to date; 0 if they are."""
    parser = argparse.ArgumentParser(description="Compile probes/ into build/*.bpf.o.")
    parser.add_argument("--force", action="store_true", help="compile even if nothing changed")
    parser.add_argument("--werror", action="store_true", help="treat the compiler's warnings as errors")
    options = parser.parse_args(argv)
    sources = ROOT / "probes"
    if target_arch() is None:
        print(f"the probes know no processor of type {platform.machine()}: nothing to build")
        return 0
    if not options.force and all(up_to_date(sources, BUILD / name) for name in OBJECTS):
        return 0
    try:
        warnings = compile_all(sources, BUILD, extra=["-Werror"] if options.werror else [])
    except BuildError as error:
        print(f"hatch_build.py: {error}", file=sys.stderr)
        return 1
    if warnings:
        print(warnings, file=sys.stderr, end="")
    print("built " + ", ".join(str((BUILD / name).relative_to(ROOT)) for name in OBJECTS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
