"""uv: where it keeps its cache, which environment it fills, as `uv help` and uv's reference say.

Checked against uv 0.13.8: a relative cache directory is relative to the working directory even
if a configuration file names it; ``~`` in it is not expanded; a workspace member's own
[tool.uv] is not read; ``--active`` goes before UV_PROJECT_ENVIRONMENT; `uv venv` makes .venv in
the working directory unless that is the workspace's root.
"""

from __future__ import annotations

import fnmatch
import os
from dataclasses import dataclass

from writeaudit.judgement import ZoneAccess
from writeaudit.policy.profiles.context import ProfileContext, table, text
from writeaudit.policy.profiles.python_tools import build_output, is_built
from writeaudit.policy.zones import escape

# Every option of uv that takes a value: without them an operand cannot be told from a value.
_VALUE_OPTIONS = (
    "--allow-insecure-host --annotation-style --bounds --branch --cache-dir --cert --color --config-file "
    "--config-setting --config-settings --config-settings-package --constraints --custom-compile-command "
    "--default-index --directory --editable --env-file --exclude-newer --exclude-newer-package --excludes "
    "--extra --extra-index-url --find-links --fork-strategy --format --from --group --index --index-strategy "
    "--index-url --install-dir --keyring-provider --link-mode --marker --mirror --no-binary "
    "--no-binary-package --no-build-isolation-package --no-build-package --no-emit-package --no-extra "
    "--no-group --no-install-package --no-sources-package --only-binary --only-group --optional --out-dir "
    "--output-file --output-format --overrides --package --prefix --prerelease --project --prompt --prune "
    "--pypy-mirror --python --python-platform --python-version --refresh-package --reinstall-package "
    "--requirements --resolution --rev --tag --target --torch-backend --upgrade-group --upgrade-package "
    "--with --with-editable --with-executables-from --with-requirements --build-constraints "
    "-C -P -b -c -e -f -i -m -o -p -r -t -w"
)
_WITH_VALUE = frozenset(_VALUE_OPTIONS.split())
# Of these, what follows in `uv run` and `uv tool run` belongs to the command that uv starts.
_RUNS_A_COMMAND = frozenset({("run",), ("tool", "run")})

_FLAG_INSTEAD = {
    "add": {"-e", "--editable", "-c"},
    "venv": {"-c"},
    "python": {"-f"},
    "tool": {"-e", "--editable"},
}


@dataclass(frozen=True, slots=True)
class _Settings:
    cache_dir: str | None
    no_cache: bool


def gather(context: ProfileContext) -> None:
    """Add the zones of a uv command."""
    words = _subcommand(context)
    directory = context.option("--directory") or context.first_env("UV_WORKING_DIR", "UV_WORKING_DIRECTORY")
    if directory:
        context.cwd = context.path(directory)
    project = context.option("--project") or context.env.get("UV_PROJECT")
    root = _workspace_root(context, context.path(project) if project else context.cwd)
    ours = words[:1] not in ([], ["tool"], ["python"], ["self"], ["help"], ["auth"])
    _cache(context, _settings(context, root if words[:1] != ["tool"] else None))
    _environment(context, words, root)
    _installations(context, words)
    if ours and root is not None:
        if words[0] == "init":
            context.zone("project", root)
        else:
            context.protected("project", root)
            if is_built(context, root):
                build_output(context, root)
            _purpose(context, words[0], root)
    elif words[:1] == ["init"]:
        operands = words[1:]
        context.zone("project", context.path(operands[0]) if operands else context.cwd)
    for option in ("--output-file", "--out-dir", "-o"):
        if words[:1] in (["export"], ["build"], ["pip"]) and (place := context.option(option)):
            context.zone("output", context.path(place))


