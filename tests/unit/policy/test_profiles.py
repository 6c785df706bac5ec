"""Which tool a command line runs, and where that tool writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from writeaudit.errors import PolicyError
from writeaudit.judgement import Policy
from writeaudit.policy import Classifier, discover_policy, known_profiles
from writeaudit.policy.profiles.command import recognise_tool


@pytest.mark.parametrize(
    ("command", "tool"),
    [
        ("uv sync", "uv"),
        ("/opt/bin/uvx ruff", "uv"),
        ("env -i A=b -u C uv sync", "uv"),
        ("A=b sudo -u me -E X=y nice -n 5 timeout -k 3 10s uv sync", "uv"),
        ("python3 -m pip install x", "pip"),
        ("python3.11 -I -W error -mpip install x", "pip"),
        ("python /venv/bin/pip3.11 install", "pip"),
        ("pip3.12 install x", "pip"),
        ("sh -c|cd sub && X=1 uv sync --frozen > log 2>&1", "uv"),
        ("bash -euxc|set -e; export Y=2; (exec uv sync)", "uv"),
        ("sh -c|echo 'uv sync'", "generic"),
        ("sh -c|unclosed 'quote", "generic"),
        ("python -m http.server", "generic"),
        ("python -c|import uv", "generic"),
        ("make install", "make"),
        ("rsync -a x y", "generic"),
        ("env", "generic"),
        ("", "generic"),
        ("micromamba create", "mamba"),
        ("npx x", "npm"),
        ("pnpm i", "pnpm"),
        ("bunx x", "bun"),
        ("cargo build", "cargo"),
        ("poetry install", "poetry"),
        ("pdm sync", "pdm"),
        ("pipenv sync", "pipenv"),
        ("/usr/bin/node --no-warnings /usr/lib/node_modules/npm/bin/npm-cli.js ci", "npm"),
        ("node /usr/bin/yarn install", "yarn"),
        ("node server.js", "generic"),
        ("ruby /usr/bin/bundle install", "bundler"),
        ("python3 -m venv .venv", "venv"),
        ("python3 -m pre_commit run", "pre-commit"),
        ("mmdebstrap bookworm t", "debootstrap"),
    ],
)
def test_recognised(command: str, tool: str) -> None:
    words, bar, text = command.partition("|")
    argv = [os.fsencode(word) for word in [*words.split(), *([text] if bar else [])]]
    assert recognise_tool(argv, b"/", {}).tool == tool


def test_wrappers_change_the_surroundings() -> None:
    run = recognise_tool(
        [b"env", b"-C", b"/a", b"X=1", b"sh", b"-c", b"cd b && Y=2 uv sync"], b"/", {"Z": "3"}
    )
    assert (run.cwd, dict(run.env), run.args) == (b"/a/b", {"X": "1", "Y": "2", "Z": "3"}, ("sync",))


class Machine:
    """A home and a workspace with a member, on disk."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.home = top / "home"
        self.root = top / "ws"
        self.member = self.root / "pkgs" / "a"
        (self.member / "src").mkdir(parents=True)
        self.home.mkdir()
        self.workspace("")
        (self.member / "pyproject.toml").write_text('[project]\nname="a"\n[tool.uv]\ncache-dir="no"\n')

    def workspace(self, settings: str) -> None:
        (self.root / "pyproject.toml").write_text(
            f'[project]\nname="ws"\n[tool.uv]\n{settings}\n[tool.uv.workspace]\nmembers=["pkgs/*"]\nexclude=["pkgs/x"]\n'
        )

    def zones(
        self, command: str, cwd: Path | None = None, profile: str | None = None, **env: str
    ) -> dict[str, list[str]]:
        return {
            zone.name: [os.path.relpath(os.fsdecode(pattern), self.top) for pattern in zone.patterns]
            for zone in self.policy(command, cwd, profile, **env).zones
        }

    def policy(self, command: str, cwd: Path | None = None, profile: str | None = None, **env: str) -> Policy:
        argv = [os.fsencode(word) for word in command.split()]
        surroundings = {"HOME": str(self.home), "PATH": "/usr/bin:/bin", **env}
        return discover_policy(argv, os.fsencode(cwd or self.root), surroundings, profile=profile)


