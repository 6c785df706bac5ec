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


def gather(context: ProfileContext) -> None:
    """Add the zones of a gem or bundle command."""
    caches = context.xdg("XDG_CACHE_HOME", ".cache")
    share = context.xdg("XDG_DATA_HOME", ".local/share")
    home = context.env.get("BUNDLE_USER_HOME")
    bundle_home = context.path(home) if home else os.path.join(context.home, ".bundle")
    cache = context.env.get("BUNDLE_USER_CACHE")
    context.zone(
        "cache",
        os.path.join(caches, "gem"),
        os.path.join(context.home, ".gem", "specs"),
        os.path.join(share, "gem", "specs"),
        context.path(cache) if cache else os.path.join(bundle_home, "cache"),
    )
    context.zone("state", bundle_home)
    context.zone("gems", *_gems(context))
    if os.path.basename(context.run.program).startswith("bundle"):
        _bundler(context)
    elif context.operands(_WITH_VALUE)[:1] == ["build"]:
        context.zone("output", patterns=[each + b"/*.gem" for each in context.patterns(context.cwd)])


def _gems(context: ProfileContext) -> list[str]:
    programs = context.option("-n", "--bindir")
    if given := context.option("-i", "--install-dir") or context.env.get("GEM_HOME"):
        return [context.path(given), *([context.path(programs)] if programs else [])]
    own = [
        os.path.join(context.home, ".gem"),
        os.path.join(context.xdg("XDG_DATA_HOME", ".local/share"), "gem"),
    ]
    if context.flag("--user-install"):
        return [*own, *([context.path(programs)] if programs else [])]
    # Debian's place; that of a Ruby of one's own is beside its program.
    program = context.program("ruby")
    prefix = os.path.dirname(os.path.dirname(os.path.realpath(program))) if program else "/usr"
    system = ["/var/lib/gems", "/usr/local/bin"] if prefix == "/usr" else [
        os.path.join(prefix, "lib", "ruby", "gems"), os.path.join(prefix, "bin")
    ]  # fmt: skip
    return [*own, *system]


def _bundler(context: ProfileContext) -> None:
    gemfile = context.option("--gemfile") or context.env.get("BUNDLE_GEMFILE")
    root = os.path.dirname(context.path(gemfile)) if gemfile else context.nearest("Gemfile") or context.cwd
    place = (
        context.option("--path")
        or context.env.get("BUNDLE_PATH")
        or context.setting(os.path.join(root, ".bundle", "config"), "BUNDLE_PATH", ":")
    )
    context.protected("project", root)
    if place:
        context.zone("gems", context.path(place, base=root))
    else:
        context.zone("gems", os.path.join(root, "vendor", "bundle"))
    context.zone("state", os.path.join(root, ".bundle"))
    frozen = context.flag("--frozen", "--deployment") or context.truthy("BUNDLE_FROZEN")
    words = [word for word in context.run.args if not word.startswith("-")]
    if (
        words[:1] in ([], ["install"], ["update"], ["add"], ["remove"], ["lock"], ["init"], ["cache"])
        and not frozen
    ):
        context.zone("lockfile", os.path.join(root, "Gemfile.lock"), os.path.join(root, "gems.locked"))
    if words[:1] in (["add"], ["remove"], ["init"]):
        context.zone("lockfile", os.path.join(root, "Gemfile"))
    if words[:1] in (["cache"], ["package"]):
        context.zone("output", os.path.join(root, "vendor", "cache"))
