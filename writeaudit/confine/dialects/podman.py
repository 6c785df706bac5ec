"""`podman run --read-only` (podman-run(1)).

Of itself it makes /tmp, /run and /var/tmp writable; ``--read-only-tmpfs=false`` leaves that to the set. A
tmpfs of podman's begins as a copy of what is there, unless it is told otherwise.
"""

from __future__ import annotations

from writeaudit.confine.dialects.common import (
    Subject,
    comments,
    hash_comments,
    shell_command,
    sort_places,
    tmpfs_options,
    volume_names,
)
from writeaudit.confine.dialects.docker import bind_remarks, bound_file, csv_line
from writeaudit.confine.writable import Kind, Place
from writeaudit.text import escape_path, shell_word


def render_podman(subject: Subject) -> str:
    """Return a command line."""
    found = sort_places(subject.places, "podman", "\n")
    extra = [*found.refused, "IMAGE is yours to set.", *bind_remarks(found)]
    extra += [
        f"{escape_path(place.path)} belongs to user {place.uid} and group {place.gid or 0} in the image or "
        "has to; "
        "U gives it to the user of the container (--user)."
        for place in found.places
        if place.kind is Kind.TMPFS and place.uid
    ]
    words = [["podman", "run", "--rm", "--read-only", "--read-only-tmpfs=false"]]
    names = volume_names(subject)
    words += [_option(place, f"{subject.name}-{names[place.path]}") for place in found.places]
    words.append(['"$IMAGE"', *(shell_word(word) for word in subject.run.command)])
    return hash_comments(comments(subject, "podman run --read-only", extra)) + shell_command(words)


def _option(place: Place, name: str) -> list[str]:
    if place.kind is Kind.BIND:
        return ["--mount", bound_file(place)]
    if place.kind is Kind.VOLUME:
        fields = ["type=volume", f"src={name}", f"dst={place.path.decode()}"]
        return ["--mount", shell_word(csv_line(fields).encode())]
    if any(char in place.path for char in b":,"):
        # --tmpfs ends a name at its first colon; this one has neither noexec nor an owner.
        fields = ["type=tmpfs", f"dst={place.path.decode()}"]
        fields += [f"tmpfs-mode={place.mode:04o}"] if place.mode is not None else []
        fields += [f"tmpfs-size={place.size}"] if place.size is not None else []
        fields.append("tmpcopyup" if place.copy_up else "notmpcopyup")
        return ["--mount", shell_word(csv_line(fields).encode())]
    options = [*tmpfs_options(place), "tmpcopyup" if place.copy_up else "notmpcopyup"]
    if place.uid:
        options.append("U")
    return ["--tmpfs", shell_word(b"%s:%s" % (place.path, ",".join(options).encode()))]