@pytest.fixture
def place(tmp_path: Path) -> Machine:
    return Machine(Path(os.path.realpath(tmp_path)))


def test_uv_cache(place: Machine) -> None:
    def cache(command: str = "uv sync", cwd: Path | None = None, **env: str) -> list[str]:
        return place.zones(command, cwd, **env)["cache"]

    top = str(place.top)
    assert cache() == ["home/.cache/uv"]
    assert cache(XDG_CACHE_HOME=f"{top}/xc") == ["xc/uv"]
    assert cache(XDG_CACHE_HOME="relative") == ["home/.cache/uv"]
    assert cache(UV_CACHE_DIR="rel") == ["ws/rel"]
    assert cache(UV_CACHE_DIR="") == ["home/.cache/uv"]
    assert cache("uv --cache-dir=c sync", UV_CACHE_DIR="rel") == ["ws/c"]
    assert cache("uv sync -n", TMPDIR=f"{top}/home") == ["home/.tmp??????"]
    assert cache(UV_NO_CACHE="1", TMPDIR=f"{top}/home") == ["home/.tmp??????"]
    assert cache(UV_NO_CACHE="false") == ["home/.cache/uv"]
    user = place.home / ".config" / "uv"
    user.mkdir(parents=True)
    (user / "uv.toml").write_text('cache-dir = "usercache"')
    assert cache() == ["ws/usercache"]
    place.workspace('cache-dir = "wscache"')
    assert cache() == ["ws/wscache"]
    assert cache(cwd=place.member) == ["ws/pkgs/a/wscache"], "relative to the working directory, as uv has it"
    assert cache("uvx x") == ["ws/usercache"], "tools do not read the project's settings"
    assert cache("uv sync --no-config") == ["home/.cache/uv"]
    (place.root / "uv.toml").write_text('cache-dir = "own"')
    assert cache() == ["ws/own"]
    (place.top / "conf.toml").write_text('cache-dir = "conf"')
    assert cache("uv sync --config-file ../conf.toml") == ["ws/conf"]
    (place.root / "uv.toml").write_text("no-cache = true")
    assert cache(TMPDIR=f"{top}/home") == ["home/.tmp??????"]


@pytest.mark.parametrize("tilde", ["~/x"])
def test_uv_does_not_expand_a_tilde(place: Machine, tilde: str) -> None:
    assert place.zones("uv sync", UV_CACHE_DIR=tilde)["cache"] == ["ws/~/x"]


