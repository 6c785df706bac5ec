"""Says whether the demonstration's report found what it set up: hard links that cannot be made."""

from __future__ import annotations

import json
import sys
from pathlib import Path

RULE = "WA101"


def main(report: str) -> int:
    """Look for the finding in the JSON report; 1 if it is not there."""
    findings = json.loads(Path(report).read_text(encoding="utf-8"))["findings"]
    for finding in findings:
        if finding["rule"] == RULE:
            print(f"demo: {RULE} found, as it should be: {finding['message']}", file=sys.stderr)
            return 0
    found = ", ".join(sorted({finding["rule"] for finding in findings})) or "nothing"
    print(f"demo: {RULE} was not found, though cache and .venv are on two devices ({found})", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
