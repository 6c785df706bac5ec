"""What `suggest` writes is taken by the tools themselves, and does what it says: with hostile names, too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.scenarios.containers.engines import Docker, Podman, make_image
from tests.support.analysis_streams import run_info
from writeaudit.confine.dialects import DIALECTS, Subject, render_set
from writeaudit.confine.writable import Kind, Place, WritableSet
from writeaudit.text import escape_path

pytestmark = pytest.mark.requires_root

_ODD = (
    *(
        b"a b",
        b"  two  ",
        b"q'u\"o`te",
        b"$HOME$(id>pwned)${X-y}",
        b"100%i%%",
        b"back\\slash\\n",
        b"com,ma",
    ),
    *(
        b"col:on",
        b"new\nline",
        b"# hash",
        b"semi;colon&",
        b"*?[a]",
        b"-dash",
        b"\xc3\xa9\xf0\x9f\x90\x9f",
        b"\xff",
    ),
    *(b"key: [v]", b"{x}", b"!tag", b"tab\there", b"~"),
)
_CHECK = (
    'for place; do [ -d "$place" ] || { echo "not there: $place"; exit 3; }; '
    'touch "$place/new" || exit 4; done; '
    "touch /bin/new 2>/dev/null && exit 5; exit 0"
)
_DATA = b"/var/lib/app"
_SEEDED = Place(_DATA, Kind.VOLUME, True, 0o750, 0, 0, 10, 1 << 20, copy_up=True)
_COPIED = replace(_SEEDED, kind=Kind.TMPFS)


def _places(top: bytes, kind: Kind = Kind.TMPFS) -> tuple[Place, ...]:
    return tuple(Place(top + b"/" + name, kind, True, 0o755, 0, 0, 10, 1 << 20) for name in _ODD)


def _subject(places: tuple[Place, ...], *command: bytes, uid: int = 0, cwd: bytes = b"/") -> Subject:
    run = replace(run_info(*command, uid=uid, env={}), cwd=cwd)
    return Subject(run, WritableSet(places))


def _taken(dialect: str, places: tuple[Place, ...]) -> tuple[Place, ...]:
    """Return the places that a dialect can say; of all others it says that it cannot."""
    text = " ".join(render_set(dialect, _subject(places, b"true")).split()).replace(" # ", " ")
    refused = [
        place for place in places if f"NOT INCLUDED: {' '.join(escape_path(place.path).split())}," in text
    ]
    taken = tuple(place for place in places if place not in refused)
    assert b"a b" in {place.path.rpartition(b"/")[2] for place in taken}
    assert len(refused) <= 4, [place.path for place in refused]
    return taken


def _checked(places: tuple[Place, ...]) -> tuple[bytes, ...]:
    return (b"sh", b"-c", _CHECK.encode(), b"sh", *(place.path for place in places))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_image(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> Iterator[Podman]:
    for name in ("podman", "crun"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    engine = Podman(tmp_path_factory.mktemp("podman"), archive)
    try:
        if engine.trouble:
            pytest.skip(f"podman does not start here: {engine.trouble}")
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> Iterator[Docker]:
    if shutil.which("dockerd") is None:
        pytest.skip("dockerd is not installed")
    engine = Docker(tmp_path_factory.mktemp("docker"), archive)
    try:
        if engine.trouble:
            pytest.skip(f"dockerd does not start here: {engine.trouble}")
        yield engine
    finally:
        engine.close()


@pytest.mark.parametrize("dialect", ["docker", "podman"])
@pytest.mark.parametrize("kind", [Kind.TMPFS, Kind.VOLUME])
def test_an_engine_runs_what_is_suggested(request: pytest.FixtureRequest, dialect: str, kind: Kind) -> None:
    engine: Podman | Docker = request.getfixturevalue(dialect)
    places = _taken(dialect, _places(b"/srv/x", kind))
    done = engine.run(render_set(dialect, _subject(places, *_checked(places))))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("dialect", ["docker", "podman"])
@pytest.mark.parametrize("place", [_SEEDED, _COPIED])
def test_an_engine_copies_what_the_image_holds(
    request: pytest.FixtureRequest, dialect: str, place: Place
) -> None:
    engine: Podman | Docker = request.getfixturevalue(dialect)
    script = b'cat "$1/seed" && touch "$1/new" && stat -c %a:%u "$1"'
    subject = _subject((place,), b"sh", b"-c", script, b"sh", _DATA)
    for _again in range(2):
        done = engine.run(render_set(dialect, subject))
        assert done.stdout == "from the image\n750:0\n", done.stdout + done.stderr
    done = engine.run(render_set(dialect, _subject((), b"touch", _DATA + b"/new")))
    assert "Read-only file system" in done.stderr


@pytest.mark.parametrize("dialect", ["docker", "podman"])
def test_an_engine_keeps_owner_size_and_noexec(request: pytest.FixtureRequest, dialect: str) -> None:
    engine: Podman | Docker = request.getfixturevalue(dialect)
    places = (
        Place(b"/srv/mine", Kind.TMPFS, True, 0o700, 1000, 1000, 10, 2 << 20),
        Place(b"/srv/runs", Kind.TMPFS, True, 0o755, 0, 0, 10, 1 << 20, executed=True),
    )
    script = b"grep -E ' /srv/(mine|runs) ' /proc/mounts; stat -c %a /srv/mine"
    done = engine.run(render_set(dialect, _subject(places, b"sh", b"-c", script)))
    *mounts, mode = done.stdout.splitlines()
    mine, runs = sorted(mounts)
    assert "noexec" in mine
    assert "size=2048k" in mine
    assert "noexec" not in runs
    assert mode == "700"
    if dialect == "docker":
        assert "uid=1000,gid=1000" in mine
    else:
        text = render_set(dialect, _subject(places, b"stat", b"-c", b"%u", b"/srv/mine"))
        done = engine.run(text.replace("podman run --rm", "podman run --rm --user 1000:1000"))
        assert done.stdout == "1000\n", done.stderr


@pytest.mark.parametrize("dialect", ["docker", "podman"])
def test_a_file_that_is_bound_alone_can_be_written_and_not_replaced(
    request: pytest.FixtureRequest, dialect: str, tmp_path: Path
) -> None:
    engine: Podman | Docker = request.getfixturevalue(dialect)
    place = Place(b"/etc/a file,$x", Kind.BIND, True, 0o644, 0, 0)
    script = b'echo new >"$1" || exit 3; mv /bin/cat "$1" 2>/dev/null && exit 4; cat "$1"'
    text = render_set(dialect, _subject((place,), b"sh", b"-c", script, b"sh", place.path))
    (tmp_path / "a file,$x").write_text("old\n")
    done = engine.run(f"cd {tmp_path}\n{text}")
    assert done.stdout == "new\n", done.stderr
    assert (tmp_path / "a file,$x").read_text() == "new\n"


@pytest.mark.requires_program("bwrap")
def test_bwrap_runs_what_is_suggested(tmp_path: Path) -> None:
    places = _places(os.fsencode(tmp_path))
    for place in places:
        os.mkdir(place.path)
    kept = replace(places[0], kind=Kind.VOLUME)
    everything = (kept, *places[1:])
    check = _CHECK.replace("/bin/new", "/etc/new").encode()
    command = (b"sh", b"-c", check, b"sh", *(place.path for place in everything))
    text = render_set("bwrap", _subject(everything, *command, cwd=os.fsencode(tmp_path)))
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert [path for path in everything if os.path.exists(path.path + b"/new")] == [kept]


@pytest.mark.requires_program("systemd-analyze")
def test_systemd_takes_what_is_suggested(tmp_path: Path) -> None:
    everything = (*_places(b"/srv/x"), *_places(b"/srv/y", Kind.VOLUME))
    taken = _taken("systemd", everything[: len(_ODD)])
    text = render_set("systemd", _subject((*taken, *everything[len(_ODD) :]), b"true"))
    unit = tmp_path / "wa-test.service"

    def complaints(more: str) -> list[str]:
        unit.write_text(more + "ExecStart=/bin/true\n")
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
        )
        return [line for line in done.stderr.splitlines() if "wa-test.service" in line]

    assert complaints("[Service]\nReadWritePaths=relative\n"), "systemd-analyze says nothing at all"
    assert complaints(text) == []
    named = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    assert "100%%i%%%%" in named
    assert '"/srv/y/a b"' in named


@pytest.mark.requires_program("podman")
def test_compose_takes_what_is_suggested(podman: Podman, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("podman-compose")
    if not program.exists():
        pytest.skip("podman-compose is not installed")
    places = (*_taken("compose", _places(b"/srv/x")), _SEEDED)
    (tmp_path / "compose.yaml").write_text(render_set("compose", _subject(places, *_checked(places))))
    compose = f"cd {tmp_path} && {program} --no-cleanup --in-pod=false -f compose.yaml"
    done = podman.run(f"{compose} run --rm sh || {compose} run sh; status=$?; {compose} down; exit $status")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.requires_program("podman")
def test_kubernetes_takes_what_is_suggested(podman: Podman, tmp_path: Path) -> None:
    names = _taken("kubernetes", _places(b"/srv/x"))
    places = (*names, _SEEDED, Place(b"/etc/alone", Kind.BIND, True, 0o644, 0, 0, copy_up=True))
    text = render_set("kubernetes", _subject(places, *_checked(names), uid=1000))
    manifest = tmp_path / "pod.yaml"
    manifest.write_text(text)
    program = Path(sys.executable).with_name("kubernetes-validate")
    if program.exists():
        done = subprocess.run([program, "--strict", manifest], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    script = b'cat "$1/seed" && touch "$1/new" /srv/x/new && touch /bin/new'
    places = (_COPIED, Place(b"/srv/x", Kind.TMPFS, True, 0o700, 0, 0, 1, 1 << 20))
    text = render_set("kubernetes", _subject(places, b"sh", b"-c", script, b"sh", _DATA))
    text = text.replace("image: IMAGE", f"image: {podman.image}\n      imagePullPolicy: Never")
    # podman removes init containers before they have quite ended, unless they are to stay.
    always = "  annotations:\n    io.podman.annotations.init.container.type: always\n"
    always += "spec:\n  restartPolicy: Never"
    manifest.write_text(text.replace("spec:", always, 1))
    done = podman.run(
        f"podman play kube {manifest} >/dev/null; podman wait sh-sh; podman logs sh-sh; "
        f"podman play kube --down {manifest} >/dev/null"
    )
    if "catatonit" in done.stderr:
        pytest.skip("podman has no catatonit here, which it makes pods with")
    assert done.stdout == "1\nfrom the image\n", done.stdout + done.stderr
    assert "Read-only file system" in done.stderr


def test_a_comment_is_never_left_by_a_name() -> None:
    for dialect in DIALECTS:
        text = render_set(dialect, _subject(_places(b"/srv/\n\x1b[31m"), b"sh", b"\necho pwned"))
        assert "\x1b" not in text
        assert "\necho pwned" not in text.replace("\\n", "")