def test_uv_environment(place: Machine) -> None:
    def venv(command: str = "uv sync", cwd: Path | None = None, **env: str) -> list[str] | None:
        return place.zones(command, cwd, **env).get("venv")

    assert venv() == ["ws/.venv"]
    assert venv(cwd=place.member / "src") == ["ws/.venv"]
    assert venv(cwd=place.member, UV_PROJECT_ENVIRONMENT="env") == ["ws/env"]
    assert venv(VIRTUAL_ENV="/x") == ["ws/.venv"]
    assert venv("uv sync --active", place.member, VIRTUAL_ENV="act", UV_PROJECT_ENVIRONMENT="env") == [
        "ws/pkgs/a/act"
    ]
    assert venv("uv --project ws/pkgs/a sync", place.top) == ["ws/.venv"]
    assert venv("uv --directory ws/pkgs/a sync", place.top) == ["ws/.venv"]
    assert venv("uv sync", place.top, UV_WORKING_DIR="ws/pkgs/a") == ["ws/.venv"]
    assert venv("uv sync", place.top, UV_PROJECT="ws") == ["ws/.venv"]
    assert venv("uv venv") == ["ws/.venv"]
    assert venv("uv venv", UV_PROJECT_ENVIRONMENT="env") == ["ws/env"]
    assert venv("uv venv", place.member, UV_PROJECT_ENVIRONMENT="env") == ["ws/pkgs/a/.venv"]
    assert venv("uv venv --seed -p 3.12 there") == ["ws/there"]
    assert venv("uv pip install -t out x") == ["ws/out"]
    assert venv("uv pip install --prefix=out x") == ["ws/out"]
    for other in ("x", "y"):
        outsider = place.root / "pkgs" / other
        outsider.mkdir()
        (outsider / "pyproject.toml").write_text('[project]\nname="o"\n')
    assert venv(cwd=place.root / "pkgs" / "x") == ["ws/pkgs/x/.venv"], "excluded from the workspace"
    assert venv(cwd=place.root / "pkgs" / "y") == ["ws/.venv"]
    (place.member / ".venv").mkdir()
    (place.member / ".venv" / "pyvenv.cfg").touch()
    assert venv("uv pip sync r.txt", place.member / "src") == ["ws/pkgs/a/.venv"]
    assert venv("uv pip sync r.txt", VIRTUAL_ENV=str(place.home)) == ["home"]
    assert venv("uv pip sync -p pkgs/a/.venv/bin/python r.txt") == ["ws/pkgs/a/.venv"]
    assert venv("uv cache clean") is None
    assert venv("uv run --python 3.12 cmd --no-cache --cache-dir no") == ["ws/.venv"]


def test_uv_other_zones(place: Machine) -> None:
    zones = place.zones("uv sync", TMPDIR=str(place.top / "t"))
    assert zones["project"] == ["ws"]
    assert zones["tmp"][0] == "t"
    assert zones["python"] == ["home/.local/share/uv/python"]
    assert zones["tool"] == ["home/.local/share/uv/tools"]
    assert zones["lockfile"] == ["ws/uv.lock"], "uv sync brings it up to date"
    assert "lockfile" not in place.zones("uv sync --frozen")
    assert "lockfile" not in place.zones("uv sync", UV_FROZEN="1")
    assert place.zones("uv add x", place.member)["lockfile"] == [
        "ws/pkgs/a/pyproject.toml",
        "ws/pkgs/a/uv.lock",
        "ws/pyproject.toml",
        "ws/uv.lock",
    ]
    tools = place.zones("uv tool install x", UV_TOOL_DIR="tools")
    assert tools["tool"] == ["ws/tools", "home/.local/bin"]
    assert "project" not in tools
    assert place.zones("uv build")["output"] == ["ws/dist"]


def test_modes(place: Machine) -> None:
    install = {zone.name: zone.access.value for zone in place.policy("uv sync").zones}
    frozen = {zone.name: zone.access.value for zone in place.policy("uv sync", profile="frozen").zones}
    assert install["cache"] == install["venv"] == install["tmp"] == install["devices"] == "rw"
    assert install["project"] == install["python"] == "ro"
    assert frozen["cache"] == frozen["venv"] == frozen["project"] == "ro"
    assert frozen["tmp"] == "rw"
    judge = Classifier(place.policy("uv sync", TMPDIR="/nowhere/tmp")).zone_of
    inside = judge(os.fsencode(place.root / ".venv" / "x"))
    assert inside is not None
    assert inside.name == "venv"


def test_profile_of_a_tool_behind_another_command(place: Machine) -> None:
    assert place.zones("make setup", profile="uv") == place.zones("uv sync")
    assert "venv" in place.zones("make setup", profile="uv")
    assert place.zones("uv add x", profile="uv") == place.zones("uv add x")
    assert place.zones("./ci.sh build", profile="cargo") == place.zones("cargo build")


