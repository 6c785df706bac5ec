"""Debian packages of other suites and processors: found, fetched and unpacked, never installed.

apt does it, with lists and state of its own, from the mirror that this machine's apt is configured
with. No root is needed.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.kernels.kernels import KERNELS, Kernel

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Unavailable(Exception):
    """Something cannot be had here; the text says why."""


class Apt:
    """An apt of its own that knows some suites, for one processor."""

    def __init__(self, place: Path, arch: str) -> None:
        self._place = place
        self._arch = arch
        self._config = self._place / "apt.conf"
        self.refused: list[str] = []
        """What apt said of suites whose lists it could not get."""

    def update(self, suites: Iterable[str]) -> None:
        """Fetch the package lists. Raises `Unavailable` if apt knows no mirror of Debian."""
        mirror = _mirror()
        for name in ("state/lists/partial", "cache/archives/partial", "empty.d"):
            (self._place / name).mkdir(parents=True, exist_ok=True)
        (self._place / "status").touch()
        signed = f" signed-by={_KEYRING}" if _KEYRING.exists() else ""
        lines = [f"deb [arch={self._arch}{signed}] {mirror} {suite} main\n" for suite in suites]
        (self._place / "sources.list").write_text("".join(lines))
        self._config.write_text(
            f'''Dir::Etc::sourcelist "{self._place}/sources.list";
Dir::Etc::sourceparts "{self._place}/empty.d";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "{self._place}/empty.d";
Dir::State "{self._place}/state";
Dir::State::status "{self._place}/status";
Dir::Cache "{self._place}/cache";
APT::Architecture "{self._arch}";
APT::Architectures {{ "{self._arch}"; }};
APT::Sandbox::User "";
APT::Get::List-Cleanup "true";
Acquire::Languages "none";
Acquire::Retries "3";
'''
        )
        done = self._run("apt-get", "-q", "update")
        # A suite that has left the mirror is no reason to do without the others.
        self.refused = [line for line in done.stderr.splitlines() if line.startswith("E:")]

    def kernel(self, kernel: Kernel) -> tuple[str, str]:
        """Return the package of a kernel and its version, the newest of its suites."""
        found: list[tuple[list[int], str, str]] = []
        listed = self._run("apt-cache", "search", "--names-only", "^linux-image-[0-9]").stdout
        names = [
            name
            for name in (line.split(" ")[0] for line in listed.splitlines())
            if kernel.packages.fullmatch(name)
        ]
        if names:
            for line in self._run("apt-cache", "madison", *names).stdout.splitlines():
                name, version, source = (field.strip() for field in line.split("|"))
                suite = source.split(" ")[1].partition("/")[0]
                if suite in kernel.suites:
                    found.append((_order(version), name, version))
        if not found:
            said = "; ".join(self.refused)
            raise Unavailable(f"no suite of {', '.join(kernel.suites)} has it{': ' if said else ''}{said}")
        _key, name, version = max(found)
        return name, version

    def with_own_parts(self, package: str, version: str) -> list[str]:
        """Return a kernel package and those that were split off it (from 7.2 on)."""
        wanted = [f"{package}={version}"]
        shown = self._run("apt-cache", "show", wanted[0]).stdout
        for depends in re.findall(r"^Depends: (.*)$", shown, re.MULTILINE):
            parts = re.findall(r"(linux-(?:binary|modules)-[^ ]+) \(= ([^)]+)\)", depends)
            wanted += [f"{part}={exact}" for part, exact in parts]
        return wanted

    def fetch(self, wanted: Sequence[str]) -> list[Path]:
        """Download packages, each given as ``name=version``, and return their files."""
        archive = self._place / "debs"
        archive.mkdir(exist_ok=True)
        done = self._run("apt-get", "-q", "download", *wanted, cwd=archive)
        if done.returncode != 0:
            raise Unavailable(f"apt cannot fetch {' '.join(wanted)}: {_last(done.stderr)}")
        names = {name.partition("=")[0] for name in wanted}
        return [path for path in sorted(archive.iterdir()) if path.name.partition("_")[0] in names]

    def fetch_with_dependencies(self, names: Sequence[str]) -> list[Path]:
        """Download packages and all that they need, as if nothing at all were installed."""
        done = self._run(
            "apt-get", "-q", "-y", "--no-install-recommends", "--download-only", "install", *names
        )
        if done.returncode != 0:
            raise Unavailable(f"apt cannot fetch {' '.join(names)}: {_last(done.stderr)}")
        return sorted((self._place / "cache" / "archives").glob("*.deb"))

    def _run(self, *argv: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        program, *rest = argv
        return subprocess.run(
            [program, "-c", self._config, *rest],
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
        )


def suites(arch: str) -> list[str]:
    """Return every suite that a kernel of a processor is looked for in."""
    return list(dict.fromkeys(suite for kernel in KERNELS if kernel.arch == arch for suite in kernel.suites))


def unpack(files: Iterable[Path], target: Path) -> None:
    """Unpack packages below a directory, and do nothing else that an installation would do."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("bin", "sbin", "lib"):
        (target / "usr" / name).mkdir(parents=True, exist_ok=True)
        if not (target / name).is_symlink():
            (target / name).symlink_to(f"usr/{name}")
    for file in files:
        # Not dpkg-deb -x: older packages have /bin, which would take the place of the link.
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE) as packed:
            done = subprocess.run(
                ["tar", "-x", "-p", "--keep-directory-symlink", "--no-same-owner", "-C", target],
                stdin=packed.stdout,
                capture_output=True,
                text=True,
                check=False,
            )
        if packed.returncode != 0 or done.returncode != 0:
            raise Unavailable(f"{file.name} cannot be unpacked: {_last(done.stderr)}")


@functools.cache
def _mirror() -> str:
    """Return the address of the Debian mirror that apt uses."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Unavailable("this system has no apt-get and dpkg-deb")
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)|$(ORIGIN)|$(LABEL)|$(COMPONENT)"],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines():
        address, *kind = line.split("|")
        if kind == ["Debian", "Debian", "main"]:
            return address
    raise Unavailable("apt has no package lists of a Debian mirror here (apt-get update fetches them)")


def _order(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", version)]


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no reason given"
