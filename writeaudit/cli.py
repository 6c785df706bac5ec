"""The entry point: starts what takes longest first, and turns the end of everything into a status."""

from __future__ import annotations

import contextlib
import errno
import gc
import itertools
import os
import sys
from collections.abc import Sequence

from writeaudit.errors import WriteauditError

TYPE_CHECKING = False  # instead of `typing`, which nobody should wait for here
if TYPE_CHECKING:
    from typing import NoReturn

_LATER = ("-h", "--help", "--buffer", "--probes")
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
    _begin(sys.argv[1:])
    import click  # noqa: PLC0415 - start-up: while the kernel is busy

    from writeaudit.commands.group import cli  # noqa: PLC0415 - start-up

    try:
        status = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
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
        message = f"internal error: {type(error).__name__}: {error}"
        complain(WriteauditError(message, hint="please report it, with the output of WRITEAUDIT_DEBUG=1"))
        _leave(125)
    _leave(status if isinstance(status, int) else 0)


def _begin(words: Sequence[str]) -> None:
    """For `writeaudit run` have the BPF programs loaded while all the rest is being imported."""
    if words[:1] != ["run"]:
        return
    from writeaudit.capture import dispositions, loading  # noqa: PLC0415 - start-up

    dispositions.remember()
    end = words.index("--") if "--" in words else len(words)
    options = words[1:end]
    backends = [after for word, after in itertools.pairwise(options) if word == _BACKEND]
    backends += [word.partition("=")[2] for word in options if word.startswith(f"{_BACKEND}=")]
    if all(name in _LOADING for name in backends) and not any(word.startswith(_LATER) for word in options):
        loading.load_ahead(loading.RING_BYTES)


def _open_missing_streams() -> None:
    """Let standard streams that the caller closed go nowhere: Python has None for them."""
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end


def complain(error: WriteauditError) -> None:
    """Print what went wrong and what to do next. Names in it cannot reach the terminal raw."""
    lines = [f"writeaudit: {error.message}"]
    if error.hint:
        lines.append(f"  hint: {error.hint}")
    for line in lines:
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
        sys.stderr.write(f"{text}\n")


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
