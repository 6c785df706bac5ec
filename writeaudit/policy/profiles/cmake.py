"""cmake, ctest and ninja: the build directory; the sources are protected if they lie elsewhere."""

from __future__ import annotations

import json
import os

from writeaudit.policy.profiles.ccache import compiler_caches
from writeaudit.policy.profiles.context import ProfileContext

_WITH_VALUE = frozenset(
    [
        "-S",
        "-B",
        "-C",
        "-D",
        "-U",
        "-G",
        "-T",
        "-A",
        "--preset",
        "--build",
        "--install",
        "--prefix",
        "-j",
        "--target",
        "-t",
        "--config",
        "-f",
    ]
)


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a cmake or ninja command."""
    compiler_caches(context)
    if context.run.tool == "ninja":
        place = context.last_option("-C")
        context.add_zone("build", context.make_absolute(place) if place else context.cwd)
        return
    if place := context.last_option("--build") or context.last_option("--test-dir"):
        context.add_zone("build", context.make_absolute(place))
        return
    if place := context.last_option("--install"):
        context.add_zone("build", context.make_absolute(place))
        _add_install_prefix(context, context.make_absolute(place))
        return
    operands = context.list_operands(_WITH_VALUE)
    given = context.last_option("-S") or (operands[0] if operands else None)
    source = context.make_absolute(given) if given else context.cwd
    if os.path.exists(os.path.join(source, "CMakeCache.txt")) and not context.last_option("-S"):
        context.add_zone("build", source)
        return
    built = context.last_option("-B")
    preset = context.last_option("--preset")
    presets = os.path.join(source, "CMakePresets.json")
    place = context.cwd
    if built:
        place = context.make_absolute(built)
    elif preset:
        place = context.project_text(_of_preset(source, preset), presets)
    context.add_zone("build", place)
    if os.path.normpath(source) != os.path.normpath(place):
        context.protect_paths("project", source)
    # export(PACKAGE) and find_package() share a registry.
    context.add_zone("state", os.path.join(context.home, ".cmake", "packages"))


def _add_install_prefix(context: ProfileContext, build: str) -> None:
    prefix = context.last_option("--prefix") or context.read_setting(
        os.path.join(build, "CMakeCache.txt"), "CMAKE_INSTALL_PREFIX:PATH", "="
    )
    if destination := context.env.get("DESTDIR"):
        context.add_zone("output", context.make_absolute(destination))
    elif prefix and len(os.path.normpath(prefix)) > 1:
        context.add_zone("output", context.make_absolute(prefix))


def _of_preset(source: str, preset: str) -> str:
    """Return the binaryDir of a configure preset; the usual one if that cannot be told."""
    for name in ("CMakeUserPresets.json", "CMakePresets.json"):
        try:
            with open(os.path.join(source, name), encoding="utf-8") as file:
                presets = {each["name"]: each for each in json.load(file)["configurePresets"]}
            place = _find_inherited_directory(presets, preset, 8)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        if place is not None:
            text = place.replace("${sourceDir}", source).replace("${presetName}", preset)
            return os.path.join(source, text)
    return os.path.join(source, "build")


def _find_inherited_directory(presets: dict[str, dict[str, object]], name: str, depth: int) -> str | None:
    preset = presets.get(name)
    if preset is None or depth == 0:
        return None
    own = preset.get("binaryDir")
    if isinstance(own, str):
        return own
    above = preset.get("inherits", [])
    for each in [above] if isinstance(above, str) else above if isinstance(above, list) else []:
        found = _find_inherited_directory(presets, str(each), depth - 1)
        if found is not None:
            return found
    return None
