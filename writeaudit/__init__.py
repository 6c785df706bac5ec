"""writeaudit: which files an installer wrote, where, and whether it was allowed to."""

__version__ = "0.1.0"
