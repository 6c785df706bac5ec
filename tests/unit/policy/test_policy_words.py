"""What a policy file can say beside zones, and what the project may say."""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from tests.support.analysis_streams import forbidden
from writeaudit.analysis.adjust import adjust_findings
from writeaudit.audit import Process
from writeaudit.errors import PolicyError
from writeaudit.events import Access, FsEvent, Op
from writeaudit.judgement import Finding, Policy, Reason, Severity, Verdict, Zone, ZoneAccess
from writeaudit.policy import (
    Classifier,
    classifier_for,
    covers_path,
    discover_policy,
    from_json,
    load_policy,
    to_json,
    with_project,
)

_SCHEMA = json.loads(resources.files("writeaudit.policy").joinpath("policy.schema.json").read_text("utf-8"))
_ZONES = '[[zones]]\nname = "work"\naccess = "ro"\npatterns = ["/w"]\n'


def _load(tmp_path: Path, text: str, name: str = "p.toml") -> Policy:
    place = tmp_path / name
    place.write_text(text)
    jsonschema.validate(json.loads(json.dumps(tomllib.loads(text), default=str)), _SCHEMA)
    return load_policy(str(place), {}, b"/w", b"/h", command=[b"uv", b"sync"])


def _write(path: str, **fields: object) -> FsEvent:
    made = FsEvent(1, 5, 7, 7, Op.OPEN, path.encode(), access=Access.WRITE)
    return made._replace(**fields)  # type: ignore[arg-type]


def test_extends_profiles_and_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.toml").write_text(_ZONES + '[severity]\nWA203 = "error"\nWA1xx = "off"\n')
    policy = _load(tmp_path, 'extends = ["uv/frozen", "sub/base.toml"]\n[severity]\nWA102 = "note"\n')
    zones = {zone.name: zone for zone in policy.zones}
    assert zones["work"].patterns == (b"/w",)
    assert zones["cache"].access is ZoneAccess.READ_ONLY
    severities = dict(policy.severities)
    assert (severities["WA203"], severities["WA101"], severities["WA102"]) == ("error", "off", "note")
    assert from_json(to_json(policy)) == policy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "nowhere.toml"', "cannot read"),
        ('extends = "p.toml"', "extends this file"),
        ('extends = "uvv"', "unknown profile"),
        ('extends = "uv"\nprofile = "npm"', "second profile"),
        ('[severity]\nWA999 = "error"', "does not know 'WA999'"),
        ('[severity]\nWA201 = "bad"', "severity of WA201"),
        ("[[exceptions]]\npaths = ['/a']", "has no reason"),
        ("[[exceptions]]\nreason = 'x'", "has no patterns"),
        ("[[exceptions]]\nreason = 'x'\npaths = ['/a']\nuntil = 'soon'", "until of"),
        ("[[exceptions]]\nreason = 'x'\npaths = ['/a']\nrules = ['nope']", "does not know 'nope'"),
        ("[[exceptions]]\nreson = 'x'", "unknown key 'reson'"),
        (_ZONES + "when = { exe = '' }", "exe of"),
        (_ZONES + "when = { user = 'ann' }", "unknown condition"),
    ],
)
def test_mistakes_are_said_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    place = tmp_path / "p.toml"
    place.write_text(text)
    with pytest.raises(PolicyError) as caught:
        load_policy(str(place), {}, b"/w", b"/h")
    assert message in caught.value.message
    assert caught.value.message.startswith(f"{place}:")
    assert caught.value.hint


def test_exceptions_have_a_reason_and_an_end(tmp_path: Path) -> None:
    text = _ZONES + (
        '[[exceptions]]\nreason = "writes its version"\npaths = ["/w/_version.py"]\nuntil = 9999-12-31\n'
        '[[exceptions]]\nreason = "only reads"\npaths = ["/w/b"]\nrules = ["WA204"]\n'
        '[[exceptions]]\nreason = "old"\npaths = ["/w/c"]\nuntil = "2020-01-31"\n'
    )
    policy = _load(tmp_path, text)
    judge = Classifier(policy).judge
    assert judge(_write("/w/_version.py")).verdict is Verdict.ALLOWED
    assert judge(_write("/w/_version.py", result="EROFS")).verdict is Verdict.FAILED
    assert judge(_write("/w/a")) == forbidden("work")
    assert judge(_write("/w/b")) == forbidden("work"), "another rule is excepted"
    assert judge(_write("/w/c")) == forbidden("work"), "it has expired"
    assert [remark for remark in policy.remarks if "expired on 2020-01-31" in remark and "old" in remark]
    assert from_json(to_json(policy)) == policy


