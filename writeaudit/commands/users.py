"""As whom the command and its audit run: through sudo it is the user who called sudo."""

from __future__ import annotations

import codecs
import importlib
import os
import pkgutil
import pwd
from collections.abc import Mapping
from typing import NamedTuple

import writeaudit
from writeaudit.errors import CaptureError, UsageError
from writeaudit.text import is_number

_USER_PROGRAMS = (".local/bin", ".cargo/bin")
"""Where installers of one user live; sudo's own PATH leaves them out."""
_DIGITS = 10
"""So many has the greatest number of a user."""
_NOBODY_AT_ALL = (1 << 32) - 1
"""(uid_t)-1 stands for "leave it" in system calls."""


class Credentials(NamedTuple):
    """A user (`--user`, or the one who called sudo)."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def credentials_of(name: str) -> Credentials:
    """Return the credentials of a user, by name or number. Raises UsageError.

    A number need not stand in the user database: such a user has the group of the same number, no other
    groups, and the home directory `/`, as in containers that run under an arbitrary number.
    """
    try:
        entry = pwd.getpwuid(int(name)) if is_number(name, _DIGITS) else pwd.getpwnam(name)
    except (KeyError, OverflowError):
        if is_number(name, _DIGITS) and int(name) < _NOBODY_AT_ALL:
            return Credentials(name, int(name), int(name), (), "/")
        raise UsageError(f"no such user: {name}", hint="see: getent passwd") from None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Credentials(entry.pw_name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir)


def command_user(wanted: str | None, environ: Mapping[str, str]) -> Credentials | None:
    """Return as whom to run the command; None: as ourselves. Raises UsageError."""
    if wanted is None:
        caller = environ.get("SUDO_UID", "")
        if os.geteuid() != 0 or not is_number(caller, _DIGITS) or caller == "0":
            return None
        wanted = caller
    chosen = credentials_of(wanted)
    if chosen.uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise UsageError(f"only root can run a command as {chosen.name}", hint="sudo writeaudit run --user …")
    return chosen


def command_environment(user: Credentials | None, environ: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the command's environment: our own, with what names the user put right."""
    env = dict(environ)
    if user is None:
        return env
    home = os.fsencode(user.home)
    name = os.fsencode(user.name)
    # Root's, or nobody's: the user's default holds.
    env.pop(b"XDG_STATE_HOME", None)
    env |= {b"HOME": home, b"USER": name, b"LOGNAME": name}
    path = env.get(b"PATH", os.fsencode(os.defpath)).split(b":")
    for directory in (os.path.join(home, os.fsencode(part)) for part in _USER_PROGRAMS):
        if directory not in path and os.path.isdir(directory):
            path.append(directory)
    env[b"PATH"] = b":".join(path)
    return env


def become(user: Credentials) -> None:
    """Be another user from here on: no way leads back to root. Raises `CaptureError`."""
    try:
        os.setgroups(user.groups)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(-1, user.uid, -1)
        if not _can_import():
            os.setresuid(-1, 0, -1)
            _import_all()
        os.setresuid(user.uid, user.uid, user.uid)
    except OSError as error:
        raise CaptureError(f"cannot change to the user {user.name}: {error.strerror}") from error


def _can_import() -> bool:
    """Whether this user may read the modules that are still to be imported."""
    try:
        for path in (os.__file__, *(os.path.join(place, "events.py") for place in writeaudit.__path__)):
            os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


_LATE_MODULES = (
    *("configparser", "difflib", "pathlib", "pwd", "shlex", "shutil", "tempfile", "tomllib", "traceback"),
    *("elftools.elf.elffile", "elftools.elf.segments", "jinja2.debug", "markupsafe"),
    *("rich.console", "rich.table", "rich.text", "rich.progress"),
)
"""What is imported where it is needed."""


def _import_all() -> None:
    """Import all that a run may need, while that can be read: Python may lie in root's own directories."""
    for module in pkgutil.walk_packages(writeaudit.__path__, "writeaudit."):
        if not module.name.endswith(("__main__", ".bcc.backend")):
            importlib.import_module(module.name)
    for name in _LATE_MODULES:
        importlib.import_module(name)
    for encoding in ("ascii", "idna", "latin-1", "utf-8", "utf-8-sig", "unicode-escape"):
        codecs.lookup(encoding)
    from writeaudit.report.html.writer import template_sources

    template_sources()
