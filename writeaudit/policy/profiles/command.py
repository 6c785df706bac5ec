"""Which installer a command line runs, behind the wrappers that people put in front of one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_PYTHON = re.compile(r"(?:python|pypy)[0-9.]*t?")
_PIP = re.compile(r"pip[0-9.]*")
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "busybox"})
_INTERPRETERS = frozenset({"node", "nodejs", "ruby", "php"})
_SHELL_ENDS = frozenset("();|&")
_REDIRECTIONS = frozenset("<>")
_SUDO_OPTIONS = (
    "-u --user -g --group -h --host -p --prompt -C --close-from -D --chdir -r --role -t --type "
    "-T --command-timeout -R --chroot -U --other-user"
)
_DEEPEST = 16

TOOLS = {
    "uv": "uv",
    "uvx": "uv",
    "pip": "pip",
    "poetry": "poetry",
    "pdm": "pdm",
    "pipenv": "pipenv",
    "virtualenv": "virtualenv",
    "tox": "tox",
    "nox": "nox",
    "hatch": "hatch",
    "pipx": "pipx",
    "pre-commit": "pre-commit",
    "pyproject-build": "build",
    "conda": "conda",
    "mamba": "mamba",
    "micromamba": "mamba",
    "pixi": "pixi",
    "npm": "npm",
    "npx": "npm",
    "pnpm": "pnpm",
    "pnpx": "pnpm",
    "yarn": "yarn",
    "yarnpkg": "yarn",
    "bun": "bun",
    "bunx": "bun",
    "cargo": "cargo",
    "go": "go",
    "gem": "gem",
    "bundle": "bundler",
    "bundler": "bundler",
    "composer": "composer",
    "git": "git",
    "make": "make",
    "gmake": "make",
    "cmake": "cmake",
    "ctest": "cmake",
    "ninja": "ninja",
    "ninja-build": "ninja",
    "ccache": "ccache",
    "sccache": "sccache",
    "apt": "apt",
    "apt-get": "apt",
    "aptitude": "apt",
    "dpkg": "dpkg",
    "dpkg-deb": "dpkg",
    "dpkg-divert": "dpkg",
    "update-alternatives": "dpkg",
    "debootstrap": "debootstrap",
    "mmdebstrap": "debootstrap",
}
"""Programs by name, and the profile that knows where they write."""

MODULES = {
    **{
        name: name
        for name in [
            "uv",
            "pip",
            "poetry",
            "pdm",
            "pipenv",
            "venv",
            "virtualenv",
            "tox",
            "nox",
            "hatch",
            "pipx",
            "build",
            "conda",
        ]
    },
    "pre_commit": "pre-commit",
}
"""What stands behind ``python -m``, and its profile."""

# Wrappers: their options that take a value, and how many operands stand before the command.
_WRAPPERS: dict[str, tuple[frozenset[str], int]] = {
    "env": (frozenset({"-u", "--unset", "-C", "--chdir", "-S", "--split-string"}), 0),
    "sudo": (frozenset(_SUDO_OPTIONS.split()), 0),
    "doas": (frozenset({"-u", "-C"}), 0),
    "nice": (frozenset({"-n", "--adjustment"}), 0),
    "ionice": (frozenset({"-c", "--class", "-n", "--classdata"}), 0),
    "chrt": (frozenset({"-T", "-P", "-D"}), 1),
    "taskset": (frozenset(), 1),
    "timeout": (frozenset({"-k", "--kill-after", "-s", "--signal"}), 1),
    "stdbuf": (frozenset({"-i", "--input", "-o", "--output", "-e", "--error"}), 0),
    "time": (frozenset({"-f", "--format", "-o", "--output"}), 0),
    "nohup": (frozenset(), 0),
    "setsid": (frozenset(), 0),
    "exec": (frozenset({"-a"}), 0),
    "command": (frozenset(), 0),
    "xvfb-run": (frozenset({"-n", "-s", "-e", "-f", "-p", "-w"}), 0),
}


class Invocation(NamedTuple):
    """An installer's command line, without what stood in front of it."""

    tool: str
    """A value of `TOOLS`, or ``generic``."""
    program: str
    """As it was spelled: ``uvx``, ``/opt/venv/bin/pip``, the interpreter of ``python -m pip``."""
    args: tuple[str, ...]
    env: Mapping[str, str]
    cwd: bytes


def recognise_tool(command: Sequence[bytes], cwd: bytes, env: Mapping[str, str]) -> Invocation:
    """Return the installer that `command` runs, as far as its text tells; else ``generic``."""
    words = [os.fsdecode(word) for word in command]
    found = _unwrap_command(words, os.path.abspath(cwd), dict(env), _DEEPEST)
    return found or Invocation("generic", words[0] if words else "", tuple(words[1:]), dict(env), cwd)


