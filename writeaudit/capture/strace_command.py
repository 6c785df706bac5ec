"""Which file a command is: found before strace runs, so that strace's failures are not the command's."""

from __future__ import annotations

import errno
import os
import stat

from writeaudit.capture.interface import Command
from writeaudit.errors import CommandNotExecutable, CommandNotFound


def find_program(command: Command) -> bytes:
    """Return the file that execvp(3) would execute, by the command's own PATH.

    Raises `CommandNotFound` or `CommandNotExecutable`.
    """
    name = command.argv[0]
    if b"/" in name:
        candidates = [name]
    else:
        search = command.env.get(b"PATH", os.fsencode(os.defpath))
        candidates = [os.path.join(folder or b".", name) for folder in search.split(b":")]
    refused: OSError | None = None
    for candidate in candidates:
        try:
            mode = os.stat(candidate).st_mode
        except OSError as error:
            if error.errno == errno.EACCES:
                refused = error
            continue
        if stat.S_ISREG(mode) and os.access(candidate, os.X_OK):
            _check_interpreter(name, candidate)
            return candidate
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EACCES
        if not stat.S_ISDIR(mode) or len(candidates) == 1:
            refused = OSError(number, os.strerror(number))
    shown = os.fsdecode(name)
    if refused is not None:
        raise CommandNotExecutable(f"{shown!r} cannot be executed: {refused.strerror}")
    raise CommandNotFound(f"{shown!r}: command not found", hint="check the spelling and PATH")


def _check_interpreter(name: bytes, program: bytes) -> None:
    """Raise `CommandNotFound` if a script's interpreter is missing.

    Only to spare the user strace's own message, which does not say so.
    """
    try:
        with open(program, "rb") as file:
            is_script = file.read(2) == b"#!"
            words = file.readline(256).split(maxsplit=1) if is_script else []
    except OSError:
        return  # executable, not readable
    if words and not os.path.exists(words[0]):
        interpreter = os.fsdecode(words[0])
        raise CommandNotFound(
            f"{os.fsdecode(name)!r} cannot be executed: its interpreter {interpreter!r} does not exist",
            hint="install it, or correct the first line of the script",
        )


def as_strace_finds(command: Command, program: bytes) -> list[bytes]:
    """Return the command such that strace, which searches PATH less carefully, runs ``program``."""
    name, *rest = command.argv
    if b"/" not in name:
        for folder in command.env.get(b"PATH", b"").split(b":"):
            candidate = os.path.join(folder or b".", name)
            try:
                mode = os.stat(candidate).st_mode
            except OSError:
                continue
            if stat.S_ISREG(mode) and mode & 0o111:
                if candidate == program:
                    return list(command.argv)
                break
        name = program
    return [name, *rest]
