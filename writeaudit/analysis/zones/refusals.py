"""Why the system refused a write: what writeaudit saw on the disk at the time, put into words."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from writeaudit.analysis.collector import RunContext
from writeaudit.analysis.files.activity import PathActivity
from writeaudit.analysis.mounts import describe_mount
from writeaudit.audit import FileState, Mount, Observation
from writeaudit.events import Op
from writeaudit.text import escape_path, quote_name, size


def explain_refusal(context: RunContext, errno: str, activities: Sequence[PathActivity]) -> str:
    """Return what is known of why these places were refused, as a clause; empty if nothing is."""
    mounts = list(
        dict.fromkeys(
            context.mount_table.find_mount(activity.mount, activity.path) for activity in activities
        )
    )
    known = [mount for mount in mounts if mount is not None]
    seen = [found for activity in activities if (found := context.get_observation(activity.seq)) is not None]
    match errno:
        case "EROFS":
            return _read_only(known)
        case "ENOSPC" | "EDQUOT":
            return _explain_full(errno, known, seen)
        case "EBUSY":
            return _explain_busy(context, activities)
        case "EACCES" if is_confined(context, activities):
            return ", as Landlock holds the command to the policy"
        case "EACCES" | "EPERM":
            return _explain_permission(context, errno, activities)
        case _:
            return ""


def is_confined(context: RunContext, activities: Sequence[PathActivity]) -> bool:
    """Whether EACCES comes from Landlock, by which `confine` holds the command to its policy.

    It is asked after modes and access lists: what those refuse, it has nothing to do with.
    """
    if not context.run.landlock:
        return False
    for activity in activities:
        seen = context.get_observation(activity.seq)
        deciding = None if seen is None else _find_deciding(seen, activity)
        if deciding is not None:
            return _may_change(context, deciding)
    return True


def _find_deciding(seen: Observation, activity: PathActivity) -> FileState | None:
    """Return whose mode decides: to make, move or remove a name is a change of its directory."""
    of_name = seen.file is None or bool(_ABOUT_NAMES & activity.ops.keys())
    return seen.directory if of_name else seen.file


def _may_change(context: RunContext, state: FileState) -> bool:
    """Whether owner and mode let the user of the run write; of groups that is not known."""
    if context.run.uid in (0, state.uid):
        return context.run.uid == 0 or bool(state.mode & 0o200)
    return bool(state.mode & 0o022 or state.acl)


def moved_by(context: RunContext, activities: Iterable[PathActivity], zone: str | None) -> str | None:
    """Return the variable of the run's environment that says where these places lie; TMPDIR for zone tmp."""
    paths = [activity.path for activity in activities]
    best, found = b"", None
    for name, value in context.run.env.items():
        directory = os.fsencode(value).rstrip(b"/")
        if name in _NOT_A_PLACE or not directory.startswith(b"/") or len(directory) <= len(best):
            continue
        if all(path == directory or path.startswith(directory + b"/") for path in paths):
            best, found = directory, name
    if found is None and zone == "tmp":
        return "TMPDIR"
    return found


_NOT_A_PLACE = frozenset({"PWD", "OLDPWD", "HOME", "PATH"})


def as_json(context: RunContext, activities: Sequence[PathActivity]) -> list[dict[str, object]]:
    """Return what was seen of the disk, for a finding's details."""
    seen = [found for activity in activities if (found := context.get_observation(activity.seq)) is not None]
    return [
        {
            "seq": each.seq,
            "file": _file_state(each.file),
            "directory": _file_state(each.directory),
            "file_system": None if each.system is None else each.system._asdict(),
        }
        for each in seen[:10]
    ]


def _file_state(state: FileState | None) -> dict[str, object] | None:
    if state is None:
        return None
    return {
        "path": escape_path(state.path),
        "owner": state.owner,
        "group": state.group,
        "uid": state.uid,
        "gid": state.gid,
        "mode": state.mode,
        "acl": list(state.acl),
        "flags": list(state.flags),
        "nlink": state.nlink,
    }


def _read_only(mounts: Sequence[Mount]) -> str:
    named = sorted(describe_mount(mount) for mount in mounts if "ro" in mount.options)
    if not named:
        return ""
    return f", as {', '.join(named)} {'is' if len(named) == 1 else 'are'} mounted read-only"


def _explain_full(errno: str, mounts: Sequence[Mount], seen: Sequence[Observation]) -> str:
    if not mounts:
        return ""
    mount = mounts[0]
    system = next((each.system for each in seen if each.system is not None), None)
    room = ""
    if system is not None:
        free = f", {size(system.free)} free" if system.size else ""
        room = f", {size(system.size)} in all{free}" if system.size else ""
        if system.files and not system.files_free:
            room += ", and no room for another file (inode)"
    where = f"{quote_name(mount.mountpoint)} ({mount.fstype}{room})"
    return f", as {where} is full" if errno == "ENOSPC" else f", as the quota on {where} is used up"


def _explain_busy(context: RunContext, activities: Sequence[PathActivity]) -> str:
    tops = {activity.path: activity for activity in activities}
    on_top = [mount for mount in context.mounts if mount.mountpoint in tops]
    if not on_top:
        return ""
    return f", as {describe_mount(on_top[0])} is mounted there"


def _explain_permission(context: RunContext, errno: str, activities: Sequence[PathActivity]) -> str:
    user = f"{context.run.user} (uid {context.run.uid})"
    for activity in activities:
        seen = context.get_observation(activity.seq)
        if seen is None:
            continue
        # To make, move or remove a name is a change of its directory.
        of_name = seen.file is None or bool(_ABOUT_NAMES & activity.ops.keys())
        deciding = seen.directory if of_name else seen.file
        if deciding is None:
            continue
        flags = f", flags {', '.join(deciding.flags)}" if deciding.flags else ""
        acl = f", access list {', '.join(deciding.acl)}" if deciding.acl else ""
        what = "directory " if deciding.is_directory else ""
        if errno == "EPERM" and seen.file is not None and of_name and deciding.mode & 0o1000:
            acl += f", sticky, and {quote_name(seen.file.path)} to {seen.file.owner}"
        return (
            f", as the {what}{quote_name(deciding.path)} belongs to {deciding.owner}:{deciding.group}, mode "
            f"{deciding.mode:04o}{acl}{flags}, and {user} asked"
        )
    return ""


_ABOUT_NAMES = frozenset({Op.MKDIR, Op.MKNOD, Op.BIND, Op.SYMLINK, Op.LINK, Op.RENAME, Op.UNLINK, Op.RMDIR})
