"""Packages by the paths of their files."""

from __future__ import annotations

from writeaudit.judgement import FileSummary, NetEffect, Verdict
from writeaudit.report.html.packages import find_packages


def _file(
    path: str, size: int = 1, net: NetEffect = NetEffect.CREATED, verdict: Verdict = Verdict.ALLOWED
) -> FileSummary:
    return FileSummary(path.encode(), 1, None, verdict, net, {}, size)


def test_packages_of_each_installer() -> None:
    site = "/v/lib/python3.11/site-packages"
    files = [
        _file("/p/node_modules/@types/node/index.d.ts", 5),
        _file("/p/node_modules/a/lib/x.js", 7),
        _file("/p/node_modules/a/node_modules/b/y.js", 3, verdict=Verdict.VIOLATION),
        _file("/p/node_modules/.bin/a", 1),
        _file(f"{site}/six.py", 30),
        _file(f"{site}/six-1.16.0.dist-info/RECORD", 2),
        _file(f"{site}/typing_extensions.py", 4),
        _file("/g/gems/3.2.0/gems/rake-13.1.0/Rakefile", 9),
        _file("/p/node_modules/gone/x", 9, NetEffect.TRANSIENT),
        _file("/srv/other", 100),
    ]
    found = [
        (package.name, package.version, package.files, package.violations, package.bytes)
        for package in find_packages(files)
    ]
    assert found == [
        (b"b", b"", 1, 1, 3),
        (b"six", b"1.16.0", 2, 0, 32),
        (b"rake", b"13.1.0", 1, 0, 9),
        (b"a", b"", 1, 0, 7),
        (b"@types/node", b"", 1, 0, 5),
    ]


def test_no_more_packages_than_were_asked_for() -> None:
    files = [_file(f"/p/node_modules/n{number}/x") for number in range(50)]
    assert len(find_packages(files, most=10)) == 10
