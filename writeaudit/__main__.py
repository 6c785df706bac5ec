"""``python -m writeaudit``."""

from writeaudit.cli import main

main()
