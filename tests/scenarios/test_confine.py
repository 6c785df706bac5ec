"""`writeaudit confine`: ways out that must fail, what must go on working, and real installers."""

from __future__ import annotations

import array
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Cli
from tests.scenarios import escapes
from tests.scenarios.conftest import SetEnvironment
from tests.scenarios.wheels import make_wheels
from writeaudit.capture.interface import Backend
from writeaudit.confine import landlock

_CONTENT = "precious"
_PYTHON = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
"""One that every user may execute, if there is one."""
_START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from writeaudit.cli import main; main()"


def _abi() -> int:
    try:
        return landlock.find_abi()
    except landlock.LandlockUnavailable:
        return 0


ABI = _abi()
pytestmark = pytest.mark.skipif(ABI == 0, reason="this kernel has no Landlock")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that every user can reach; the mode of all in it refuses nobody."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="confine-") as made:
        path = Path(made)
        path.chmod(0o777)
        yield path


def _hand_out(server: socket.socket, file: Path) -> None:
    """Be a helper outside that gives away a descriptor, once."""
    there, _ = server.accept()
    with there, file.open("w") as opened:
        there.sendmsg(
            [b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [opened.fileno()]).tobytes())]
        )


def _try_all(place: Path, user: str) -> tuple[dict[str, str], str, Path]:
    """Try every way out as a user; return what became of each, what was said, and where."""
    here = place / f"as-{user}"
    inside, outside = here / "in", here / "out"
    for directory in (here, inside, outside, outside / "empty"):
        directory.mkdir()
        directory.chmod(0o777)
    for name in ("precious", "inherited", "open"):
        (outside / name).write_text(_CONTENT)
        (outside / name).chmod(0o666)
    policy = here / "policy.toml"
    policy.write_text(f'[[zones]]\nname = "in"\naccess = "rw"\npatterns = ["{inside}"]\n')
    uid = os.geteuid() if user == "root" else 65534
    if user != "root" and os.geteuid() == 0:
        for path in (outside / "open", outside / "precious"):
            os.chown(path, uid, -1)
    with (
        socket.socket(socket.AF_UNIX) as server,
        (outside / "inherited").open("r+") as inherited,
        (outside / "precious").open() as held,
    ):
        server.bind(str(here / "socket"))
        (here / "socket").chmod(0o777)
        server.listen()
        threading.Thread(target=_hand_out, args=(server, outside / "handed"), daemon=True).start()
        other = subprocess.Popen(
            ["sleep", "600"], cwd=outside, stdin=held, user=uid if os.geteuid() == 0 else None
        )
        try:
            done = subprocess.run(
                [
                    *(sys.executable, "-c", _START, "confine", "--user", str(uid), "--policy", str(policy)),
                    *("--", _PYTHON, "-c", Path(escapes.__file__).read_text(), str(inside)),
                    *(str(outside), str(other.pid), str(inherited.fileno()), str(here / "socket")),
                ],
                cwd=here, pass_fds=[inherited.fileno()], capture_output=True, text=True, check=False,
                timeout=120,
            )  # fmt: skip
            assert other.poll() is None, "a process outside was ended"
        finally:
            other.kill()
            other.wait()
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr, outside


@pytest.fixture(scope="module", params=["root", "ordinary"])
def tried(request: pytest.FixtureRequest, place: Path) -> tuple[str, dict[str, str], str, Path]:
    """All ways out, as root and as an ordinary user."""
    user: str = request.param
    if user == "root" and os.geteuid() != 0:
        pytest.skip("needs root")
    return (user, *_try_all(place, user))


_NEEDED = {"truncate_by_name": 3, "open_with_truncation": 3, "signal_another": 6}
"""Since which version of Landlock it is refused."""


@pytest.mark.parametrize("way", [each.__name__ for each in escapes.MUST_FAIL])
def test_way_out_is_closed(way: str, tried: tuple[str, dict[str, str], str, Path]) -> None:
    _user, became, _said, outside = tried
    if _NEEDED.get(way, 1) > ABI:
        pytest.skip(f"Landlock has version {ABI} here")
    if became[way].startswith("cannot"):
        pytest.skip(became[way])
    assert became[way].startswith("refused"), became[way]
    assert (outside / "precious").read_text() == _CONTENT
    assert not (outside / "new").exists()


def test_nothing_outside_has_changed(tried: tuple[str, dict[str, str], str, Path]) -> None:
    _user, _became, said, outside = tried
    names = {path.name for path in outside.iterdir()}
    assert names == {"precious", "inherited", "open", "empty", "handed"}
    assert (outside / "inherited").read_text() == _CONTENT
    assert "out/inherited (no zone), was closed" in said


