"""The policy stage: zones, profiles, verdicts.

Pure over what it is given, except that `discover` and `load` read configuration files and
resolve symlinks.
"""

from __future__ import annotations

from writeaudit.policy.classify import Classifier
from writeaudit.policy.profiles import discover, known_profiles, survey
from writeaudit.policy.programs import classifier_for
from writeaudit.policy.schema import from_json, load, overlay, to_json, with_project
from writeaudit.policy.temporary import MOVES
from writeaudit.policy.zones import ZoneMatcher, covers, literal_directory, with_devices, with_inherited

__all__ = [
    "MOVES",
    "Classifier",
    "ZoneMatcher",
    "classifier_for",
    "covers",
    "discover",
    "from_json",
    "known_profiles",
    "literal_directory",
    "load",
    "overlay",
    "survey",
    "to_json",
    "with_devices",
    "with_inherited",
    "with_project",
]
