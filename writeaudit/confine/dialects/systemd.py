"""A drop-in for a service (systemd.exec(5)): ``ProtectSystem=strict`` and what is excepted from it.

Lists are split at blanks and may be quoted; ``%`` begins a specifier, in TemporaryFileSystem= a colon begins
the options. A unit file has no way to say a control character in a path.
"""

from __future__ import annotations

from writeaudit.confine.dialects.common import (
    Subject,
    comments,
    hash_comments,
    is_plain_tmpfs,
    mebibytes,
    sort_places,
)
from writeaudit.confine.writable import Kind, Place
from writeaudit.text import escape_path

_CONTROL = "".join(map(chr, [*range(32), 127]))
_SAYS = (
    "A drop-in: /etc/systemd/system/NAME.service.d/writable.conf. /dev, /proc and /sys stay as they are; "
    "PrivateTmp=yes would be another way for /tmp and /var/tmp."
)


def render_systemd(subject: Subject) -> str:
    """Return a drop-in."""
    found = sort_places(subject.places, "systemd", _CONTROL)
    extra = [*found.refused, _SAYS]
    if any(place.copy_up and place.kind is Kind.TMPFS for place in found.places):
        extra.append(
            "What holds content is excepted as it is (ReadWritePaths=): systemd copies nothing into a tmpfs."
        )
    lines = ["[Service]", "ProtectSystem=strict"]
    for place in found.places:
        if is_plain_tmpfs(place) and b":" not in place.path:
            lines.append(f"TemporaryFileSystem={_word(place.path.decode(), _options(place))}")
        elif place.exists:
            lines.append(f"ReadWritePaths={_word(place.path.decode())}")
            if not place.executed and place.kind is not Kind.BIND:
                lines.append(f"NoExecPaths={_word(place.path.decode())}")
        else:
            extra.append(f"{escape_path(place.path)} has to be made before the service starts (tmpfiles.d).")
            lines.append(f"ReadWritePaths={_word(place.path.decode())}")
    return hash_comments(comments(subject, "a systemd service", extra)) + "\n".join(lines) + "\n"


def _options(place: Place) -> str:
    options = ["rw", "exec" if place.executed else "noexec", "nosuid", "nodev"]
    if place.mode is not None:
        options.append(f"mode={place.mode:04o}")
    options += [f"uid={place.uid}"] if place.uid else []
    options += [f"gid={place.gid}"] if place.gid else []
    if place.size is not None:
        options.append(f"size={mebibytes(place.size).upper()}")
    return ":" + ",".join(options)


def _word(path: str, after: str = "") -> str:
    """Return one word of a list: quoted where it has to be, with specifiers undone."""
    text = path.replace("\\", "\\\\").replace("%", "%%")
    if any(char in text for char in " \t'\"\\;"):
        return '"' + text.replace('"', '\\"') + after + '"'
    return text + after
