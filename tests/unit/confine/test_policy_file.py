"""A policy made from what a run did allows it, and not more than names can say."""

from __future__ import annotations

from pathlib import Path

from writeaudit.confine.policy_file import suggest_policy
from writeaudit.judgement import FileSummary, NetEffect, Policy, Verdict, Zone, ZoneAccess
from writeaudit.policy import Classifier, load_policy

_ODD = b"/srv/odd/\xff $[x]*\n"
_POLICY = Policy(
    "generic/install", "profile", (Zone("tmp", ZoneAccess.READ_WRITE, (b"/tmp",)),), is_open=True
)


def _file(path: bytes, net: NetEffect = NetEffect.CREATED, **ops: int) -> FileSummary:
    return FileSummary(path, 1, None, Verdict.ALLOWED, net, ops)


def _suggest(tmp_path: Path, *files: FileSummary) -> tuple[Policy, str, tuple[bytes, ...]]:
    made = suggest_policy(_POLICY, files, name="make", cwd=b"/w", home=b"/h")
    place = tmp_path / "policy.toml"
    place.write_text(made.text)
    return load_policy(str(place), {}, b"/w", b"/h"), made.text, made.left_out


def test_allows_what_was_done_and_no_more(tmp_path: Path) -> None:
    policy, text, left_out = _suggest(
        tmp_path,
        _file(b"/w/made", mkdir=1),
        _file(b"/w/made/x/y"),
        _file(b"/w/log"),
        _file(b"/h/.cache/tool/db", NetEffect.MODIFIED),
        _file(_ODD, NetEffect.MODIFIED),
        _file(b"/h/.bashrc", NetEffect.MODIFIED),
        _file(b"/etc/cron.d/job"),
        _file(b"/srv/only/read", NetEffect.READ),
    )
    zone_of = Classifier(policy).zone_of
    for allowed in (
        b"/w/made/x/y",
        b"/w/made/other",
        b"/w/log",
        b"/h/.cache/tool/db",
        b"/srv/odd/\xff $[x]*\n",
    ):
        zone = zone_of(allowed)
        assert zone is not None, allowed
        assert zone.access is ZoneAccess.READ_WRITE
    for other in (
        b"/w/other",
        b"/h/.bashrc",
        b"/h/.cache/tool/x",
        b"/etc/cron.d/job",
        b"/srv/only/read",
        b"/h/x",
    ):
        assert zone_of(other) is None, other
    assert left_out == (b"/h/.bashrc", b"/etc/cron.d/job")
    assert "# Not allowed, for it starts programs or grants access: /h/.bashrc" in text
    assert '"./made"' in text
    assert '"~/.cache/tool/db"' in text


def test_many_files_of_one_directory_are_that_directory_unless_it_is_too_wide(tmp_path: Path) -> None:
    names = [b"%d" % number for number in range(9)]
    policy, _text, _left = _suggest(
        tmp_path, *(_file(b"/srv/own/" + name) for name in names), *(_file(b"/h/" + name) for name in names)
    )
    zone_of = Classifier(policy).zone_of
    assert zone_of(b"/srv/own/another") is not None
    assert zone_of(b"/h/3") is not None
    assert zone_of(b"/h/another") is None


def test_temporary_files_are_allowed_by_their_directory(tmp_path: Path) -> None:
    policy, _text, _left = _suggest(tmp_path, _file(b"/srv/own/tmpQ1", NetEffect.TRANSIENT))
    assert Classifier(policy).zone_of(b"/srv/own/tmpZ9") is not None
