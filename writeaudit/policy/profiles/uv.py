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
from writeaudit.policy.profiles.context import ProfileContext, get_table, get_text
from writeaudit.policy.profiles.python_tools import build_output, is_built
from writeaudit.policy.zones import escape_pattern

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


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a uv command."""
    words = _parse_subcommand(context)
    directory = context.last_option("--directory") or context.first_env(
        "UV_WORKING_DIR", "UV_WORKING_DIRECTORY"
    )
    if directory:
        context.cwd = context.make_absolute(directory)
    project = context.last_option("--project") or context.env.get("UV_PROJECT")
    root = _workspace_root(context, context.make_absolute(project) if project else context.cwd)
    ours = words[:1] not in ([], ["tool"], ["python"], ["self"], ["help"], ["auth"])
    _add_cache(context, _read_settings(context, root if words[:1] != ["tool"] else None))
    _add_environment(context, words, root)
    _add_installations(context, words)
    if ours and root is not None:
        if words[0] == "init":
            context.add_zone("project", root)
        else:
            context.protect_paths("project", root)
            if is_built(context, root):
                build_output(context, root)
            _add_purpose(context, words[0], root)
    elif words[:1] == ["init"]:
        operands = words[1:]
        context.add_zone("project", context.make_absolute(operands[0]) if operands else context.cwd)
    for option in ("--output-file", "--out-dir", "-o"):
        if words[:1] in (["export"], ["build"], ["pip"]) and (place := context.last_option(option)):
            context.add_zone("output", context.make_absolute(place))


def _parse_subcommand(context: ProfileContext) -> list[str]:
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
    nearest = context.find_nearest("pyproject.toml", start=start)
    if nearest is None:
        return None
    if get_table(context.read_toml(nearest, "pyproject.toml"), "tool", "uv", "workspace") is not None:
        return nearest
    for directory in context.walk_upwards(os.path.dirname(nearest)):
        workspace = get_table(context.read_toml(directory, "pyproject.toml"), "tool", "uv", "workspace")
        if workspace is None:
            continue
        inside = os.path.relpath(nearest, directory)
        member = _matches_glob(inside, workspace.get("members"))
        return directory if member and not _matches_glob(inside, workspace.get("exclude")) else nearest
    return nearest


def _matches_glob(name: str, globs: object) -> bool:
    return isinstance(globs, list) and any(
        isinstance(glob, str) and fnmatch.fnmatchcase(name, os.path.normpath(glob)) for glob in globs
    )


def _read_settings(context: ProfileContext, root: str | None) -> _Settings:
    """Return what the configuration files say: the project's, then the user's, then the system's."""
    found: list[dict[str, object] | None] = []
    chosen = context.last_option("--config-file") or context.env.get("UV_CONFIG_FILE")
    if chosen:
        found.append(context.read_toml(context.make_absolute(chosen)))
    elif not (context.has_flag("--no-config") or context.is_truthy("UV_NO_CONFIG")):
        for directory in context.walk_upwards(root) if root else ():
            own = context.read_toml(directory, "uv.toml")
            if own is None:
                own = get_table(context.read_toml(directory, "pyproject.toml"), "tool", "uv")
            if own is not None:
                found.append(own)
                break
        found.append(context.read_toml(context.xdg_directory("XDG_CONFIG_HOME", ".config"), "uv", "uv.toml"))
        for place in [*context.env.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":"), "/etc"]:
            if place and (system := context.read_toml(place, "uv", "uv.toml")) is not None:
                found.append(system)
                break
    cache_dir = next((value for data in found if (value := get_text(data, "cache-dir"))), None)
    no_cache = next((data["no-cache"] for data in found if data is not None and "no-cache" in data), False)
    return _Settings(cache_dir, no_cache is True)


# -- zones -----------------------------------------------------------------------------


def _add_cache(context: ProfileContext, settings: _Settings) -> None:
    if (
        context.has_flag("-n", "--no-cache", "--no-cache-dir")
        or context.is_truthy("UV_NO_CACHE")
        or settings.no_cache
    ):
        # A directory for this run alone, so it is writable whatever is asked of the run.
        tmp = context.make_absolute(context.env.get("TMPDIR") or "/tmp")  # noqa: S108 -- named, not opened
        patterns = {escape_pattern(os.fsencode(place)).rstrip(b"/") for place in (tmp, os.path.realpath(tmp))}
        context.add_zone(
            "cache",
            access=ZoneAccess.READ_WRITE,
            patterns=sorted(pattern + b"/.tmp??????" for pattern in patterns),
        )
        return
    given = context.last_option("--cache-dir") or context.env.get("UV_CACHE_DIR") or settings.cache_dir
    context.add_zone(
        "cache",
        context.make_absolute(given) if given else f"{context.xdg_directory('XDG_CACHE_HOME', '.cache')}/uv",
    )


