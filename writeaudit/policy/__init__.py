"""The policy stage: zones, profiles, verdicts.

Pure over what it is given, except that `discover_policy` and `load_policy` read configuration files and
resolve symlinks.
"""

from __future__ import annotations

from writeaudit.policy.classify import Classifier
from writeaudit.policy.profiles import discover_policy, known_profiles, survey_command
from writeaudit.policy.programs import classifier_for
from writeaudit.policy.reach import PolicyReach
from writeaudit.policy.schema import from_json, load_policy, overlay_zones, to_json, with_project
from writeaudit.policy.temporary import MOVES
from writeaudit.policy.zones import (
    ZoneMatcher,
    covers_path,
    escape_pattern,
    literal_directory,
    with_devices,
    with_inherited,
)

__all__ = [
    "MOVES",
    "Classifier",
    "PolicyReach",
    "ZoneMatcher",
    "classifier_for",
    "covers_path",
    "discover_policy",
    "escape_pattern",
    "from_json",
    "known_profiles",
    "literal_directory",
    "load_policy",
    "overlay_zones",
    "survey_command",
    "to_json",
    "with_devices",
    "with_inherited",
    "with_project",
]
