"""WA206: changes of files that start programs or grant access."""

from __future__ import annotations

import re
from collections import defaultdict

from writeaudit.analysis.collector import RunContext
from writeaudit.analysis.files.activity import (
    PathActivity,
    count_operations,
    in_words,
    name_paths,
    pick_evidence,
    pick_examples,
)
from writeaudit.events import NAMESPACE_OPS, OK, Effect, FsEvent, Op, effect_of
from writeaudit.judgement import Finding, Judged, Severity, Verdict
from writeaudit.rules import rule
from writeaudit.text import plural

_KINDS: tuple[tuple[str, str, re.Pattern[bytes]], ...] = tuple(
    (word, what, re.compile(pattern))
    for word, what, pattern in (
        ("ssh", "ssh keys and settings", rb"/\.ssh/[^/]+\Z|/etc/ssh/"),
        (
            "shell",
            "start files of shells",
            (
                rb"/\.(?:bashrc|bash_profile|bash_login|bash_logout|profile|zshrc|zshenv|zprofile|zlogin|kshrc|"
                rb"cshrc|tcshrc|login)\Z|/etc/(?:profile|bash\.bashrc|zsh/[^/]+|profile\.d/[^/]+|environment)\Z|"
                rb"/fish/(?:config\.fish|conf\.d/[^/]+)\Z"
            ),
        ),
        ("cron", "cron tables", rb"/etc/(?:cron[^/]*|anacrontab)(?:/[^/]+)?\Z|/var/spool/(?:cron|at)/"),
        (
            "systemd",
            "systemd units",
            (
                rb"/systemd/(?:system|user)/.+\.(?:service|timer|socket|path|mount|automount|target|conf)\Z|"
                rb"/systemd/(?:system|user)-generators/"
            ),
        ),
        ("autostart", "programs that start with a session", rb"/autostart/[^/]+\.desktop\Z"),
        (
            "init",
            "programs that start with the system",
            rb"/etc/(?:rc\.local|init\.d/[^/]+|udev/rules\.d/[^/]+)\Z",
        ),
        ("git-hook", "git hooks", rb"/\.git/hooks/(?![^/]*\.sample\Z)[^/]+\Z"),
        (
            "accounts",
            "accounts and rights",
            (
                rb"/etc/(?:sudoers(?:\.d/[^/]+)?|passwd|shadow|group|gshadow|pam\.d/[^/]+|doas\.conf|"
                rb"polkit-1/rules\.d/[^/]+)\Z"
            ),
        ),
        ("loader", "settings of the dynamic loader", rb"/etc/ld\.so\.(?:preload|conf)(?:\.d/[^/]+)?\Z"),
        (
            "python",
            "files that Python runs when it starts",
            rb"/(?:site|dist)-packages/[^/]+\.pth\Z|/(?:site|user)customize\.py\Z",
        ),
    )
)
_ORDINARY = frozenset({"python", "git-hook"})
"""Kinds that installers make in environments of their own."""
_CANDIDATE = re.compile(
    rb"/\.ssh/|/etc/|/\.[a-z]+(?:rc|env|profile|login|logout)\Z|/\.login\Z|/systemd/|/autostart/|/hooks/|\.pth\Z|"
    rb"customize\.py\Z|/spool/|/fish/"
)
"""What all of them have in common: most paths are told apart by this one search."""


class EntryPointCollector:
    """Collects changes of such files."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._found: defaultdict[tuple[str, Verdict], dict[bytes, PathActivity]] = defaultdict(dict)

    @property
    def ops(self) -> frozenset[Op]:
        """All that change a file or a name."""
        return frozenset(Op) - NAMESPACE_OPS - {Op.ACCESS, Op.MKDIR, Op.RMDIR, Op.UTIME}

    def wants_operation(self, _op: Op, judged: Judged, /) -> bool:
        """Only changes."""
        return judged.verdict is not Verdict.READ

    def add_event(self, event: FsEvent, judged: Judged) -> None:
        """Take the next event."""
        path = event.path
        if event.result != OK or not _CANDIDATE.search(path) or judged.verdict is Verdict.READ:
            return
        if effect_of(event) is not Effect.CHANGED:
            return
        for word, _what, pattern in _KINDS:
            if pattern.search(path):
                verdict = Verdict.VIOLATION if judged.verdict is Verdict.VIOLATION else Verdict.ALLOWED
                activities = self._found[word, verdict]
                if path not in activities:
                    activities[path] = PathActivity(path)
                activities[path].count_event(event)
                return

    def list_findings(self) -> list[Finding]:
        """Return one finding for each kind, and for what the policy allows and forbids."""
        found = []
        for word, what, _pattern in _KINDS:
            for verdict in (Verdict.VIOLATION, Verdict.ALLOWED):
                activities = list(self._found.get((word, verdict), {}).values())
                if activities:
                    found.append(self._make_finding(word, what, verdict, activities))
        return found

    def _make_finding(
        self, word: str, what: str, verdict: Verdict, activities: list[PathActivity]
    ) -> Finding:
        registered = rule("WA206")
        severity = Severity.NOTE if word in _ORDINARY else Severity.WARNING
        allowed = "; the policy allows it"
        if verdict is Verdict.VIOLATION:
            severity, allowed = Severity.ERROR, ""
        was = "was" if len(activities) == 1 else "were"
        return Finding(
            rule=registered.id,
            title=f"{registered.title}: {what}",
            severity=severity,
            message=f"{plural(len(activities), 'file')} {was} changed: {name_paths(activities)} "
            f"({in_words(count_operations(activities))}){allowed}.",
            count=sum(activity.events for activity in activities),
            bytes=sum(activity.bytes for activity in activities),
            files=len(activities),
            evidence=pick_evidence(activities),
            cause="Such a file runs a program later, or lets somebody in: whoever writes it does more than "
            "install a package.",
            advice=(
                (
                    "Look at what was written, and at the program that wrote it. If nobody asked for it, "
                    "take it "
                    "back and treat the machine as one where a foreign program ran."
                ),
            ),
            details={
                "kind": word,
                "ops": count_operations(activities),
                "examples": pick_examples(activities),
            },
        )
