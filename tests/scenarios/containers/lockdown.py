"""The transcripts of docs/lockdown.md: run, and written into the page.

``python -m tests.scenarios.containers.lockdown`` writes them anew; the test compares them.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs/lockdown.md"
VERSIONS = ("0.7.13", "0.7.14", "0.7.19")
_BLOCK = re.compile(r"(?<=^```console\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)
_MARK = "=== next command"
_PROJECT = '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\n'
_VARYING = (
    (re.compile(r"\.tmp[A-Za-z0-9]{6}"), ".tmpXXXXXX"),
    (re.compile(r"uv-[0-9a-f]{16}\.lock"), "uv-….lock"),
    (re.compile(r"\d+ operations"), "N operations"),
    (re.compile(r"\d+(\.\d+)? [KM]iB written"), "N KiB written"),
    (re.compile(r"such as /\S+"), "such as PATH"),
)


def install_uv(version: str, place: Path) -> str:
    """Install a release of uv; return what went wrong, if anything."""
    words = ["-m", "pip", "install", "-q", "--no-deps", "--target", str(place), f"uv=={version}"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"uv {version} cannot be had here: {done.stderr.strip()[-200:]}"


def play_session(place: Path, commands: list[str], settings: str = "") -> list[str]:
    """Run commands in one shell, in a mount namespace with a project in /srv/app; return what each printed.

    ``place`` holds releases of uv by version. ``uv --version`` begins to use the next one.
    """
    start = f"import sys; sys.path.insert(0, '{ROOT}'); from writeaudit.cli import main; main()"
    script = f"""
        mount -t tmpfs tmpfs /srv && mkdir /srv/app /srv/bin /srv/home || exit 70
        mkdir /srv/opt && mount --bind {place} /srv/opt || exit 70
        mount -t tmpfs -o mode=1777 tmpfs /tmp || exit 70
        export HOME=/srv/home PATH=/srv/bin:$PATH UV_PYTHON={sys.executable} UV_PYTHON_DOWNLOADS=never
        unset TMPDIR XDG_STATE_HOME UV_CACHE_DIR VIRTUAL_ENV UV_PROJECT_ENVIRONMENT
        printf '#!/bin/sh\nexec {sys.executable} -P /srv/bin/start.py "$@"\n' > /srv/bin/writeaudit
        printf '%s\n' "{start}" > /srv/bin/start.py
        chmod +x /srv/bin/writeaudit
        cd /srv/app
        printf %s '{_PROJECT}' > pyproject.toml
        versions="$(ls /srv/opt)"
        next_version() {{
            set -- $versions
            [ $# -eq 0 ] && return
            ln -sfn /srv/opt/$1/bin/uv /srv/bin/uv
            shift
            versions="$*"
        }}
        next_version
        uv sync -q --no-cache || exit 71
        cp -a .venv /srv/fresh
        versions="$(ls /srv/opt)"
        {settings}
    """
    for command in commands:
        if "uv --version" in command:
            script += "next_version\nrm -rf .venv; cp -a /srv/fresh .venv; find /tmp -mindepth 1 -delete\n"
        script += f"printf '%s\\n' '{_MARK}'\n{{ {command}; }} 2>&1\n"
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
        stdin=subprocess.DEVNULL,
    )
    first, *outputs = done.stdout.split(f"{_MARK}\n")
    assert len(outputs) == len(commands), first + done.stderr
    return outputs


def commands_of(page: str) -> list[str]:
    """Return the commands of all blocks."""
    return [
        line[2:] for block in _BLOCK.findall(page) for line in block.splitlines() if line.startswith("$ ")
    ]


def fill_page(page: str, outputs: list[str]) -> str:
    """Return the page with these outputs."""
    remaining = iter(outputs)

    def fill(block: re.Match[str]) -> str:
        commands = [line for line in block[1].splitlines() if line.startswith("$ ")]
        return "".join(f"{command}\n{next(remaining)}" for command in commands)

    return _BLOCK.sub(fill, page)


def level_text(page: str) -> str:
    """Return a page without what differs from run to run. Comments are refilled to lines of any length."""
    text = re.sub(r"\n# {2,}(?=\S)", " ", page)
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return " ".join(text.split())


def main() -> None:
    """Write the page."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        for version in VERSIONS:
            if trouble := install_uv(version, Path(place) / version):
                sys.exit(trouble)
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(fill_page(page, play_session(Path(place), commands_of(page))), encoding="utf-8")


if __name__ == "__main__":
    main()