def _add_environment(context: ProfileContext, words: list[str], root: str | None) -> None:
    match words[:1]:
        case ["venv"]:
            context.add_zone("venv", _made_by_venv(context, words, root))
        case ["pip"]:
            context.add_zone("venv", *_pip_environment(context))
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
            if root is not None and not context.has_flag("--no-project"):
                context.add_zone("venv", _project_environment(context, root))
            else:
                context.add_zone("venv", *_found_environment(context))
        case _:
            pass


def _project_environment(context: ProfileContext, root: str) -> str:
    active = context.env.get("VIRTUAL_ENV")
    if active and context.has_flag("--active"):
        return context.make_absolute(active)
    return context.make_absolute(context.env.get("UV_PROJECT_ENVIRONMENT") or ".venv", base=root)


def _made_by_venv(context: ProfileContext, words: list[str], root: str | None) -> str:
    if len(words) > 1:
        return context.make_absolute(words[1])
    in_root = root is not None and os.path.realpath(root) == os.path.realpath(context.cwd)
    if root is not None and in_root and not context.has_flag("--no-project"):
        return context.make_absolute(context.env.get("UV_PROJECT_ENVIRONMENT") or ".venv", base=root)
    return context.make_absolute(".venv")


def _pip_environment(context: ProfileContext) -> list[str]:
    if place := context.last_option("--target", "-t") or context.last_option("--prefix"):
        return [context.make_absolute(place)]
    asked = context.last_option("--python", "-p") or context.env.get("UV_PYTHON")
    if asked and ("/" in asked or os.path.isdir(context.make_absolute(asked))):
        place = context.make_absolute(asked)
        return [place] if os.path.isdir(place) else context.python_environment(place)
    if context.has_flag("--system") or context.is_truthy("UV_SYSTEM_PYTHON"):
        interpreter = context.find_program(asked if asked and asked.startswith("python") else "python3")
        return context.python_environment(interpreter or "/usr/bin/python3")
    return _found_environment(context)


def _found_environment(context: ProfileContext) -> list[str]:
    """Return the environment that uv discovers: the active one, conda's, or the nearest .venv."""
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        active = context.env.get(name)
        if active and os.path.isdir(context.make_absolute(active)):
            return [context.make_absolute(active)]
    nearest = context.find_nearest(".venv/pyvenv.cfg")
    return [os.path.join(nearest or context.cwd, ".venv")]


def _add_installations(context: ProfileContext, words: list[str]) -> None:
    """Add uv's own Pythons and tools: read-only, unless they are what the command is about."""
    data = os.path.join(context.xdg_directory("XDG_DATA_HOME", ".local/share"), "uv")
    pythons = context.make_absolute(context.env.get("UV_PYTHON_INSTALL_DIR") or os.path.join(data, "python"))
    tools = context.make_absolute(context.env.get("UV_TOOL_DIR") or os.path.join(data, "tools"))
    programs = _programs_directory(context)
    add_python = context.add_zone if words[:1] == ["python"] else context.protect_paths
    add_python(
        "python",
        context.last_option("--install-dir", "-i") or pythons if words[:1] == ["python"] else pythons,
    )
    if words[:1] == ["python"]:
        add_python("python", context.make_absolute(context.env.get("UV_PYTHON_BIN_DIR") or programs))
    if words[:1] == ["tool"]:
        context.add_zone("tool", tools, context.make_absolute(context.env.get("UV_TOOL_BIN_DIR") or programs))
    else:
        context.protect_paths("tool", tools)


def _programs_directory(context: ProfileContext) -> str:
    """Return the directory for executables: beside XDG_DATA_HOME if that is set."""
    if own := context.env.get("XDG_BIN_HOME"):
        return own
    return os.path.normpath(os.path.join(context.xdg_directory("XDG_DATA_HOME", ".local/share"), "..", "bin"))


def _add_purpose(context: ProfileContext, word: str, root: str) -> None:
    """Add the files of a project that a command is there to change."""
    names = {"lock": ["uv.lock"], "version": ["uv.lock", "pyproject.toml"]}
    names["add"] = names["remove"] = names["version"]
    if not context.has_flag("--frozen", "--locked") and not context.is_truthy("UV_FROZEN"):
        for other in ("sync", "run", "tree", "export"):
            names[other] = ["uv.lock"]
    if word in names:
        own = context.find_nearest("pyproject.toml") or root
        places = {os.path.join(place, name) for place in (root, own) for name in names[word]}
        context.add_zone("lockfile", *sorted(places))
    if word == "build":
        context.add_zone("output", os.path.join(root, "dist"))