def _unwrap_command(words: list[str], cwd: bytes, env: dict[str, str], depth: int) -> Invocation | None:
    """Take one wrapper after the other off. `env` is changed as the wrappers would change it."""
    while words and depth > 0:
        depth -= 1
        if _ASSIGNMENT.match(words[0]):
            name, _, value = words.pop(0).partition("=")
            env[name] = value
            continue
        program = os.path.basename(words[0])
        if program in _SHELLS:
            return _parse_shell(words, cwd, env, depth)
        if program in _WRAPPERS:
            words, cwd = _strip_wrapper(program, words, cwd, env)
            continue
        if _PYTHON.fullmatch(program):
            return _parse_python(words, cwd, env)
        if program in _INTERPRETERS:
            words = [word for word in words[1:] if not word.startswith("-")]
            stem = (
                re.sub(r"(?:-cli)?\.(?:js|cjs|mjs|phar|rb)\Z", "", os.path.basename(words[0]))
                if words
                else ""
            )
            tool = TOOLS.get(stem)
            return Invocation(tool, words[0], tuple(words[1:]), env, cwd) if tool else None
        tool = TOOLS.get(program) or ("pip" if _PIP.fullmatch(program) else None)
        return Invocation(tool, words[0], tuple(words[1:]), env, cwd) if tool else None
    return None


def _strip_wrapper(
    program: str, words: list[str], cwd: bytes, env: dict[str, str]
) -> tuple[list[str], bytes]:
    with_value, operands = _WRAPPERS[program]
    pos = 1
    while pos < len(words):
        word = words[pos]
        pos += 1
        if word == "--":
            continue
        if program in ("env", "sudo") and _ASSIGNMENT.match(word):
            name, _, value = word.partition("=")
            env[name] = value
            continue
        if program == "env" and word in ("-", "-i", "--ignore-environment"):
            env.clear()
            continue
        if word.startswith("-") and len(word) > 1:
            option, _, value = word.partition("=")
            if word.startswith("-") and not word.startswith("--") and word[:2] in with_value:
                option, value = word[:2], word[2:]
            if option in with_value and not value and pos < len(words):
                value = words[pos]
                pos += 1
            match program, option:
                case "env", "-u" | "--unset":
                    env.pop(value, None)
                case ("env", "-C" | "--chdir") | ("sudo", "-D" | "--chdir"):
                    cwd = os.path.normpath(os.path.join(cwd, os.fsencode(value)))
                case "env", "-S" | "--split-string":
                    return [*_split_words(value), *words[pos:]], cwd
            continue
        if operands > 0:
            operands -= 1
            continue
        return words[pos - 1 :], cwd
    return [], cwd


def _parse_python(words: list[str], cwd: bytes, env: dict[str, str]) -> Invocation | None:
    """``python -m pip …``, or a script of that name: ``python /usr/bin/pip …``."""
    pos = 1
    while pos < len(words) and words[pos].startswith("-"):
        word = words[pos]
        if word == "-m" or (word.startswith("-m") and len(word) > 2):
            module = word[2:] or (words[pos + 1] if pos + 1 < len(words) else "")
            rest = words[pos + (1 if word[2:] else 2) :]
            tool = MODULES.get(module)
            return Invocation(tool, words[0], tuple(rest), env, cwd) if tool else None
        if word == "-c":
            return None
        pos += 2 if word in ("-W", "-X") else 1
    if pos < len(words):
        script = os.path.basename(words[pos])
        tool = TOOLS.get(script) or ("pip" if _PIP.fullmatch(script) else None)
        if tool:
            return Invocation(tool, words[pos], tuple(words[pos + 1 :]), env, cwd)
    return None


def _parse_shell(words: list[str], cwd: bytes, env: dict[str, str], depth: int) -> Invocation | None:
    """``sh -c 'cd x && A=b uv sync'``: the first simple command that is an installer."""
    for simple in _simple_commands(_find_script(words)):
        if simple[0] == "cd" and len(simple) == 2:
            cwd = os.path.normpath(os.path.join(cwd, os.fsencode(simple[1])))
            continue
        assignments = simple[1:] if simple[0] == "export" else simple
        if all(_ASSIGNMENT.match(part) for part in assignments):
            env.update((name, value) for name, _, value in (part.partition("=") for part in assignments))
            continue
        found = _unwrap_command(simple, cwd, dict(env), depth)
        if found is not None:
            return found
    return None


def _find_script(words: list[str]) -> str:
    """Return the text after a shell's -c; empty if it runs a file."""
    for pos, word in enumerate(words[1:], start=1):
        if word.startswith("-") and not word.startswith("--") and word.endswith("c"):
            return words[pos + 1] if pos + 1 < len(words) else ""
    return ""


def _simple_commands(script: str) -> Iterator[list[str]]:
    """Yield the words of each simple command, without its redirections."""
    simple: list[str] = []
    skip = False
    for token in [*_split_words(script), ";"]:
        if skip:
            skip = False
        elif _REDIRECTIONS & set(token) and set(token) <= _REDIRECTIONS | _SHELL_ENDS:
            skip = True
        elif not set(token) <= _SHELL_ENDS or not token:
            simple.append(token)
        elif simple:
            yield simple
            simple = []


def _split_words(text: str) -> list[str]:
    """Split as a shell does, without expansion; what it cannot read is no command we know."""
    import shlex  # noqa: PLC0415 - start-up: few commands are a shell's

    try:
        lexer = shlex.shlex(text.replace("\n", " ; "), posix=True, punctuation_chars="();<>|&")
        lexer.whitespace_split = True
        lexer.commenters = ""
        return list(lexer)
    except ValueError:
        return []
