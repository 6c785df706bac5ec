"""The entry point: starts what takes longest first, and turns the end of everything into a status."""

from __future__ import annotations

import contextlib
import errno
import gc
import itertools
import os
import sys
from collections.abc import Sequence

from writeaudit.errors import WriteauditError, complain

TYPE_CHECKING = False  # instead of `typing`, which nobody should wait for here
if TYPE_CHECKING:
    from typing import NoReturn

_LATER = ("--buffer", "--probes")
"""Options of `run` that may mean that other programs, or none, are to be loaded."""
_BACKEND = "--backend"
_LOADING = ("auto", "ebpf")
"""What may follow it, for the same programs."""

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
_UNWRITTEN = 125
"""Exit status where the output itself found no room."""


def main() -> NoReturn:
    """Run the command line; the exit statuses are those of docs/cli.md."""
    # Nothing here makes cycles that matter, and every module and every event makes objects:
    # looking for cycles among them would take a quarter of the time.
    gc.disable()
    _open_missing_streams()
    try:
        _begin(sys.argv[1:])
        import click  # noqa: PLC0415 - start-up: while the kernel is busy

        from writeaudit.commands.group import cli  # noqa: PLC0415 - start-up
    except (OSError, RuntimeError, MemoryError) as error:
        complain(_out_of(error) or WriteauditError(f"cannot start: {error}"))
        _leave(_UNWRITTEN)
    try:
        status = cli.main(prog_name="writeaudit", standalone_mode=False)
    except click.ClickException as error:
        from writeaudit.commands.base import own_form  # noqa: PLC0415 - only mistakes need it

        complain(own_form(error))
        _leave(error.exit_code)
    except click.exceptions.Abort:
        _leave(130)
    except WriteauditError as error:
        complain(error)
        _leave(error.status)
    except BrokenPipeError:
        # Whoever read our output has gone: as any other filter would end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _leave(141)
    except Exception as error:  # the last resort: say it in one line, with a way to learn more
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            complain(WriteauditError(f"cannot write: {error.strerror}"))
            _leave(_UNWRITTEN)
        if os.environ.get("WRITEAUDIT_DEBUG"):
            raise
        if (lack := _out_of(error)) is not None:
            complain(lack)
            _leave(_UNWRITTEN)
        message = f"internal error: {type(error).__name__}: {error}"
        complain(WriteauditError(message, hint="please report it, with the output of WRITEAUDIT_DEBUG=1"))
        _leave(125)
    _leave(status if isinstance(status, int) else 0)


def _begin(words: Sequence[str]) -> None:
    """For `writeaudit run` have the BPF programs loaded while all the rest is being imported."""
    if words[:1] in (["attach"], ["confine"]):
        from writeaudit.capture.launch import signal_dispositions  # noqa: PLC0415 - start-up

        signal_dispositions.INHERITED.note_ignored()
        return
    if words[:1] != ["run"]:
        return
    from writeaudit.capture.kernel import loading  # noqa: PLC0415 - start-up
    from writeaudit.capture.kernel.privileged import client  # noqa: PLC0415 - start-up
    from writeaudit.capture.launch import signal_dispositions  # noqa: PLC0415 - start-up

    signal_dispositions.INHERITED.note_ignored()
    end = words.index("--") if "--" in words else len(words)
    options = words[1:end]
    if options.count("--help") or options.count("-h"):
        return
    backends = [after for word, after in itertools.pairwise(options) if word == _BACKEND]
    backends += [word.partition("=")[2] for word in options if word.startswith(f"{_BACKEND}=")]
    backends = backends or [os.environ.get("WRITEAUDIT_BACKEND") or _LOADING[0]]
    loads = all(name in _LOADING for name in backends)
    if any(word.startswith(_LATER) for word in options):
        loads = False
    ring_bytes = loading.RING_BYTES if loads else 0
    if os.geteuid() == 0 and (
        os.environ.get("SUDO_UID", "0") != "0"
        or _names(options, "--user")
        or os.environ.get("WRITEAUDIT_USER")
    ):
        # What is imported from here on must not be left behind as root's, in a user's directory.
        sys.dont_write_bytecode = True
        client.start_by_fork(ring_bytes)
    elif os.geteuid() != 0 and ("--sudo" in options or os.environ.get("WRITEAUDIT_SUDO") == "1"):
        if loads:
            with contextlib.suppress(WriteauditError):  # raised again by `run`
                client.start_through_sudo(ring_bytes)
    elif loads:
        loading.AHEAD.start_loading(ring_bytes)


def _out_of(error: BaseException | None) -> WriteauditError | None:
    """Return what to say of an error that a limit of this process or user is behind, if one is."""
    while error is not None:
        text = str(error)
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return WriteauditError("there is not enough memory", hint="see: ulimit -v, ulimit -a")
        if "can't start new thread" in text or (isinstance(error, OSError) and error.errno == errno.EAGAIN):
            return WriteauditError(
                "no more processes or threads can be started", hint="raise the limit: ulimit -u"
            )
        if (
            isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)
        ) or "Too many open" in text:
            return WriteauditError("too many files are open", hint="raise the limit: ulimit -n")
        error = error.__cause__ or error.__context__
    return None


def _names(options: Sequence[str], option: str) -> bool:
    return any(word == option or word.startswith(f"{option}=") for word in options)


def _open_missing_streams() -> None:
    """Let standard streams that the caller closed go nowhere: Python has None for them.

    Their numbers are taken, until the command's exec: some library's file would be its standard input else.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free; not inherited
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end


def _leave(status: int) -> NoReturn:
    """End the process, without taking apart all that it made: that would take its time for nothing."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError as error:
        status = status or _UNWRITTEN
        with contextlib.suppress(OSError):
            os.write(2, f"writeaudit: cannot write: {error.strerror}\n".encode())
    os._exit(status)
