"""Observations as a recording keeps them: JSON, with paths as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from writeaudit.audit import Binary, FileState, FileSystemState, Frame, Mount, Observation, SharedFile
from writeaudit.text import escape_path, unescape_path


def to_json(observations: Iterable[Observation]) -> list[dict[str, Any]]:
    """Return observations as JSON values."""
    return [
        {
            "seq": each.seq,
            "file": _file_to_json(each.file),
            "directory": _file_to_json(each.directory),
            "source": _file_to_json(each.source),
            "system": None if each.system is None else list(each.system),
            "mount": _mount_to_json(each.mount),
            "source_mount": _mount_to_json(each.source_mount),
        }
        for each in observations
    ]


def from_json(raw: Sequence[dict[str, Any]] | None) -> tuple[Observation, ...]:
    """Return what `to_json` was given. Raises KeyError, TypeError or ValueError for anything else."""
    return tuple(
        Observation(
            each["seq"],
            _file_from_json(each["file"]),
            _file_from_json(each["directory"]),
            _file_from_json(each["source"]),
            None if each["system"] is None else FileSystemState(*each["system"]),
            _mount_from_json(each.get("mount")),
            _mount_from_json(each.get("source_mount")),
        )
        for each in raw or ()
    )


def shared_to_json(files: Iterable[SharedFile]) -> list[dict[str, Any]]:
    """Return files with several names as JSON values."""
    return [{**each._asdict(), "names": [escape_path(name) for name in each.names]} for each in files]


def shared_from_json(raw: Sequence[dict[str, Any]] | None) -> tuple[SharedFile, ...]:
    """Return what `shared_to_json` was given. Raises KeyError, TypeError or ValueError for anything else."""
    return tuple(
        SharedFile(**{**each, "names": tuple(unescape_path(name) for name in each["names"])})
        for each in raw or ()
    )


def binaries_to_json(binaries: Iterable[Binary]) -> list[dict[str, Any]]:
    """Return programs and libraries as JSON values."""
    return [{**each._asdict(), "path": escape_path(each.path)} for each in binaries]


def binaries_from_json(raw: Sequence[dict[str, Any]] | None) -> tuple[Binary, ...]:
    """Return what `binaries_to_json` was given. Raises KeyError, TypeError or ValueError."""
    found = []
    for each in raw or ():
        lists = {name: tuple(each[name]) for name in ("needed", "writable_paths")}
        found.append(Binary(**{**each, "path": unescape_path(each["path"]), **lists}))
    return tuple(found)


def frames_to_json(frames: Iterable[Frame]) -> list[dict[str, Any]]:
    """Return containers and sandboxes as JSON values."""
    return [{**each._asdict(), "root": each.root and escape_path(each.root)} for each in frames]


def frames_from_json(raw: Sequence[dict[str, Any]] | None) -> tuple[Frame, ...]:
    """Return what `frames_to_json` was given. Raises KeyError, TypeError or ValueError for anything else."""
    return tuple(
        Frame(
            **{
                **each,
                "root": None if each["root"] is None else unescape_path(each["root"]),
                "prepared": tuple((pid, time_ns) for pid, time_ns in each["prepared"]),
            }
        )
        for each in raw or ()
    )


def states_to_json(states: Iterable[FileState]) -> list[dict[str, Any]]:
    """Return states of files as JSON values."""
    return [raw for each in states if (raw := _file_to_json(each)) is not None]


def states_from_json(raw: Sequence[dict[str, Any]] | None) -> tuple[FileState, ...]:
    """Return what `states_to_json` was given. Raises KeyError, TypeError or ValueError for anything else."""
    return tuple(state for each in raw or () if (state := _file_from_json(each)) is not None)


def _mount_to_json(mount: Mount | None) -> dict[str, Any] | None:
    if mount is None:
        return None
    paths = {name: escape_path(getattr(mount, name)) for name in ("source", "root", "mountpoint")}
    return {**mount._asdict(), **paths}


def _mount_from_json(raw: dict[str, Any] | None) -> Mount | None:
    if raw is None:
        return None
    paths = {name: unescape_path(raw[name]) for name in ("source", "root", "mountpoint")}
    return Mount(**{**raw, **paths, "options": tuple(raw["options"])})


def _file_to_json(state: FileState | None) -> dict[str, Any] | None:
    return None if state is None else {**state._asdict(), "path": escape_path(state.path)}


def _file_from_json(raw: dict[str, Any] | None) -> FileState | None:
    if raw is None:
        return None
    lists = {"acl": tuple(raw["acl"]), "flags": tuple(raw["flags"])}
    return FileState(**{**raw, "path": unescape_path(raw["path"]), **lists})
