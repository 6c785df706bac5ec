"""A command line of bubblewrap (bwrap(1), 0.8 or later for --size).

A tmpfs belongs to the user who runs it, and there is no noexec. What holds content is bound as it is.
"""

from __future__ import annotations

from writeaudit.confine.dialects.common import Subject, comments, hash_comments, is_plain_tmpfs, shell_command
from writeaudit.text import escape_path, shell_word

_SAYS = (
    "bwrap has no noexec, and what it makes belongs to who runs it. A directory with content is bound as "
    "it is: "
    "what the command changes there is changed for good."
)


def render_bwrap(subject: Subject) -> str:
    """Return a command line."""
    extra = [_SAYS]
    words = [["bwrap", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]]
    for place in subject.places:
        path = shell_word(place.path)
        if not place.exists:
            extra.append(
                f"{escape_path(place.path)} has to be made before: bwrap cannot make it on a read-only root."
            )
        if is_plain_tmpfs(place):
            group = [f"--perms {place.mode:04o}"] if place.mode is not None else []
            group += [f"--size {place.size}"] if place.size is not None else []
            words.append([*group, "--tmpfs", path])
        else:
            words.append(["--bind", path, path])
    words.append(["--chdir", shell_word(subject.run.cwd)])
    words.append(["--", *(shell_word(word) for word in subject.run.command)])
    return hash_comments(comments(subject, "bwrap", extra)) + shell_command(words)
