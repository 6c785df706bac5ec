"""A policy for `writeaudit confine`, which holds a command to it by Landlock (landlock(7)), and for `run
--policy`.
"""

from __future__ import annotations

from writeaudit.confine.dialects.common import Subject, comments, hash_comments
from writeaudit.confine.policy_file import pattern_of, quote_toml, zone_lines
from writeaudit.judgement import ZoneAccess

_SAYS = (
    "Landlock mounts nothing: the places are written as they are, and there is neither a limit of size "
    "nor noexec. "
    "What a place lacks has to be made before, for a rule needs a file that is there."
)


def render_landlock(subject: Subject) -> str:
    """Return a policy file."""
    # Absolute: what a confined program may write must not depend on where it is started.
    patterns = [pattern_of(place.path, b"", None) for place in subject.places]
    lines = [f"name = {quote_toml(subject.name.encode())}"]
    if patterns:
        lines += zone_lines("writable", ZoneAccess.READ_WRITE, patterns)
    text = comments(subject, "writeaudit confine --policy", [_SAYS])
    return hash_comments(text) + "\n".join(lines) + "\n"
