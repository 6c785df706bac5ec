"""WA501 to WA506 and WA306: what is found in images made by hand, and what is not."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.container_images import NET_RAW, Layer
from tests.support.read_images import find, read_layers, tell
from writeaudit.container_image import FactKind
from writeaudit.image.capabilities import parse_capability
from writeaudit.image.findings import list_findings
from writeaudit.image.reading import read_image
from writeaudit.image.secrets import find_secrets
from writeaudit.judgement import Severity

BODY = "\n".join(["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ" + "A" * 14] * 4)
KEY = f"-----BEGIN PRIVATE KEY-----\n{BODY}\n-----END PRIVATE KEY-----\n".encode()
CERTIFICATE = KEY.replace(b"PRIVATE KEY", b"CERTIFICATE")
TOKEN = "ghp_" + "a1B2c3D4e5" * 4


def test_rights_of_their_own(tmp_path: Path) -> None:
    layer = (
        Layer()
        .file("bin/su", b"s", mode=0o4755)
        .hard_link("bin/su2", "bin/su")
        .file("bin/wall", b"w", mode=0o2755)
        .file("bin/ping", b"p", pax={"SCHILY.xattr.security.capability": NET_RAW.decode("latin-1")})
        .file("locked", b"l", mode=0o2644)  # setgid without execution: mandatory locking, no right
        .file("plain", b"n", mode=0o755)
    )
    read = read_layers(tmp_path, layer)
    kinds = FactKind.SETUID, FactKind.SETGID, FactKind.CAPS
    assert sorted(tell(read, *kinds)) == [
        ("caps", "/bin/ping", 0),
        ("setgid", "/bin/wall", 0),
        ("setuid", "/bin/su", 0),
        ("setuid", "/bin/su2", 0),
    ]
    assert {finding.severity for finding in find(read, "WA501")} == {Severity.WARNING}
    assert "cap_net_raw=ep" in find(read, "WA501", "caps")[0].message


def test_rights_that_a_later_layer_takes_away_are_gone(tmp_path: Path) -> None:
    read = read_layers(tmp_path, Layer().file("su", b"s", mode=0o4755), Layer().file("su", b"s", mode=0o755))
    assert find(read, "WA501") == []


def test_a_setuid_file_that_others_can_change_is_an_error(tmp_path: Path) -> None:
    (finding,) = find(read_layers(tmp_path, Layer().file("su", b"s", mode=0o4775)), "WA501")
    assert finding.severity is Severity.ERROR


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (NET_RAW, "cap_net_raw=ep"),
        (bytes.fromhex("0000000200040000000000000000000000000000"), "cap_net_bind_service=p"),
        (bytes.fromhex("000000020000000000000000000100000000000000"), "damaged"),
        (b"", "damaged"),
    ],
)
def test_capabilities_are_named(value: bytes, shown: str) -> None:
    assert parse_capability(value) == shown


def test_world_writable_and_devices(tmp_path: Path) -> None:
    layer = (
        Layer()
        .directory("tmp", mode=0o1777)
        .directory("data", mode=0o777)
        .file("conf", b"c", mode=0o666)
        .symlink("link", "conf")
        .device("dev/null", 1, 3)
    )
    read = read_layers(tmp_path, layer)
    assert tell(read, FactKind.WORLD_WRITABLE, FactKind.DEVICE) == [
        ("world-writable", "/conf", 0),
        ("world-writable", "/data", 0),
        ("device", "/dev/null", 0),
    ]
    assert len(find(read, "WA502")) == 2


@pytest.mark.parametrize(
    ("path", "data", "what"),
    [
        ("/k", KEY, "private key (PKCS #8)"),
        ("/cert.pem", KEY, "private key (PKCS #8)"),
        ("/k", KEY.replace(b"PRIVATE", b"RSA PRIVATE"), "private key (RSA)"),
        ("/app/.env", b"DB_PASSWORD=hunter22\n", "credentials"),
        ("/root/.netrc", b"machine x login y password zzz\n", "password"),
        ("/a.py", f"token = '{TOKEN}'".encode(), "GitHub token"),
        ("/etc/shadow", b"root:$y$j9T$abc$def:19000::::::\n", "password hash"),
        ("/root/.docker/config.json", b'{"auths": {"r": {"auth": "dTpw"}}}', "registry credentials"),
        ("/root/.git-credentials", b"https://me:s3cr3tpw@git.host\n", "password"),
        ("/x", b"aws_secret_access_key = " + b"abcd" * 10, "AWS secret key"),
    ],
)
def test_secrets_are_known_by_what_a_file_holds(path: str, data: bytes, what: str) -> None:
    assert [secret.what for secret in find_secrets(path.encode(), data)] == [what]
    assert not any(secret.weak for secret in find_secrets(path.encode(), data))


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/etc/ssl/ca.pem", CERTIFICATE),
        ("/server.key", b"not a key"),
        ("/doc", b"-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----"),
        ("/libcrypto.so", b"\0-----BEGIN PRIVATE KEY-----\0-----END PRIVATE KEY-----"),
        ("/app/.env", b"DB_PASSWORD=\nTOKEN=${TOKEN}\nAPI_KEY=changeme\n"),
        ("/etc/shadow", b"root:*:19000::::::\nuser:!:1::::::\n"),
        ("/root/.docker/config.json", b'{"auths": {}}'),
        ("/root/.docker/config.json", b"[" * 100_000),
        ("/x", b"aws_secret_access_key = EXAMPLE" + b"abcd" * 9),
    ],
)
def test_what_is_no_secret(path: str, data: bytes) -> None:
    assert list(find_secrets(path.encode(), data)) == []


@pytest.mark.parametrize(
    "data",
    [
        b"-----BEGIN PRIVATE KEY-----\n" * 30_000,
        b"TOKEN" * 200_000,
        b"\n" * 1_000_000,
        b"password" + b" " * 1_000_000,
        b"machine " * 120_000,
        b"https://" + b"a:" * 500_000,
    ],
)
def test_no_text_makes_the_search_endless(data: bytes) -> None:
    for name in (b"/.env", b"/.netrc", b"/.pypirc", b"/.git-credentials", b"/etc/shadow", b"/.kube/config"):
        list(find_secrets(name, data))


def test_keys_of_tests_are_notes(tmp_path: Path) -> None:
    read = read_layers(tmp_path, Layer().file("usr/lib/python3/test/key.pem", KEY))
    assert [finding.severity for finding in find(read, "WA503")] == [Severity.NOTE]


def test_a_secret_that_is_deleted_is_still_there(tmp_path: Path) -> None:
    read = read_layers(tmp_path, Layer().file("root/id", KEY), Layer().whiteout("root/id"))
    assert find(read, "WA503") == []
    (secret,) = find(read, "WA504")
    assert secret.severity is Severity.ERROR
    assert "`/root/id` (private key (PKCS #8), layer 0)" in secret.message
    assert tell(read, FactKind.SECRET_IN_LOWER_LAYER) == [("secret-in-lower-layer", "/root/id", 0)]


def test_an_overwritten_secret_is_still_there_and_a_chmod_is_not_told_twice(tmp_path: Path) -> None:
    layers = Layer().file("id", KEY), Layer().file("id", KEY, mode=0o600), Layer().file("id", b"-")
    assert len(tell(read_layers(tmp_path / "a", *layers), FactKind.SECRET_IN_LOWER_LAYER)) == 2
    read = read_layers(tmp_path / "b", *layers[:2])
    assert tell(read, FactKind.SECRET_IN_LOWER_LAYER) == []
    assert tell(read, FactKind.SECRET_VISIBLE) == [("secret-visible", "/id", 1)]


def test_large_files_that_are_deleted_are_a_warning(tmp_path: Path) -> None:
    read = read_layers(tmp_path, Layer().file("cache", b"\1" * (2 << 20)), Layer().whiteout("cache"))
    (finding,) = find(read, "WA504")
    assert (finding.severity, finding.bytes) == (Severity.WARNING, 2 << 20)


def test_environment_and_build_steps(tmp_path: Path) -> None:
    env = [
        "PATH=/bin",
        "DB_PASSWORD=hunter22",
        "KEY_FILE=/run/secrets/key",
        "API_TOKEN=",
        "GPG_KEY=E3FF2839",
        f"CI={TOKEN}",
    ]
    history = [{"created_by": f"RUN curl -H 'Authorization: token {TOKEN}' x"}]
    read = read_layers(tmp_path, Layer().file("a", b"1"), config={"Env": env}, history=history)
    told = [fact.detail.partition(":")[0] for fact in read.image.of(FactKind.SECRET_IN_ENVIRONMENT)]
    assert told == ["DB_PASSWORD", "CI"]
    environment, step = find(read, "WA503")
    assert environment.severity is step.severity is Severity.ERROR
    assert TOKEN not in repr((read.image, list_findings(read)))
    assert "hunter22" not in repr((read.image, list_findings(read)))


@pytest.mark.parametrize(
    ("user", "is_root"),
    [
        ("", True),
        ("0", True),
        ("root:app", True),
        ("toor", True),
        ("0000", True),
        ("1000", False),
        ("app", False),
    ],
)
def test_runs_as_root(tmp_path: Path, user: str, is_root: bool) -> None:
    layer = Layer().file("etc/passwd", b"toor:x:0:0::/:/bin/sh\napp:x:5:5::/:/bin/sh\n")
    read = read_layers(tmp_path, layer, config={"User": user})
    assert bool(find(read, "WA506")) is is_root


def test_programs_are_parsed(tmp_path: Path) -> None:
    program = Path(sys.executable).resolve().read_bytes()
    read = read_layers(tmp_path, Layer().file("bin/python", program), architecture="arm64")
    assert read.image.hardening["elf"] == 1
    (finding,) = find(read, "WA306", "machine")
    assert finding.severity is Severity.NOTE


def test_a_damaged_program_is_a_note(tmp_path: Path) -> None:
    read = read_layers(tmp_path, Layer().file("x", b"\x7fELF" + b"\xff" * 60))
    assert [each.details["kind"] for each in find(read, "WA306")] == ["damaged"]


def _with_runpath(tmp_path: Path, runpath: str) -> bytes:
    source = tmp_path / "x.c"
    source.write_text("int f(void) { return 1; }\n")
    subprocess.run(
        ["cc", "-shared", "-fPIC", f"-Wl,-rpath,{runpath}", "-o", tmp_path / "x.so", source], check=True
    )
    return (tmp_path / "x.so").read_bytes()


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.parametrize(
    ("runpath", "kind"),
    [
        ("/opt/lib", "writable-path"),
        ("/opt/made/by/anybody", "writable-path"),
        ("$ORIGIN/../open", "writable-path"),
        ("/link", "writable-path"),
        ("lib", "relative-path"),
        ("/srv/lib", None),
        ("/home/build/lib", None),
    ],
)
def test_search_paths_are_judged_by_the_image(tmp_path: Path, runpath: str, kind: str | None) -> None:
    layer = (
        Layer()
        .directory("opt", mode=0o777)
        .directory("opt/lib", mode=0o777)
        .directory("srv")
        .directory("srv/lib")
        .directory("usr/open", mode=0o1777)
        .symlink("link", "opt")
        .file("usr/lib/x.so", _with_runpath(tmp_path, runpath))
    )
    read = read_layers(tmp_path, layer)
    assert [each.details["kind"] for each in find(read, "WA306")] == ([kind] if kind else [])
    assert bool(tell(read, FactKind.RPATH)) is bool(kind)


def test_a_root_directory_is_read_as_one_layer(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/key").write_bytes(KEY)
    (root / "etc/again").hardlink_to(root / "etc/key")
    (root / "etc/out").symlink_to("/etc/shadow")
    (root / ".wh.name").write_text("a file, no whiteout")
    (root / "su").write_text("x")
    (root / "su").chmod(0o4755)
    read = read_image(str(root))
    assert read.image.kind == "directory"
    assert ("added", "/.wh.name", 0) in tell(read)
    assert tell(read, FactKind.SECRET_VISIBLE) == [
        ("secret-visible", "/etc/again", 0),
        ("secret-visible", "/etc/key", 0),
    ]
    assert tell(read, FactKind.SETUID) == [("setuid", "/su", 0)]
    assert find(read, "WA506") == []
    assert read.problems == ()


def test_a_directory_that_cannot_be_listed_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dead").mkdir()
    (tmp_path / "live").write_text("x")
    real = os.listdir

    def list_names(place: int | str) -> list[str]:
        if isinstance(place, int) and os.readlink(f"/proc/self/fd/{place}").endswith("dead"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), place)
        return real(place)

    monkeypatch.setattr(os, "listdir", list_names)
    read = read_image(str(tmp_path))
    assert ("added", "/live", 0) in tell(read)
    assert any("/dead: Input/output error" in problem.message for problem in read.problems), read.problems


def test_what_is_overwritten_counts_and_a_change_of_mode_does_not(tmp_path: Path) -> None:
    lower = Layer().file("new", b"\1" * 9000).file("chmod", b"\2" * 7000)
    read = read_layers(tmp_path, lower, Layer().file("new", b"2").file("chmod", b"\2" * 7000, mode=0o755))
    (finding,) = find(read, "WA504")
    assert (finding.bytes, finding.severity) == (9000, Severity.NOTE)
