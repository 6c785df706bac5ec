"""An unknown command: temporary files, and the active virtual environment if there is one."""

from __future__ import annotations

from writeaudit.policy.profiles.context import ProfileContext


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a command that no profile knows; every other place is outside every zone."""
    if active := context.env.get("VIRTUAL_ENV"):
        context.add_zone("venv", context.make_absolute(active))
