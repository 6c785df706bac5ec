"""Prints the variables that make uv use the package index which pip is configured for.

uv does not read pip's configuration. Where a machine names its own index in pip.conf or
in ``PIP_INDEX_URL``, uv must hear of it at run time; it is nobody's business otherwise and
stands in no file of this repository. One ``NAME=value`` a line; nothing where the user has
configured uv already, or neither of them.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping

_OWN = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_CONFIG_FILE", "UV_OFFLINE")
"""With one of these set, the user has told uv where to look."""


def pip_settings() -> dict[str, str]:
    """Return pip's configuration, by names such as ``index-url``, as ``pip install`` would see it."""
    # Not `pip config get`: it overlooks the file that PIP_CONFIG_FILE names.
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    found: dict[str, str] = {}
    for section in ("global", "install", ":env:"):  # the later ones go before the earlier ones
        for line in done.stdout.splitlines():
            key, equals, value = line.partition("=")
            if equals and key.startswith(f"{section}."):
                found[key.removeprefix(f"{section}.")] = str(ast.literal_eval(value))
    return found


def settings(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what uv must be told."""
    pip = pip_settings()
    if not any(environ.get(name) for name in _OWN) and "index-url" in pip:
        yield "UV_DEFAULT_INDEX", pip["index-url"]
    if not environ.get("SSL_CERT_FILE") and "cert" in pip:
        yield "SSL_CERT_FILE", pip["cert"]


if __name__ == "__main__":
    for name, value in settings(os.environ):
        print(f"{name}={value}")