def _finding(rule: str, severity: Severity, path: str = "/w/x") -> Finding:
    return Finding(rule, "", severity, "", 1, files=1, details={"examples": [path]})


def test_severities_and_exceptions_of_findings(tmp_path: Path) -> None:
    text = _ZONES + (
        '[severity]\nWA201 = "note"\nWA203 = "error"\nWA105 = "off"\n'
        '[[exceptions]]\nreason = "known"\npaths = ["/w/lib"]\nrules = ["WA301"]\n'
    )
    policy = _load(tmp_path, text)
    findings = [
        _finding("WA201", Severity.ERROR),
        _finding("WA201", Severity.WARNING),
        _finding("WA203", Severity.WARNING),
        _finding("WA105", Severity.NOTE),
        _finding("WA301", Severity.ERROR, "/w/lib/a"),
        _finding("WA301", Severity.ERROR, "/w/other"),
    ]
    found = [(each.rule, each.severity.value) for each in adjust_findings(findings, policy, covers_path)]
    assert found == [("WA201", "note"), ("WA201", "note"), ("WA203", "error"), ("WA301", "error")]


def test_zones_for_one_program(tmp_path: Path) -> None:
    text = '[[zones]]\nname = "cache"\naccess = "rw"\npaths = "/c"\nwhen = { exe = "uv*" }\n' + _ZONES
    policy = _load(tmp_path, text)
    processes = [
        Process(7, 1, b"/usr/bin/sh", (b"sh",), 0, 3, None),
        Process(7, 1, b"/opt/uv", (b"uv", b"sync"), 3, 9, 0),
        Process(8, 1, b"/usr/bin/python3", (b"python3", b"/x/uvx"), 0, 9, 0),
        Process(9, 1, b"/usr/bin/rm", (b"rm", b"-rf"), 0, 9, 0),
    ]
    judge = classifier_for(policy, processes).judge
    allowed = [
        judge(_write("/c/a", pid=pid, time_ns=time)).verdict is Verdict.ALLOWED
        for pid, time in ((7, 1), (7, 5), (8, 5), (9, 5))
    ]
    assert allowed == [False, True, True, False]
    assert judge(_write("/w/a")).reason is Reason.READ_ONLY
    assert from_json(to_json(policy)) == policy


def test_patterns_know_versioned_names(tmp_path: Path) -> None:
    text = '[[zones]]\nname = "sdists"\naccess = "ro"\npaths = ["/c/sdists-v[0-9]*"]\n'
    zone_of = Classifier(_load(tmp_path, text)).zone_of
    assert [
        zone_of(path) is not None for path in (b"/c/sdists-v9/a", b"/c/sdists-v10", b"/c/sdists-vendor")
    ] == [
        True,
        True,
        False,
    ]


# -- [tool.writeaudit] -----------------------------------------------------------------


def _project(tmp_path: Path, table: str, base: Policy | None = None, command: str = "uv sync") -> Policy:
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "x"\n{table}')
    cwd = str(tmp_path).encode()
    env = {"HOME": "/h", "TMPDIR": "/elsewhere"}
    words = [word.encode() for word in command.split()]
    return with_project(base or discover_policy(words, cwd, env), env, cwd, b"/h")


