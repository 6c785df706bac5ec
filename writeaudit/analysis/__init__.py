"""Findings and advice: pure functions over a recording and its verdicts.

`analyze_audit` (or `Analyzer`, for who feeds the events himself) runs one collector for each family of
rules over the events; `fail_on` says which findings fail the run.
"""

from writeaudit.analysis.analyzer import Analysis, Analyzer, Judge, analyze_audit
from writeaudit.analysis.collector import Watcher

__all__ = ["Analysis", "Analyzer", "Judge", "Watcher", "analyze_audit"]