def _subcommand(context: ProfileContext) -> list[str]:
    """Return the operands: the subcommand first; and cut off what belongs to a command that uv runs."""
    args = context.run.args
    if os.path.basename(context.run.program) == "uvx":
        args = ("tool", "run", *args)
    operands: list[str] = []
    skip = False
    end = len(args)
    for pos, word in enumerate(args):
        if skip:
            skip = False
        elif word == "--":
            end = pos
            operands.extend(args[pos + 1 :])
            break
        elif word.startswith("-") and len(word) > 1:
            skip = word in _WITH_VALUE and word not in _FLAG_INSTEAD.get(operands[0] if operands else "", ())
        else:
            if tuple(operands) in _RUNS_A_COMMAND:
                end = pos
                operands.append(word)
                break
            operands.append(word)
    context.run = context.run._replace(args=args[:end])
    return operands


# -- projects and settings -------------------------------------------------------------


def _workspace_root(context: ProfileContext, start: str) -> str | None:
    """Return the root of the workspace or project around `start`; None if there is no project."""
    nearest = context.nearest("pyproject.toml", start=start)
    if nearest is None:
        return None
    if table(context.toml(nearest, "pyproject.toml"), "tool", "uv", "workspace") is not None:
        return nearest
    for directory in context.upwards(os.path.dirname(nearest)):
        workspace = table(context.toml(directory, "pyproject.toml"), "tool", "uv", "workspace")
        if workspace is None:
            continue
        inside = os.path.relpath(nearest, directory)
        member = _globbed(inside, workspace.get("members"))
        return directory if member and not _globbed(inside, workspace.get("exclude")) else nearest
    return nearest


def _globbed(name: str, globs: object) -> bool:
    return isinstance(globs, list) and any(
        isinstance(glob, str) and fnmatch.fnmatchcase(name, os.path.normpath(glob)) for glob in globs
    )


def _settings(context: ProfileContext, root: str | None) -> _Settings:
    """Return what the configuration files say: the project's, then the user's, then the system's."""
    found: list[dict[str, object] | None] = []
    chosen = context.option("--config-file") or context.env.get("UV_CONFIG_FILE")
    if chosen:
        found.append(context.toml(context.path(chosen)))
    elif not (context.flag("--no-config") or context.truthy("UV_NO_CONFIG")):
        for directory in context.upwards(root) if root else ():
            own = context.toml(directory, "uv.toml")
            if own is None:
                own = table(context.toml(directory, "pyproject.toml"), "tool", "uv")
            if own is not None:
                found.append(own)
                break
        found.append(context.toml(context.xdg("XDG_CONFIG_HOME", ".config"), "uv", "uv.toml"))
        for place in [*context.env.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":"), "/etc"]:
            if place and (system := context.toml(place, "uv", "uv.toml")) is not None:
                found.append(system)
                break
    cache_dir = next((value for data in found if (value := text(data, "cache-dir"))), None)
    no_cache = next((data["no-cache"] for data in found if data is not None and "no-cache" in data), False)
    return _Settings(cache_dir, no_cache is True)


# -- zones -----------------------------------------------------------------------------


def _cache(context: ProfileContext, settings: _Settings) -> None:
    if (
        context.flag("-n", "--no-cache", "--no-cache-dir")
        or context.truthy("UV_NO_CACHE")
        or settings.no_cache
    ):
        # A directory for this run alone, so it is writable whatever is asked of the run.
        tmp = context.path(context.env.get("TMPDIR") or "/tmp")  # noqa: S108 -- named, not opened
        patterns = {escape(os.fsencode(place)).rstrip(b"/") for place in (tmp, os.path.realpath(tmp))}
        context.zone(
            "cache",
            access=ZoneAccess.READ_WRITE,
            patterns=sorted(pattern + b"/.tmp??????" for pattern in patterns),
        )
        return
    given = context.option("--cache-dir") or context.env.get("UV_CACHE_DIR") or settings.cache_dir
    context.zone("cache", context.path(given) if given else f"{context.xdg('XDG_CACHE_HOME', '.cache')}/uv")


def _environment(context: ProfileContext, words: list[str], root: str | None) -> None:
    match words[:1]:
        case ["venv"]:
            context.zone("venv", _made_by_venv(context, words, root))
        case ["pip"]:
            context.zone("venv", *_pip_environment(context))
        case [
            "sync"
            | "run"
            | "add"
            | "remove"
            | "lock"
            | "tree"
            | "export"
            | "version"
            | "format"
            | "check"
            | "audit"
        ]:
            if root is not None and not context.flag("--no-project"):
                context.zone("venv", _project_environment(context, root))
            else:
                context.zone("venv", *_found_environment(context))
        case _:
            pass


