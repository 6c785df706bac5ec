"""gem and bundler: installed gems, their programs, and the caches of both."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext

_WITH_VALUE = frozenset(
    [
        "-i",
        "--install-dir",
        "-n",
        "--bindir",
        "-v",
        "--version",
        "-s",
        "--source",
        "-P",
        "--trust-policy",
        "--path",
    ]
)


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a gem or bundle command."""
    caches = context.xdg_directory("XDG_CACHE_HOME", ".cache")
    share = context.xdg_directory("XDG_DATA_HOME", ".local/share")
    home = context.env.get("BUNDLE_USER_HOME")
    bundle_home = context.make_absolute(home) if home else os.path.join(context.home, ".bundle")
    cache = context.env.get("BUNDLE_USER_CACHE")
    context.add_zone(
        "cache",
        os.path.join(caches, "gem"),
        os.path.join(context.home, ".gem", "specs"),
        os.path.join(share, "gem", "specs"),
        context.make_absolute(cache) if cache else os.path.join(bundle_home, "cache"),
    )
    context.add_zone("state", bundle_home)
    context.add_zone("gems", *_list_gem_homes(context))
    if os.path.basename(context.run.program).startswith("bundle"):
        _add_bundler_zones(context)
    elif context.list_operands(_WITH_VALUE)[:1] == ["build"]:
        context.add_zone("output", patterns=[each + b"/*.gem" for each in context.patterns_for(context.cwd)])


def _list_gem_homes(context: ProfileContext) -> list[str]:
    programs = context.last_option("-n", "--bindir")
    if given := context.last_option("-i", "--install-dir") or context.env.get("GEM_HOME"):
        return [context.make_absolute(given), *([context.make_absolute(programs)] if programs else [])]
    own = [
        os.path.join(context.home, ".gem"),
        os.path.join(context.xdg_directory("XDG_DATA_HOME", ".local/share"), "gem"),
    ]
    if context.has_flag("--user-install"):
        return [*own, *([context.make_absolute(programs)] if programs else [])]
    # Debian's place; that of a Ruby of one's own is beside its program.
    program = context.find_program("ruby")
    prefix = os.path.dirname(os.path.dirname(os.path.realpath(program))) if program else "/usr"
    system = ["/var/lib/gems", "/usr/local/bin"] if prefix == "/usr" else [
        os.path.join(prefix, "lib", "ruby", "gems"), os.path.join(prefix, "bin")
    ]  # fmt: skip
    return [*own, *system]


def _add_bundler_zones(context: ProfileContext) -> None:
    gemfile = context.last_option("--gemfile") or context.env.get("BUNDLE_GEMFILE")
    root = (
        os.path.dirname(context.make_absolute(gemfile))
        if gemfile
        else context.find_nearest("Gemfile") or context.cwd
    )
    place = (
        context.last_option("--path")
        or context.env.get("BUNDLE_PATH")
        or context.read_setting(os.path.join(root, ".bundle", "config"), "BUNDLE_PATH", ":")
    )
    context.protect_paths("project", root)
    if place:
        context.add_zone("gems", context.make_absolute(place, base=root))
    else:
        context.add_zone("gems", os.path.join(root, "vendor", "bundle"))
    context.add_zone("state", os.path.join(root, ".bundle"))
    frozen = context.has_flag("--frozen", "--deployment") or context.is_truthy("BUNDLE_FROZEN")
    words = [word for word in context.run.args if not word.startswith("-")]
    if (
        words[:1] in ([], ["install"], ["update"], ["add"], ["remove"], ["lock"], ["init"], ["cache"])
        and not frozen
    ):
        context.add_zone("lockfile", os.path.join(root, "Gemfile.lock"), os.path.join(root, "gems.locked"))
    if words[:1] in (["add"], ["remove"], ["init"]):
        context.add_zone("lockfile", os.path.join(root, "Gemfile"))
    if words[:1] in (["cache"], ["package"]):
        context.add_zone("output", os.path.join(root, "vendor", "cache"))
