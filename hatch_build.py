"""Compiles probes/ into the CO-RE object, for wheels, for checkouts and as a command.

As hatchling's build hook it puts the object and everything else that lies outside the
package into the wheel, under ``writeaudit/_resources/``. As a command (``python
hatch_build.py``, or ``make probes``) it brings the object of a checkout up to date in
``build/``; it needs nothing but the standard library and a compiler then.

As hatchling's metadata hook it gives the package index a README whose links work there: with
``WRITEAUDIT_REPOSITORY_URL=https://…`` they lead into that repository, and so do the project's URLs;
without it, as long as no public address is known, a link becomes its text and the path of the file.

What is compiled and how: ``writeaudit/capture/kernel/compiler.py``, which ``run --probes`` uses, too.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
    from hatchling.metadata.plugin.interface import MetadataHookInterface
else:
    try:
        from hatchling.builders.hooks.plugin.interface import BuildHookInterface
        from hatchling.metadata.plugin.interface import MetadataHookInterface
    except ImportError:  # run as a command, outside a build

        class BuildHookInterface:
            """Stands in for hatchling's where only the command is wanted."""

            def __class_getitem__(cls, _item: object) -> type:
                return cls

        MetadataHookInterface = object


ROOT = Path(__file__).resolve().parent
# What is built is beside this script; a build environment has only the dependencies in its path.
sys.path.insert(0, str(ROOT))
try:
    from writeaudit.capture.kernel import compiler
    from writeaudit.capture.kernel.compiler import OBJECTS, BuildError, compile_all, system_clang, target_arch
finally:
    sys.path.remove(str(ROOT))

BUILD = ROOT / "build"
"""Where a checkout keeps the objects; git ignores it."""

WHEEL_PLATFORMS = "manylinux_2_17_{0}.musllinux_1_1_{0}"
"""The wheel holds no code that links a C library, so any will do; it holds no Python
extension either, hence ``py3-none``. Only Linux on that processor can use the object."""

_INCLUDED = {
    "probes": "writeaudit/_resources/probes",
    "reports/templates": "writeaudit/_resources/templates",
    "docs/rules": "writeaudit/_resources/rules",
}


def up_to_date(sources: Path, target: Path) -> bool:
    """Whether ``target`` is newer than every source and than what compiles it."""
    try:
        built = target.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    inputs = [Path(__file__), Path(compiler.__file__), sources, *sources.rglob("*")]
    return all(path.stat().st_mtime_ns <= built for path in inputs)


_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?://|mailto:|#)([^)\s]+)\)")
"""A link to a file of this repository, in Markdown."""


def readme_for_index(text: str, repository: str | None) -> str:
    """Return the README with links that work where the repository's files are not."""

    def replace(match: re.Match[str]) -> str:
        words, target = match.groups()
        if repository is not None:
            return f"[{words}]({repository.rstrip('/')}/blob/main/{target})"
        path = target.partition("#")[0]
        return words if words == path else f"{words} ({path})"

    return _LINK.sub(replace, text)


class ReadmeHook(MetadataHookInterface):
    """What hatchling calls for the fields that pyproject.toml leaves dynamic."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the long description and, where the repository's address is known, the URLs."""
        repository = os.environ.get("WRITEAUDIT_REPOSITORY_URL") or None
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": readme_for_index(text, repository),
        }
        metadata["urls"] = {}
        if repository is not None:
            base = repository.rstrip("/")
            metadata["urls"] = {
                "Source": base,
                "Issues": f"{base}/issues",
                "Changelog": f"{base}/blob/main/CHANGELOG.md",
                "Documentation": f"{base}/blob/main/docs/index.md",
            }


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