def _project_environment(context: ProfileContext, root: str) -> str:
    active = context.env.get("VIRTUAL_ENV")
    if active and context.flag("--active"):
        return context.path(active)
    return context.path(context.env.get("UV_PROJECT_ENVIRONMENT") or ".venv", base=root)


def _made_by_venv(context: ProfileContext, words: list[str], root: str | None) -> str:
    if len(words) > 1:
        return context.path(words[1])
    in_root = root is not None and os.path.realpath(root) == os.path.realpath(context.cwd)
    if root is not None and in_root and not context.flag("--no-project"):
        return context.path(context.env.get("UV_PROJECT_ENVIRONMENT") or ".venv", base=root)
    return context.path(".venv")


def _pip_environment(context: ProfileContext) -> list[str]:
    if place := context.option("--target", "-t") or context.option("--prefix"):
        return [context.path(place)]
    asked = context.option("--python", "-p") or context.env.get("UV_PYTHON")
    if asked and ("/" in asked or os.path.isdir(context.path(asked))):
        place = context.path(asked)
        return [place] if os.path.isdir(place) else context.python_environment(place)
    if context.flag("--system") or context.truthy("UV_SYSTEM_PYTHON"):
        interpreter = context.program(asked if asked and asked.startswith("python") else "python3")
        return context.python_environment(interpreter or "/usr/bin/python3")
    return _found_environment(context)


def _found_environment(context: ProfileContext) -> list[str]:
    """Return the environment that uv discovers: the active one, conda's, or the nearest .venv."""
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        active = context.env.get(name)
        if active and os.path.isdir(context.path(active)):
            return [context.path(active)]
    nearest = context.nearest(".venv/pyvenv.cfg")
    return [os.path.join(nearest or context.cwd, ".venv")]


def _installations(context: ProfileContext, words: list[str]) -> None:
    """Add uv's own Pythons and tools: read-only, unless they are what the command is about."""
    data = os.path.join(context.xdg("XDG_DATA_HOME", ".local/share"), "uv")
    pythons = context.path(context.env.get("UV_PYTHON_INSTALL_DIR") or os.path.join(data, "python"))
    tools = context.path(context.env.get("UV_TOOL_DIR") or os.path.join(data, "tools"))
    programs = _programs(context)
    add_python = context.zone if words[:1] == ["python"] else context.protected
    add_python(
        "python", context.option("--install-dir", "-i") or pythons if words[:1] == ["python"] else pythons
    )
    if words[:1] == ["python"]:
        add_python("python", context.path(context.env.get("UV_PYTHON_BIN_DIR") or programs))
    if words[:1] == ["tool"]:
        context.zone("tool", tools, context.path(context.env.get("UV_TOOL_BIN_DIR") or programs))
    else:
        context.protected("tool", tools)


def _programs(context: ProfileContext) -> str:
    """Return the directory for executables: beside XDG_DATA_HOME if that is set."""
    if own := context.env.get("XDG_BIN_HOME"):
        return own
    return os.path.normpath(os.path.join(context.xdg("XDG_DATA_HOME", ".local/share"), "..", "bin"))


def _purpose(context: ProfileContext, word: str, root: str) -> None:
    """Add the files of a project that a command is there to change."""
    names = {"lock": ["uv.lock"], "version": ["uv.lock", "pyproject.toml"]}
    names["add"] = names["remove"] = names["version"]
    if not context.flag("--frozen", "--locked") and not context.truthy("UV_FROZEN"):
        for other in ("sync", "run", "tree", "export"):
            names[other] = ["uv.lock"]
    if word in names:
        own = context.nearest("pyproject.toml") or root
        places = {os.path.join(place, name) for place in (root, own) for name in names[word]}
        context.zone("lockfile", *sorted(places))
    if word == "build":
        context.zone("output", os.path.join(root, "dist"))
