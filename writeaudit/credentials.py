"""How credentials are recognised: by the names that they are given, and by the form of their text."""

from __future__ import annotations

import re

SECRET = "***"  # noqa: S105 - what is shown in the place of one
"""What stands for one that is left out."""

_SENSITIVE = (
    r"(?:token|secret|passw(?:or)?d|passwd|passphrase|api[-_]?key|access[-_]?key|private[-_]?key"
    r"|credentials?|auth(?:orization)?|pat|session|cookie|signature|sig)"
)
SECRET_NAME = re.compile(rf"(?i)(?:^|[-_.:/]|[a-z0-9]_){_SENSITIVE}(?:$|[-_.])|{_SENSITIVE}$")
"""A name whose value is a secret: ``UV_INDEX_PASSWORD``, ``--auth-token``, ``_authToken``."""
_ADDRESS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)([^/\s@'\"`]+)@")
_QUERY = re.compile(rf"(?i)([?&;](?:[\w.-]*[-_.])?{_SENSITIVE}=)[^&;\s'\"`]+")
_ASSIGNED = re.compile(
    rf"(?i)(\b(?:[\w.-]*[-_.])?{_SENSITIVE}\s*[=:]\s*|--?(?:[\w.-]*[-_.])?{_SENSITIVE}\s+)"
    r"(\"[^\"]*\"|'[^']*'|[^\s'\"`,;&]+)"
)
_SCHEME = re.compile(r"(?i)\b(bearer|basic|token)\s+[A-Za-z0-9+/=._~-]{6,}")
KNOWN_FORMS = re.compile(
    r"\b(?:gh[opsur]_[A-Za-z0-9]{16,}|github_pat_\w{20,}|glpat-[\w-]{16,}|pypi-[\w-]{16,}|npm_[A-Za-z0-9]{20,}"
    r"|AKIA[A-Z0-9]{12,}|ASIA[A-Z0-9]{12,}|xox[abeoprs]-[\w-]{10,}|sk-[\w-]{16,}|dckr_pat_[\w-]{16,}|hf_[A-Za-z0-9]{16,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
)
"""Tokens that say by their form what they are."""


def redact_text(text: str) -> str:
    """Return a text without credentials: in addresses, in assignments, and of forms that are known."""
    text = _ADDRESS.sub(rf"\1{SECRET}@", text)
    text = _QUERY.sub(rf"\1{SECRET}", text)
    text = _ASSIGNED.sub(rf"\1{SECRET}", text)
    text = _SCHEME.sub(rf"\1 {SECRET}", text)
    return KNOWN_FORMS.sub(SECRET, text)
