"""`docker run --read-only`: --tmpfs, --mount (docs.docker.com, docker-run(1)).

A tmpfs of docker's is empty, and there is no tmpcopyup; volumes begin as a copy of what the image holds
there.
``--mount`` is one line of comma-separated values (RFC 4180), so that commas and quotes can be quoted;
``--tmpfs``
ends a name at its first colon.
"""

from __future__ import annotations

from writeaudit.confine.dialects.common import (
    Sorted,
    Subject,
    comments,
    hash_comments,
    is_plain_tmpfs,
    shell_command,
    sort_places,
    tmpfs_options,
    volume_names,
)
from writeaudit.confine.writable import Kind, Place
from writeaudit.text import shell_word

_SAYS = (
    "IMAGE is yours to set; docker makes directories that the image lacks. An empty directory comes as a "
    "tmpfs; "
    "one with content as a volume, which docker fills from the image (docker's tmpfs has no copy-up)."
)


def render_docker(subject: Subject) -> str:
    """Return a command line."""
    found = sort_places(subject.places, "docker", "\n")
    extra = [*found.refused, _SAYS, *bind_remarks(found)]
    words = [["docker", "run", "--rm", "--read-only"]]
    names = volume_names(subject)
    words += [docker_words(place, f"{subject.name}-{names[place.path]}") for place in found.places]
    words.append(['"$IMAGE"', *(shell_word(word) for word in subject.run.command)])
    return hash_comments(comments(subject, "docker run --read-only", extra)) + shell_command(words)


def docker_words(place: Place, name: str) -> list[str]:
    """Return the option for one place."""
    if place.kind is Kind.BIND:
        return ["--mount", bound_file(place)]
    if is_plain_tmpfs(place):
        if b":" in place.path:
            # No owner and no exec this way, but the name can be said.
            fields = ["type=tmpfs", f"dst={place.path.decode()}"]
            if place.mode is not None:
                fields.append(f"tmpfs-mode={place.mode:04o}")
            if place.size is not None:
                fields.append(f"tmpfs-size={place.size}")
            return ["--mount", shell_word(csv_line(fields).encode())]
        options = tmpfs_options(place)
        options += [f"uid={place.uid}"] if place.uid else []
        options += [f"gid={place.gid}"] if place.gid else []
        return ["--tmpfs", shell_word(b"%s:%s" % (place.path, ",".join(options).encode()))]
    fields = ["type=volume", f"dst={place.path.decode()}"]
    if place.kind is Kind.VOLUME:
        fields.insert(1, f"src={name}")
    return ["--mount", shell_word(csv_line(fields).encode())]


def csv_line(fields: list[str]) -> str:
    """Return one line of comma-separated values: fields are quoted where they have to be."""
    return ",".join(
        '"' + field.replace('"', '""') + '"' if any(char in field for char in ',"\r\n') else field
        for field in fields
    )


def bound_file(place: Place) -> str:
    """Return the value of --mount for a single file, whose copy lies in the working directory."""
    name = place.path.rpartition(b"/")[2].decode()
    line = csv_line(["type=bind", f"src=\0/{name}", f"dst={place.path.decode()}"])
    before, _, after = line.partition("\0")
    return f'{shell_word(before.encode())}"$PWD"{shell_word(after.encode())}'


def bind_remarks(found: Sorted) -> list[str]:
    """Return what has to be done before single files can be bound."""
    names = [place.path.rpartition(b"/")[2] for place in found.places if place.kind is Kind.BIND]
    if not names:
        return []
    shown = " ".join(shell_word(name) for name in names)
    return [
        f"Files that are bound alone have to be in the working directory, as copies of the image's: {shown}"
    ]
