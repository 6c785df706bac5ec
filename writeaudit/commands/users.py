"""As whom the audited command runs: through sudo it is the user who called sudo."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping

from writeaudit.capture.interface import Credentials
from writeaudit.errors import UsageError
from writeaudit.text import is_number

_USER_PROGRAMS = (".local/bin", ".cargo/bin")
"""Where installers of one user live; sudo's own PATH leaves them out."""
_DIGITS = 10
"""So many has the greatest number of a user."""


def credentials_of(name: str) -> Credentials:
    """Return the credentials of a user, by name or number. Raises UsageError."""
    try:
        entry = pwd.getpwuid(int(name)) if is_number(name, _DIGITS) else pwd.getpwnam(name)
    except KeyError:
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
    env |= {b"HOME": home, b"USER": name, b"LOGNAME": name}
    path = env.get(b"PATH", os.fsencode(os.defpath)).split(b":")
    for directory in (os.path.join(home, os.fsencode(part)) for part in _USER_PROGRAMS):
        if directory not in path and os.path.isdir(directory):
            path.append(directory)
    env[b"PATH"] = b":".join(path)
    return env
