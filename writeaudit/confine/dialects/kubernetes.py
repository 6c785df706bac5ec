"""A pod with ``readOnlyRootFilesystem: true`` (kubernetes.io/docs/concepts/storage/volumes).

An emptyDir begins empty, belongs to root and is open to all; ``fsGroup`` gives it a group. What the image
holds
there, with its owner and mode, an init container of the same image copies. ``mountPath`` takes no colon, and
``$(NAME)`` begins a variable in a command; ``$$`` stands for one dollar.
"""

from __future__ import annotations

from writeaudit.confine.dialects.common import (
    Subject,
    comments,
    hash_comments,
    sort_places,
    volume_names,
    yaml_text,
)
from writeaudit.confine.writable import Kind, Place

_MIB = 1 << 20
_FILL = (
    'while [ $# -gt 1 ]; do [ -n "$(ls -A "$2" | grep -vx lost+found)" ] || cp -a "$1" "$2" || exit 1; '
    "shift 2; done"
)
"""What a volume holds from an earlier run stays."""
_SET_MODE = 'while [ $# -gt 2 ]; do chmod "$1" "$3" && chown "$2" "$3" || exit 1; shift 3; done'


def render_kubernetes(subject: Subject) -> str:
    """Return a pod, with a claim for each volume that is to be kept."""
    found = sort_places(subject.places, "Kubernetes", ":", why=" (mountPath)")
    names = volume_names(subject)
    extra = [*found.refused, "IMAGE is yours to set."]
    filled = [place for place in found.places if place.copy_up]
    owned = [place for place in found.places if place not in filled and _wants_owner(place)]
    if filled or owned:
        extra.append(
            "The init container needs sh, cp, chmod and chown in the image; without them, another image "
            "will do."
        )
    if any(place.executed is False and place.kind is Kind.TMPFS for place in found.places):
        extra.append("Kubernetes has no noexec for an emptyDir.")
    lines = [
        line for place in found.places if place.kind is Kind.VOLUME for line in _claim(subject, place, names)
    ]
    lines += ["apiVersion: v1", "kind: Pod", "metadata:", f"  name: {subject.name}", "spec:"]
    group = subject.run.uid and next((place.gid for place in found.places if place.gid), None)
    if group:
        lines += ["  securityContext:", f"    fsGroup: {group}"]
    if filled or owned:
        lines += _init(filled, owned, names)
    lines += ["  containers:", f"    - name: {subject.name}", "      image: IMAGE"]
    if subject.run.command:
        lines += ["      command:", *(f"        - {_argument(word)}" for word in subject.run.command)]
    lines += ["      securityContext:", "        readOnlyRootFilesystem: true"]
    if subject.run.uid:
        lines.append(f"        runAsUser: {subject.run.uid}")
    if found.places:
        lines.append("      volumeMounts:")
        for place in found.places:
            lines += [
                f"        - name: {names[place.path]}",
                f"          mountPath: {yaml_text(place.path.decode())}",
            ]
            if place.kind is Kind.BIND:
                lines.append(f"          subPath: {yaml_text(_file_name(place))}")
        lines.append("  volumes:")
        for place in found.places:
            lines += _volume(subject, place, names)
    return hash_comments(comments(subject, "a read-only pod", extra)) + "\n".join(lines) + "\n"


def _wants_owner(place: Place) -> bool:
    """Whether an emptyDir of root's with mode 0777 is not what the place was."""
    return place.kind is not Kind.BIND and place.mode is not None and place.mode & 0o777 != 0o777


def _file_name(place: Place) -> str:
    return place.path.rpartition(b"/")[2].decode()


def _argument(raw: bytes) -> str:
    # Only "$(" begins a variable, and "$$" is one dollar before "(" alone.
    return yaml_text(raw.decode("utf-8", "replace").replace("$(", "$$("))


def _init(filled: list[Place], owned: list[Place], names: dict[bytes, str]) -> list[str]:
    lines = ["  initContainers:"]
    for name, script, places in (("copy", _FILL, filled), ("own", _SET_MODE, owned)):
        if not places:
            continue
        lines += [f"    - name: {name}", "      image: IMAGE"]
        lines += [
            "      command:",
            '        - "sh"',
            '        - "-c"',
            f"        - {yaml_text(script)}",
            f'        - "{name}"',
        ]
        for place in places:
            target = f"/writable/{names[place.path]}/"
            if place in filled:
                source = place.path if place.kind is Kind.BIND else place.path + b"/."
                lines += [f"        - {_argument(source)}", f"        - {_argument(target.encode())}"]
            else:
                lines += [
                    f'        - "{place.mode:o}"',
                    f'        - "{place.uid or 0}:{place.gid or 0}"',
                    f'        - "{target}"',
                ]
        lines += [
            "      securityContext:",
            "        readOnlyRootFilesystem: true",
            "        runAsUser: 0",
            "      volumeMounts:",
        ]
        for place in places:
            lines += [
                f"        - name: {names[place.path]}",
                f'          mountPath: "/writable/{names[place.path]}"',
            ]
    return lines


def _volume(subject: Subject, place: Place, names: dict[bytes, str]) -> list[str]:
    name = names[place.path]
    if place.kind is Kind.VOLUME:
        claim = f"{subject.name}-{name}"
        return [f"    - name: {name}", "      persistentVolumeClaim:", f"        claimName: {claim}"]
    lines = [f"    - name: {name}", "      emptyDir:"]
    limit = [] if place.size is None else [f"        sizeLimit: {-(-place.size // _MIB)}Mi"]
    return [*lines, "        medium: Memory", *limit]


def _claim(subject: Subject, place: Place, names: dict[bytes, str]) -> list[str]:
    mebibytes = max(1024, -(-4 * place.written // _MIB))
    return [
        "apiVersion: v1",
        "kind: PersistentVolumeClaim",
        "metadata:",
        f"  name: {subject.name}-{names[place.path]}",
        "spec:",
        "  accessModes:",
        "    - ReadWriteOnce",
        "  resources:",
        "    requests:",
        f"      storage: {mebibytes}Mi",
        "---",
    ]