def test_profiles_by_name(place: Machine) -> None:
    assert place.policy("make", profile="uv").name == "uv/install"
    assert place.policy("make", profile="uv/frozen").source == "profile uv/frozen"
    assert place.policy("uv sync", profile="frozen").tool == "uv"
    assert place.policy("make").zones[-1].name == "devices"
    assert set(place.zones("rsync", VIRTUAL_ENV="/v")) == {"tmp", "venv", "devices"}
    for bad, near in (
        ("instal", "install"),
        ("uv/frozn", "frozen"),
        ("pi", "pip"),
        ("install/uv", "install"),
    ):
        with pytest.raises(PolicyError) as caught:
            place.policy("uv sync", profile=bad)
        assert caught.value.hint
        assert near in caught.value.hint
        assert "cargo" in caught.value.hint


@pytest.mark.parametrize("tool", [name for name in known_profiles() if name not in ("install", "frozen")])
def test_every_profile_works_with_nothing_there(place: Machine, tool: str) -> None:
    policy = place.policy("x install", place.home, f"{tool}/frozen")
    assert policy.tool == tool
    accesses = {zone.name: zone.access.value for zone in policy.zones}
    assert {name for name, access in accesses.items() if access == "rw"} == {"tmp", "devices"}


def test_other_tools(place: Machine) -> None:
    top = str(place.top)
    assert place.zones("pip install x", PIP_CACHE_DIR=f"{top}/pc")["cache"] == ["pc"]
    assert "cache" not in place.zones("pip install --no-cache-dir x")
    assert place.zones("pip install -t out x")["venv"] == ["ws/out"]
    binaries = place.top / "v" / "bin"
    binaries.mkdir(parents=True)
    (place.top / "v" / "pyvenv.cfg").touch()
    for program in ("pip", "python"):
        (binaries / program).write_text("#!/bin/sh\n")
        (binaries / program).chmod(0o755)
    assert place.zones("pip install x", PATH=str(binaries))["venv"] == ["v"]
    assert place.zones("../v/bin/python -m pip install x")["venv"] == ["v"]
    assert place.zones("poetry install")["venv"] == ["home/.cache/pypoetry/virtualenvs"]
    assert place.zones("poetry install", POETRY_VIRTUALENVS_IN_PROJECT="true")["venv"] == ["ws/.venv"]
    assert place.zones("pdm install")["venv"] == ["ws/.venv"]
    assert place.zones("pipenv sync", WORKON_HOME=f"{top}/w")["venv"] == ["w"]
    assert place.zones("conda install -p env x")["venv"] == ["ws/env"]
    (place.root / "package.json").write_text("{}")
    npm = place.zones("npm ci", place.member)
    assert npm["node_modules"] == ["ws/node_modules", "ws/**/node_modules"]
    assert npm["cache"] == ["home/.npm"]
    assert "lockfile" not in npm
    assert "lockfile" in place.zones("npm install")
    (place.root / ".npmrc").write_text("store-dir = ~/store\ncache=~/npm\n")
    assert place.zones("npm ci")["cache"] == ["home/npm"]
    assert place.zones("pnpm install")["cache"][0] == "home/store"
    assert place.zones("bun install", BUN_INSTALL_CACHE_DIR=f"{top}/bc")["cache"] == ["bc"]
    (place.root / "Cargo.toml").write_text("[workspace]\n")
    (place.member / "Cargo.toml").write_text("[package]\n")
    cargo = place.zones("cargo build", place.member)
    assert cargo["target"] == ["ws/target"]
    assert cargo["cache"][0] == "home/.cargo/registry"
    assert place.zones("cargo build --target-dir=t", place.member)["target"] == ["ws/pkgs/a/t"]


def test_names_with_wildcards(place: Machine) -> None:
    odd = place.top / "[odd]*"
    odd.mkdir()
    (odd / "pyproject.toml").write_text("[project]\n")
    classifier = Classifier(place.policy("uv sync", odd, TMPDIR="/nowhere"))
    zone = classifier.zone_of(os.fsencode(odd / ".venv" / "x"))
    assert zone is not None
    assert zone.name == "venv"