def test_project_can_forbid(tmp_path: Path) -> None:
    policy = _project(
        tmp_path, '[tool.writeaudit.zones.cache]\naccess = "ro"\npaths = ["~/.cache/uv/archive-v0"]\n'
    )
    zone_of = Classifier(policy).zone_of
    kept, closed = zone_of(b"/h/.cache/uv/x"), zone_of(b"/h/.cache/uv/archive-v0/y")
    assert kept is not None
    assert closed is not None
    assert (kept.access, closed.access) == (ZoneAccess.READ_WRITE, ZoneAccess.READ_ONLY)
    assert not policy.remarks


@pytest.mark.parametrize(
    "table",
    [
        '[tool.writeaudit.zones.all]\naccess = "rw"\npaths = ["/"]\n',
        '[tool.writeaudit.zones.cache]\naccess = "rw"\npaths = ["~/.ssh"]\n',
        '[tool.writeaudit.severity]\nWA201 = "off"\n',
        '[[tool.writeaudit.exceptions]]\nreason = "x"\npaths = ["/"]\n',
    ],
)
def test_project_cannot_allow(tmp_path: Path, table: str) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    plain = _project(tmp_path, "")
    policy = _project(tmp_path, table)
    assert policy.zones == plain.zones
    assert policy.severities == ()
    assert policy.exemptions == ()
    assert len(policy.remarks) == 1
    assert "ignored" in policy.remarks[0]
    assert str(tmp_path) in policy.remarks[0]


def test_project_does_not_open_what_may_not_be_read(tmp_path: Path) -> None:
    secret = Policy("p", "test", (Zone("secrets", ZoneAccess.NONE, (b"/h/.ssh",)),))
    for path in ("~/.ssh/known", "~", "~/.s*"):
        policy = _project(tmp_path, f'[tool.writeaudit.zones.x]\naccess = "ro"\npaths = ["{path}"]\n', secret)
        zone = Classifier(policy).zone_of(b"/h/.ssh/known/a")
        assert zone is not None
        assert zone.access is ZoneAccess.NONE, path


def test_project_may_say_where_an_unknown_command_writes(tmp_path: Path) -> None:
    table = '[tool.writeaudit.zones.work]\naccess = "rw"\npaths = ["."]\n'
    policy = _project(tmp_path, table, command="./build.sh")
    assert not policy.is_open
    assert Classifier(policy).judge(_write(f"{tmp_path}/x")).verdict is Verdict.ALLOWED
    assert Classifier(policy).judge(_write("/opt/x")).verdict is Verdict.VIOLATION


@pytest.mark.parametrize(
    "place", ["/", "/usr", "/etc/x", "~", "/h", "..", ".", "/h/.ssh", "/usr/lib/python3"]
)
def test_settings_of_a_project_open_nothing_else(tmp_path: Path, place: str) -> None:
    project = tmp_path / "home" / "project"
    project.mkdir(parents=True)
    home = str(tmp_path / "home")
    place = place.replace("/h", home)
    (project / "package.json").write_text("{}")
    (project / "pnpm-workspace.yaml").write_text(f"storeDir: {place}\n")
    env = {"HOME": home}
    policy = discover_policy([b"pnpm", b"install"], str(project).encode(), env)
    plain = {"/": "/opt/x", "~": f"{home}/own"}.get(place, f"{place}/own-file")
    judged = Classifier(policy).judge(_write(plain.replace("~", home)))
    assert judged.zone != "cache"
    assert any("pnpm-workspace.yaml asks for" in remark for remark in policy.remarks), policy.remarks


def test_settings_of_a_project_still_count(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "package.json").write_text("{}")
    (project / "pnpm-workspace.yaml").write_text("storeDir: .store\n")
    policy = discover_policy([b"pnpm", b"install"], str(project).encode(), {"HOME": str(tmp_path / "home")})
    zone = Classifier(policy).zone_of(f"{project}/.store/v11/x".encode())
    assert zone is not None
    assert zone.name == "cache"
    assert not policy.remarks
    # What the user says counts wherever it leads.
    own = discover_policy(
        [b"uv", b"sync"], str(project).encode(), {"HOME": "/h", "UV_CACHE_DIR": "/usr/share/uv"}
    )
    zone = Classifier(own).zone_of(b"/usr/share/uv/x")
    assert zone is not None
    assert zone.name == "cache"
