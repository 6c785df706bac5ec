"""What a remedy would do: the policy of a run again, with an option added or under another profile."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from writeaudit.audit import Process, RunInfo
from writeaudit.errors import UsageError
from writeaudit.judgement import Policy, Zone, ZoneAccess
from writeaudit.policy import Classifier, discover_policy, overlay_zones
from writeaudit.policy.profiles.command import recognise_tool

_KEPT = "/writeaudit/runs"
"""Ends the directory in which recordings are kept that nobody gave a name."""
_MOST_PROGRAMS = 4096
"""So many different programs of a run are looked at to see whether a profile knows them."""


class PolicyTrial:
    """Answers for the analysis, which cannot judge by itself."""

    def __init__(self, run: RunInfo, policy: Policy, processes: Iterable[Process], path: str) -> None:
        """``path``: that of the recording."""
        self._run = run
        self.recording = "last" if os.path.dirname(path).endswith(_KEPT) else os.path.abspath(path)
        """How it is named on the command line."""
        self._policy = policy
        self._processes = processes
        self._classifier = Classifier(policy)
        self._tools: tuple[str, ...] | None = None

    def zone_of(self, path: bytes) -> Zone | None:
        """Return the zone of a path, None outside every zone."""
        return self._classifier.zone_of(path)

    def count_allowed(
        self, paths: Sequence[bytes], *, profile: str | None = None, zones: Sequence[str] = ()
    ) -> int:
        """Return how many of `paths` might be changed under a profile, or with these ``--zone`` options.

        0 as well where the options are not understood.
        """
        run = self._run
        home = run.env.get("HOME", "/")
        try:
            policy = self._policy
            if profile is not None:
                policy = discover_policy(run.command, run.cwd, run.env, profile=profile)
            policy = overlay_zones(policy, zones, run.env, run.cwd, home)
            found = map(Classifier(policy).zone_of, paths)
            return sum(zone is not None and zone.access is ZoneAccess.READ_WRITE for zone in found)
        except UsageError:
            return 0

    def list_tools(self) -> tuple[str, ...]:
        """Return the tools with a profile that the run started, in order, without that of the policy."""
        if self._tools is None:
            found: dict[str, None] = {}
            seen: set[tuple[bytes, ...]] = set()
            for process in self._processes:
                words = process.argv[:3]
                if words in seen or len(seen) >= _MOST_PROGRAMS:
                    continue
                seen.add(words)
                tool = recognise_tool(process.argv[:8], self._run.cwd, {}).tool
                if tool not in ("generic", self._policy.tool):
                    found[tool] = None
            self._tools = tuple(found)
        return self._tools
