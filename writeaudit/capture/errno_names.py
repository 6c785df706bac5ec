"""Names of errnos, as both backends write them."""

from __future__ import annotations

import errno

# The kernel's own codes for a call that a signal broke off (include/linux/errno.h).
_RESTART = {512, 513, 514, 516}

_ERRNO_NAMES = {**errno.errorcode, errno.EOPNOTSUPP: "EOPNOTSUPP", errno.EDEADLK: "EDEADLK"}
"""Where two names share a number, the one that the man pages of files use."""


def errno_name(number: int) -> str:
    """Return the name of an errno: ``EXDEV``; ``E4095`` for one without."""
    if number in _RESTART:
        return "EINTR"
    return _ERRNO_NAMES.get(number, f"E{number}")
