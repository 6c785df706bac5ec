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


def gather(context: ProfileContext) -> None:
    """Add the zones of a package manager's command."""
    program = os.path.basename(context.run.program)
    if program in ("debootstrap", "mmdebstrap"):
        _bootstrap(context, program)
    elif program == "dpkg-deb":
        _archive(context)
    elif program in ("dpkg", "dpkg-query", "dpkg-divert", "update-alternatives"):
        _dpkg(context)
    else:
        _apt(context)


def _apt(context: ProfileContext) -> None:
    operands = context.operands(frozenset({"-o", "--option", "-c", "--config-file", "-t", "-a"}))
    word = operands[0] if operands else ""
    context.zone("cache", "/var/cache/apt", "/var/lib/apt/lists")
    context.zone("state", "/var/lib/apt", "/var/log/apt", "/var/lib/dpkg", "/var/lib/update-notifier")
    if word in ("update", "autoclean", "clean", "policy", "show", "search", "list", "indextargets"):
        return
    if word in ("download", "source", "changelog"):
        context.zone("output", context.cwd)
        return
    _system(context, "/")


def _dpkg(context: ProfileContext) -> None:
    root = context.option("--root", "--instdir") or context.env.get("DPKG_ROOT") or "/"
    root = context.path(root)
    admin = context.option("--admindir") or context.env.get("DPKG_ADMINDIR")
    context.zone("state", context.path(admin) if admin else os.path.join(root, "var/lib/dpkg"))
    if any(word in context.run.args for word in ("-b", "--build", "-x", "-X", "-e", "-R", "--extract")):
        _archive(context)
    _system(context, root)


def _archive(context: ProfileContext) -> None:
    """`dpkg-deb -b DIR [FILE]` makes an archive, `-x FILE DIR` unpacks one."""
    operands = context.operands(frozenset({"-Z", "-z", "-S"}))
    if any(word in context.run.args for word in ("-b", "--build")):
        place = context.path(operands[1] if operands[1:] else os.path.dirname(os.path.normpath(operands[0])))
        context.zone("output", place) if operands else None
    elif operands[1:]:
        context.zone("output", context.path(operands[1]))


def _bootstrap(context: ProfileContext, program: str) -> None:
    operands = context.operands(_BOOTSTRAP_WITH_VALUE)
    if operands[1:]:
        context.zone("target", context.path(operands[1]))
    elif program == "debootstrap" and operands:
        context.zone("target", context.path(operands[0]))
    if place := context.option("--cache-dir", "--make-tarball"):
        context.zone("cache", context.path(place))
    if program == "mmdebstrap":
        context.zone("cache", "/var/cache/apt", "/var/lib/apt/lists")


def _system(context: ProfileContext, root: str) -> None:
    context.zone("system", *(os.path.join(root, name) for name in _SYSTEM))
    if os.path.normpath(root) != "/":
        context.zone("system", root)
