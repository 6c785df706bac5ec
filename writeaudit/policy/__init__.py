"""The policy stage: zones, profiles, verdicts, and what became of each file.

Pure over what it is given, except that `discover` and `load` read configuration files and
resolve symlinks.
"""

from __future__ import annotations

from writeaudit.policy.classify import Classifier, Sides
from writeaudit.policy.files import FileCollector, summarise
from writeaudit.policy.profiles import discover, known_profiles
from writeaudit.policy.schema import from_json, load, overlay, to_json
from writeaudit.policy.zones import ZoneMatcher, with_devices, with_inherited

__all__ = [
    "Classifier",
    "FileCollector",
    "Sides",
    "ZoneMatcher",
    "discover",
    "from_json",
    "known_profiles",
    "load",
    "overlay",
    "summarise",
    "to_json",
    "with_devices",
    "with_inherited",
]
