"""apt, dpkg, debootstrap, mmdebstrap: the system's own places, or those of another root directory."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext

_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "opt", "boot", "var", "run", "srv")
_BOOTSTRAP_WITH_VALUE = frozenset(
    [
        "--arch",
        "--include",
        "--exclude",
        "--components",
        "--variant",
        "--merged-usr",
        "--keyring",
        "--certificate",
        "--private-key",
        "--cache-dir",
        "--mirror",
        "--customize-hook",
        "--setup-hook",
        "--extract-hook",
        "--essential-hook",
        "--hook-dir",
        "--aptopt",
        "--dpkgopt",
        "--mode",
        "--format",
        "--architectures",
        "--keep-debootstrap-dir",
        "--unpack-tarball",
        "--make-tarball",
        "--foreign",
        "--extractor",
    ]
)


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a package manager's command."""
    program = os.path.basename(context.run.program)
    if program in ("debootstrap", "mmdebstrap"):
        _add_bootstrap_zones(context, program)
    elif program == "dpkg-deb":
        _add_archive_zones(context)
    elif program in ("dpkg", "dpkg-query", "dpkg-divert", "update-alternatives"):
        _add_dpkg_zones(context)
    else:
        _add_apt_zones(context)


def _add_apt_zones(context: ProfileContext) -> None:
    operands = context.list_operands(frozenset({"-o", "--option", "-c", "--config-file", "-t", "-a"}))
    word = operands[0] if operands else ""
    context.add_zone("cache", "/var/cache/apt", "/var/lib/apt/lists")
    context.add_zone("state", "/var/lib/apt", "/var/log/apt", "/var/lib/dpkg", "/var/lib/update-notifier")
    if word in ("update", "autoclean", "clean", "policy", "show", "search", "list", "indextargets"):
        return
    if word in ("download", "source", "changelog"):
        context.add_zone("output", context.cwd)
        return
    _add_system_zones(context, "/")


def _add_dpkg_zones(context: ProfileContext) -> None:
    root = context.last_option("--root", "--instdir") or context.env.get("DPKG_ROOT") or "/"
    root = context.make_absolute(root)
    admin = context.last_option("--admindir") or context.env.get("DPKG_ADMINDIR")
    context.add_zone("state", context.make_absolute(admin) if admin else os.path.join(root, "var/lib/dpkg"))
    if any(word in context.run.args for word in ("-b", "--build", "-x", "-X", "-e", "-R", "--extract")):
        _add_archive_zones(context)
    _add_system_zones(context, root)


def _add_archive_zones(context: ProfileContext) -> None:
    """`dpkg-deb -b DIR [FILE]` makes an archive, `-x FILE DIR` unpacks one."""
    operands = context.list_operands(frozenset({"-Z", "-z", "-S"}))
    if any(word in context.run.args for word in ("-b", "--build")):
        place = context.make_absolute(
            operands[1] if operands[1:] else os.path.dirname(os.path.normpath(operands[0]))
        )
        context.add_zone("output", place) if operands else None
    elif operands[1:]:
        context.add_zone("output", context.make_absolute(operands[1]))


def _add_bootstrap_zones(context: ProfileContext, program: str) -> None:
    operands = context.list_operands(_BOOTSTRAP_WITH_VALUE)
    if operands[1:]:
        context.add_zone("target", context.make_absolute(operands[1]))
    elif program == "debootstrap" and operands:
        context.add_zone("target", context.make_absolute(operands[0]))
    if place := context.last_option("--cache-dir", "--make-tarball"):
        context.add_zone("cache", context.make_absolute(place))
    if program == "mmdebstrap":
        context.add_zone("cache", "/var/cache/apt", "/var/lib/apt/lists")


def _add_system_zones(context: ProfileContext, root: str) -> None:
    context.add_zone("system", *(os.path.join(root, name) for name in _SYSTEM))
    if os.path.normpath(root) != "/":
        context.add_zone("system", root)
