"""Under what circumstances a command is run: by whom, where, and what decides where its files go."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import re
import stat
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from writeaudit import __version__
from writeaudit.audit import BackendInfo, RunInfo
from writeaudit.capture.interface import Command
from writeaudit.capture.requirements import check_proc
from writeaudit.capture.targets import Attachment, Target

_PLACES = re.compile(
    r"HOME|PWD|TMPDIR|VIRTUAL_ENV|CONDA_PREFIX|UV_NO_CACHE|UV_LINK_MODE|UV_PROJECT_ENVIRONMENT|UV_PROJECT|"
    r"[A-Z0-9_]+_(DIR|DIRECTORY|HOME|PREFIX|CACHE|ROOT|DIRS|FOLDER|PATH)"
)
"""Variables that say where things go. No others are kept, but those that the policy asks for by name:
they may hold secrets."""

_SETTINGS = ("fs/protected_hardlinks", "fs/protected_symlinks")


def run_info(target: Target, notes: Sequence[str] = ()) -> RunInfo:
    """Return what is known of a run before it begins; its backend is not.

    Raises `BackendUnavailable` without /proc.
    """
    check_proc()
    if isinstance(target, Attachment):
        info = _info_of(target.subject, notes)
        host = {name: value for name, value in info.host.items() if name != "umask"}
        if target.umask is not None:
            host["umask"] = target.umask
        return replace(info, cwd=target.cwd, host=host, inherited=(), joined=target.names)
    return _info_of(target, notes)


def _info_of(command: Command, notes: Sequence[str]) -> RunInfo:
    uid = os.getuid()
    system = os.uname()
    return RunInfo(
        command=command.argv,
        cwd=os.getcwdb(),
        user=_user_name(uid),
        uid=uid,
        started=time.time(),
        duration_s=0.0,
        exit_status=None,
        signal=None,
        backend=BackendInfo("", "", ""),
        kernel=system.release,
        arch=system.machine,
        env=placing_variables(command.env, command.named),
        tool_version=__version__,
        host=_read_settings(),
        inherited=tuple(_inherited_files()),
        notes=tuple(notes),
        landlock=command.landlock,
    )


def placing_variables(env: Mapping[bytes, bytes], named: Collection[str] = ()) -> dict[str, str]:
    """Return the variables that say where things go, as text, with those ``named``."""
    texts = {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()}
    return {name: value for name, value in sorted(texts.items()) if name in named or _PLACES.fullmatch(name)}


def _read_settings() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _SETTINGS:
        try:
            with open(f"/proc/sys/{name}", encoding="ascii") as setting:
                found[name.replace("/", ".")] = setting.read().strip()
        except OSError:
            continue
    found["umask"] = _read_umask()
    return found


def _read_umask() -> str:
    """Return the umask that the command inherits, as an octal number."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("Umask:"):
                    return line.split()[1]
    except OSError:
        pass
    return "0022"


def _inherited_files() -> Iterator[bytes]:
    """Yield the files that the command will find open for writing: its redirected streams, mostly."""
    seen: set[bytes] = set()
    for number in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            if not os.get_inheritable(number) or not stat.S_ISREG(os.fstat(number).st_mode):
                continue
            if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                continue
            path = os.readlink(b"/proc/self/fd/%d" % number)
            if path not in seen and os.path.samestat(os.stat(path), os.fstat(number)):
                seen.add(path)
                yield path


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
