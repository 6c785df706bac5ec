"""A disk that tests of Landlock's rules make up, and what the kernel makes of such rules."""

from __future__ import annotations

from collections.abc import Sequence

from writeaudit.confine.landlock_plan import Grant, Kind, Plan


class MadeUpDisk:
    """A tree of names; what a name ends in says what it is: ``/d/`` a directory, ``/s@`` a symlink."""

    def __init__(
        self,
        *spellings: bytes,
        links: dict[bytes, int] | None = None,
        same: dict[bytes, bytes] | None = None,
        unreadable: tuple[bytes, ...] = (),
        failure: str | None = None,
    ) -> None:
        self.kinds: dict[bytes, Kind] = {b"/": Kind.DIRECTORY}
        self.made: list[bytes] = []
        self.listed: list[bytes] = []
        self._links = links or {}
        self._same = same or {}
        """Other names of a file or directory."""
        self._unreadable = unreadable
        self._failure = failure
        for spelling in spellings:
            path = spelling.rstrip(b"/@")
            for at in range(1, len(path)):
                if path[at : at + 1] == b"/":
                    self.kinds.setdefault(path[:at], Kind.DIRECTORY)
            last = {b"/": Kind.DIRECTORY, b"@": Kind.SYMLINK}.get(spelling[-1:], Kind.FILE)
            self.kinds[path] = last

    def find_kind(self, path: bytes) -> Kind | None:
        return self.kinds.get(path)

    def leads_elsewhere(self, path: bytes) -> bool:
        parts = path.split(b"/")
        return any(
            self.kinds.get(b"/".join(parts[:count])) is Kind.SYMLINK for count in range(2, len(parts) + 1)
        )

    def list_names(self, directory: bytes) -> Sequence[bytes] | None:
        self.listed.append(directory)
        if directory in self._unreadable:
            return None
        cut = len(directory.rstrip(b"/"))
        return [
            path[cut + 1 :]
            for path in self.kinds
            if path.rfind(b"/") == cut and len(path) > cut + 1 and path.startswith(directory)
        ]

    def count_links(self, path: bytes) -> int:
        return self._links.get(path, 1)

    def find_identity(self, path: bytes) -> tuple[int, int] | None:
        return (1, hash(self._same.get(path, path))) if path in self.kinds else None

    def make_directory(self, path: bytes) -> str | None:
        if self._failure is not None:
            return self._failure
        self.made.append(path)
        parts = path.split(b"/")
        for count in range(2, len(parts) + 1):
            self.kinds.setdefault(b"/".join(parts[:count]), Kind.DIRECTORY)
        return None


def granted_at(plan: Plan, path: bytes) -> Grant:
    """Return what the kernel would grant for a path: what it has itself, and what is granted above."""
    found = Grant(0)
    for rule in plan.rules:
        top = rule.path.rstrip(b"/")
        if rule.path == path or (rule.is_directory and path.startswith(top + b"/")):
            found |= rule.grant
    return found