@pytest.mark.parametrize("way", [each.__name__ for each in escapes.NOT_COVERED])
def test_what_the_page_says_is_not_covered(way: str, tried: tuple[str, dict[str, str], str, Path]) -> None:
    """A kernel that covers it makes the page wrong, on the safe side."""
    _user, became, _said, _outside = tried
    if became[way].startswith("cannot"):
        pytest.skip(became[way])
    assert became[way] == "done"


@pytest.mark.parametrize("what", [each.__name__ for each in escapes.MUST_WORK])
def test_what_has_to_work(what: str, tried: tuple[str, dict[str, str], str, Path]) -> None:
    assert tried[1][what] == "done"


def test_processes_of_ordinary_users_can_name_themselves(
    tried: tuple[str, dict[str, str], str, Path],
) -> None:
    assert tried[1]["name_itself"] == ("refused: EACCES" if tried[0] == "root" else "done")


@pytest.fixture
def confined(cli: Cli, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`writeaudit confine` with the zones that are given and no others."""
    policy = tmp_path / "policy.toml"
    (tmp_path / "unused").mkdir()
    policy.write_text('[zones.unused]\npaths = ["unused"]\naccess = "rw"\n')

    def run(*words: str | Path, zones: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        split = words.index("--")
        options = [part for zone in zones for part in ("--zone", zone)]
        return cli("confine", "--policy", policy, *options, *words[:split], *words[split:], cwd=tmp_path)

    return run


Confined = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -TERM $$"], -15),
        (["there-is-no-such-program"], 127),
        (["/etc/passwd"], 126),
    ],
)
def test_exit_status_is_the_commands(confined: Confined, command: list[str], status: int) -> None:
    # A signal ends the very process that was started: nobody stands between.
    assert confined("--", *command).returncode == status


def test_the_command_takes_our_place(confined: Confined) -> None:
    done = confined("--", "sh", "-c", "ps -o ppid= -p $$; grep -c . /proc/$$/cmdline")
    assert int(done.stdout.split()[0]) == os.getpid()


def test_protected_place_inside_a_writable_one(confined: Confined, tmp_path: Path) -> None:
    for name in ("w/keep", "w/other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "w/file").touch()
    script = "echo x > w/keep/a; echo x > w/other/a; echo x >> w/file; echo x > w/new; rmdir w/keep; true"
    done = confined("--", "sh", "-c", script, zones=("w=w:rw", "keep=w/keep:ro"))
    there = {str(path.relative_to(tmp_path)) for path in (tmp_path / "w").rglob("*")}
    assert there == {"w/keep", "w/other", "w/file", "w/other/a"}
    assert (tmp_path / "w/file").read_text() == "x\n"
    assert "no names can be made" in done.stderr


def test_protected_name_that_is_not_there_cannot_be_made(confined: Confined, tmp_path: Path) -> None:
    (tmp_path / "w/sub").mkdir(parents=True)
    script = "mkdir w/.git; echo x > w/.git/config; echo x > w/sub/a; true"
    confined("--", "sh", "-c", script, zones=("w=w:rw", "git=w/.git:ro"))
    assert not (tmp_path / "w/.git").exists()
    assert (tmp_path / "w/sub/a").exists()


def test_patterns_cover_what_is_there(confined: Confined, tmp_path: Path) -> None:
    for name in ("v1", "v2", "x"):
        (tmp_path / name).mkdir()
    script = "echo a > v1/a; echo a > v2/a; echo a > x/a; mkdir v3; true"
    done = confined("--", "sh", "-c", script, zones=("v=v[0-9]:rw",))
    assert {path.parent.name for path in tmp_path.glob("*/a")} == {"v1", "v2"}
    assert not (tmp_path / "v3").exists()
    assert "Landlock knows no patterns" in done.stderr


def test_protected_pattern_in_a_writable_place(confined: Confined, tmp_path: Path) -> None:
    (tmp_path / "w/sub").mkdir(parents=True)
    (tmp_path / "w/a.key").touch()
    script = "echo x > w/a.key; echo x > w/b.key; echo x > w/sub/c; true"
    confined("--", "sh", "-c", script, zones=("w=w:rw", "keys=w/*.key:ro"))
    assert (tmp_path / "w/a.key").read_text() == ""
    assert not (tmp_path / "w/b.key").exists()
    assert (tmp_path / "w/sub/c").exists()


def test_missing_directory_is_made_and_a_missing_file_is_not(confined: Confined, tmp_path: Path) -> None:
    script = "echo x > deep/cache/a; echo x > uv.lock; true"
    done = confined("--", "sh", "-c", script, zones=("cache=deep/cache:rw", "lock=uv.lock:rw"))
    assert (tmp_path / "deep/cache/a").exists()
    assert not (tmp_path / "uv.lock").exists()
    assert "made the directory" in done.stderr
    assert "uv.lock is not there, and cannot be made" in done.stderr


def test_place_that_may_not_be_read(confined: Confined, tmp_path: Path) -> None:
    for name in ("secret", "plain"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
    script = "cat plain/f; cat secret/f; ls secret; ls plain; exec 3< secret/f; true"
    done = confined("--", "sh", "-c", script, zones=("secret=secret:none",))
    assert done.stdout == "plainf\n"
    assert "cannot be listed" in done.stderr


def test_file_with_several_names_is_said(confined: Confined, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "other").hardlink_to(tmp_path / "f")
    assert "other names of the same file" in confined("--", "true", zones=("f=f:rw",)).stderr


def test_protected_file_under_another_name(confined: Confined, tmp_path: Path) -> None:
    (tmp_path / "keep").write_text(_CONTENT)
    (tmp_path / "f").hardlink_to(tmp_path / "keep")
    done = confined("--", "sh", "-c", "echo x > f", zones=("f=f:rw", "keep=keep:ro"))
    assert done.returncode != 0
    assert (tmp_path / "keep").read_text() == _CONTENT
    assert "it is protected as zone keep (ro) says" in done.stderr


def test_zone_of_one_program_is_nobodys(confined: Confined, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    policy = tmp_path / "when.toml"
    policy.write_text('[[zones]]\nname="d"\naccess="rw"\npatterns=["d"]\nwhen={exe="sh"}\n')
    done = confined("--policy", policy, "--", "sh", "-c", "echo x > d/a")
    assert done.returncode != 0
    assert not (tmp_path / "d/a").exists()
    assert "nobody may write there" in done.stderr


def test_redirected_output_outside_is_the_shells_doing(confined: Confined, tmp_path: Path) -> None:
    (tmp_path / "ro").mkdir()
    with (tmp_path / "ro/log").open("w") as log:
        done = subprocess.run(
            [sys.executable, "-c", _START, "confine", "--zone", "ro=ro:ro", "--profile", "install", "--",
             "echo", "hi"],
            cwd=tmp_path, stdout=log, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (tmp_path / "ro/log").read_text() == "hi\n"
    assert "descriptor 1, open for writing on" in done.stderr
    assert "stays open" in done.stderr


def test_redirected_output_whose_name_is_gone_makes_none(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "policy.toml").write_text('[zones.w]\npaths = ["w"]\naccess = "rw"\n')
    done = subprocess.run(
        [
            *("sh", "-c", 'exec > out; rm out; exec "$@"', "sh", sys.executable, "-c", _START),
            *("confine", "--policy", "policy.toml", "--", "echo", "hi"),
        ],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"w", "policy.toml"}


def test_the_terminal_is_not_covered(tmp_path: Path) -> None:
    """A kernel that covers it makes the page wrong, on the safe side."""
    (tmp_path / "w").mkdir()
    (tmp_path / "policy.toml").write_text('[zones.w]\npaths = ["w"]\naccess = "rw"\n')
    typing = "import fcntl; fcntl.ioctl(open('/dev/tty'), 0x5412, b'x'); open('w/typed', 'w').close()"
    confine = [sys.executable, "-c", _START, "confine", "-q", "--policy", "policy.toml", "--", _PYTHON, "-c"]
    for way, words in (("directly", [_PYTHON, "-c", typing]), ("confined", [*confine, typing])):
        (tmp_path / "w/typed").unlink(missing_ok=True)
        main, terminal = os.openpty()
        try:
            # A session without a terminal gets the one that it opens first.
            subprocess.run(
                ["sh", "-c", 'exec < "$0"; exec "$@"', os.ttyname(terminal), *words],
                cwd=tmp_path, start_new_session=True, stderr=subprocess.DEVNULL, check=False,
            )  # fmt: skip
        finally:
            os.close(terminal)
            os.close(main)
        if way == "directly" and not (tmp_path / "w/typed").exists():
            pytest.skip("this kernel lets nobody type into a terminal")
    assert (tmp_path / "w/typed").exists()


def test_an_unknown_command_needs_a_word(cli: Cli, tmp_path: Path) -> None:
    done = cli("confine", "--", "sh", "-c", "echo ran", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nobody has said where it may write" in done.stderr


def test_options_of_an_audit_need_one(confined: Confined) -> None:
    done = confined("--html", "x.html", "--", "true")
    assert done.returncode == 2
    assert "--html is about an audit" in done.stderr


@pytest.mark.parametrize("abi", range(1, min(ABI, landlock.NEWEST_USED) + 1))
def test_older_versions_say_what_they_lack(confined: Confined, tmp_path: Path, abi: int) -> None:
    """The kernel is given what a kernel of that version knows, and does what that one would."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "outside").write_text("x")
    script = (
        "import os\n"
        "open('a/f', 'w').close()\n"
        "try: os.rename('a/f', 'b/f'); print('refer')\n"
        "except OSError: pass\n"
        "try: os.truncate('outside', 0); print('truncated')\n"
        "except OSError: pass\n"
        "try: os.open('outside', os.O_RDONLY | os.O_TRUNC); print('emptied')\n"
        "except OSError: pass\n"
        "try: open('outside', 'w'); print('written')\n"
        "except OSError: pass\n"
        "try: os.kill(os.getppid(), 0); print('signalled')\n"
        "except OSError: pass\n"
    )
    done = confined("--abi", str(abi), "--", sys.executable, "-c", script, zones=("a=a:rw", "b=b:rw"))
    expected = {
        word
        for word, holds in (
            ("refer", abi >= 2),
            ("truncated", abi < 3),
            ("emptied", abi < 3),
            ("signalled", abi < 6),
        )
        if holds
    }
    assert set(done.stdout.split()) == expected
    for needed, word in (
        (2, "links and renames"),
        (3, "truncate(2)"),
        (3, "O_TRUNC"),
        (5, "ioctl(2)"),
        (6, "signals"),
    ):
        assert (word in done.stderr) == (abi < needed), word


def test_without_landlock_nothing_runs(tmp_path: Path) -> None:
    """A seccomp filter takes it away, as that of a container may."""
    filtered = (
        "import ctypes, os, struct, sys\n"
        "libc = ctypes.CDLL(None)\n"
        "rows = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (6, 0, 0, 0x50000 | 38), (6, 0, 0, 0x7FFF0000)]\n"
        "code = ctypes.create_string_buffer(b''.join(struct.pack('=HBBI', *row) for row in rows))\n"
        "program = ctypes.create_string_buffer(struct.pack('=HxxxxxxQ', len(rows), ctypes.addressof(code)))\n"
        "libc.prctl(38, 1, 0, 0, 0)\n"
        "assert libc.prctl(22, 2, program, 0, 0) == 0\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-c", filtered, sys.executable, "-c", _START, "confine"),
            *("--profile", "install", "--", "sh", "-c", "echo ran"),
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (125, "")
    assert "cannot be confined, and was not run: this kernel has no Landlock" in done.stderr


# -- with an audit --------------------------------------------------------------------------------


def test_refusals_are_explained(cli: Cli, tmp_path: Path, backend: Backend) -> None:
    for name in ("w", "ro"):
        (tmp_path / name).mkdir()
    (tmp_path / "ro/f").write_text("x")
    policy = tmp_path / "policy.toml"
    policy.write_text(
        '[zones.w]\npaths = ["w"]\naccess = "rw"\n[zones.kept]\npaths = ["ro"]\naccess = "ro"\n'
    )
    done = cli(
        *("confine", "--audit", "--backend", backend.name, "--policy", policy, "--json", "w/report.json"),
        *("-o", "w/run.wa", "--", "sh", "-c", "echo x > ro/new; ln ro/f w/f; echo x > w/a; true"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "w/report.json").read_bytes())
    found = {each["rule"]: each for each in report["findings"]}
    assert (
        "in zone kept (read-only) was refused with EACCES, as Landlock holds the command to the policy"
        in (found["WA203"]["message"])
    )
    assert "by Landlock, for this confinement" in found["WA113"]["message"]
    assert "lies in zone kept, which may not be written" in found["WA113"]["message"]
    assert "candidates" not in found["WA113"]["cause"]
    assert any(note.startswith("Confined to the policy by Landlock") for note in report["run"]["notes"])
    assert (tmp_path / "w/a").exists()


@pytest.mark.requires_strace
def test_policy_of_a_recording(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    policy = tmp_path / "policy.toml"
    policy.write_text('[zones.d]\npaths = ["d"]\naccess = "rw"\n')
    cli("run", "--backend", "strace", "--policy", policy, "-o", "r.wa", "--", "touch", "d/a", cwd=tmp_path)
    done = cli("confine", "--from", "r.wa", "--", "sh", "-c", "touch d/b; touch c; true", cwd=tmp_path)
    assert (tmp_path / "d/b").exists(), done.stderr
    assert not (tmp_path / "c").exists()
    assert "--from makes" not in done.stderr
    both = cli("confine", "--from", "r.wa", "--policy", policy, "--", "true", cwd=tmp_path)
    assert both.returncode == 2


@pytest.mark.requires_strace
def test_what_the_policy_of_a_recording_hides_stays_hidden(cli: Cli, tmp_path: Path) -> None:
    for name in ("d/secret", "d/in"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "d/secret/f").write_text(_CONTENT)
    policy = tmp_path / "policy.toml"
    policy.write_text(
        '[zones.d]\npaths = ["d"]\naccess = "rw"\n[zones.s]\npaths = ["d/secret"]\naccess = "none"\n'
    )
    script = "echo a > d/in/a; echo a > d/a"
    cli(
        "run", "--backend", "strace", "--policy", policy, "-o", "r.wa", "--", "sh", "-c", script, cwd=tmp_path
    )
    done = cli("confine", "--from", "r.wa", "--", "sh", "-c", "cat d/in/a; cat d/secret/f", cwd=tmp_path)
    assert done.stdout == "a\n", done.stderr
    assert f"--from makes all that is in {tmp_path}/d writable" in done.stderr


@pytest.mark.requires_strace
def test_recording_that_opens_the_home_directory_says_so(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    policy = tmp_path / "policy.toml"
    policy.write_text('[zones.d]\npaths = ["d"]\naccess = "rw"\n')
    new = home / "new"
    cli("run", "--backend", "strace", "--policy", policy, "-o", "r.wa", "--", "touch", new, cwd=tmp_path)
    done = cli("confine", "--from", "r.wa", "--", "touch", home / "other", cwd=tmp_path)
    assert f"--from makes all that is in {home} writable" in done.stderr
    assert (home / "other").exists()


# -- real installers ------------------------------------------------------------------------------


def _zones(tmp_path: Path, *names: str) -> list[str]:
    policy = tmp_path / "zones.toml"
    policy.write_text(
        "".join(f'[zones."{name}"]\npaths = ["{tmp_path}/{name}"]\naccess = "rw"\n' for name in names)
    )
    for name in names:
        (tmp_path / name).mkdir(exist_ok=True)
    return ["--policy", str(policy)]


@pytest.mark.requires_uv
def test_uv_sync(
    cli: Cli, cache: Path, project: Path, tmp_path: Path, offline_uv: SetEnvironment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    offline_uv(cache)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    right = _zones(tmp_path, "cache", "scratch", "project/.venv")
    done = cli("confine", *right, "--", "uv", "sync", "--frozen", cwd=project)
    assert done.returncode == 0, done.stderr
    assert list((project / ".venv/lib").glob("python*/site-packages/jinja2/__init__.py"))
    shutil.rmtree(project / ".venv")
    wrong = _zones(tmp_path, "cache", "scratch")
    done = cli("confine", "--audit", *wrong, "--", "uv", "sync", "--frozen", cwd=project)
    assert done.returncode not in (0, 125), done.stderr
    assert not (project / ".venv").exists()
    assert "as Landlock holds the command to the policy" in " ".join(done.stderr.split())


def test_pip_install(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = make_wheels(tmp_path / "wheels")
    for variable, name in (("HOME", "home"), ("PIP_CACHE_DIR", "pip-cache"), ("TMPDIR", "scratch")):
        monkeypatch.setenv(variable, str(tmp_path / name))
        (tmp_path / name).mkdir()
    pip = (sys.executable, "-m", "pip", "install", "-q", "--no-index", "--find-links", tmp_path / "wheels")
    right = _zones(tmp_path, "target", "scratch", "pip-cache")
    done = cli("confine", *right, "--", *pip, "--target", tmp_path / "target", *names, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "target").glob("alpha*"))
    (tmp_path / "elsewhere").mkdir()
    done = cli(
        "confine", "--audit", *right, "--", *pip, "--target", tmp_path / "elsewhere", *names, cwd=tmp_path
    )
    assert done.returncode not in (0, 125), done.stderr
    assert not list((tmp_path / "elsewhere").iterdir())
    assert "as Landlock holds the command to the policy" in " ".join(done.stderr.split())
