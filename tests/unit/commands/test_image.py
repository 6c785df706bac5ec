"""`writeaudit image`: statuses, reports, and that a hostile image reaches no reader unescaped."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from sarif_pydantic import Sarif

from tests.support.container_images import Layer, layout_files, make, write_archive, write_layout
from writeaudit.report.json import writer

HOSTILE = "a`b|c<script>alert(1)</script>\x1b]0;x\x07\n::error::\u202etxt & [x](javascript:y) @everyone"
SCHEMA = json.loads((Path(writer.__file__).parent / "schema.json").read_text(encoding="utf-8"))


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "writeaudit", "image", *words], capture_output=True, text=True, check=False
    )


def _layout(directory: Path, *layers: Layer, **more: object) -> str:
    return write_layout(directory, layout_files(make(*layers, **more)))  # type: ignore[arg-type]


def _clean(tmp_path: Path) -> str:
    return _layout(tmp_path / "clean", Layer().file("app", b"1"))


def _flagged(tmp_path: Path) -> str:
    return _layout(tmp_path / "flagged", Layer().file("bin/su", b"1", mode=0o4755))


def test_statuses(tmp_path: Path) -> None:
    clean, flagged = _clean(tmp_path), _flagged(tmp_path)
    done = _run(clean)
    assert (done.returncode, done.stdout) == (0, "")
    assert "Clean: nothing was found." in done.stderr
    assert _run(flagged, "-q").returncode == 0
    for level in ("warning", "WA501", "WA5xx", "image"):
        assert _run(flagged, "-q", "--static", "--fail-on", level).returncode == 100, level
    assert _run(_layout(tmp_path / "e", Layer().file("../x")), "-q").returncode == 100
    missing = _run(str(tmp_path / "missing"))
    assert (missing.returncode, "No such file" in missing.stderr) == (125, True)
    assert _run(clean, "--platform", "linux/s390x").returncode == 125
    assert _run(clean, "--fail-on", "nonsense").returncode == 2
    assert _run(clean, "--sqlite", str(tmp_path / "x")).returncode == 2
    assert _run().returncode == 2


def test_an_image_that_is_not_read_in_full_is_incomplete(tmp_path: Path) -> None:
    made = make(Layer().file("a", b"1"))
    source = write_layout(tmp_path / "l", layout_files(made._replace(layers=(made.layers[0][:-9],))))
    done = _run(source, "--json", "-", "--fail-on", "none")
    assert done.returncode == 101
    report = json.loads(done.stdout)
    assert report["summary"]["status"] == "incomplete"
    assert report["completeness"]["complete"] is False
    assert "cannot be called clean" in done.stderr


def test_a_source_is_not_overwritten(tmp_path: Path) -> None:
    source = write_archive(tmp_path / "i.tar", layout_files(make(Layer().file("a", b"1"))))
    before = Path(source).read_bytes()
    assert _run(source, "--json", source).returncode == 2
    assert Path(source).read_bytes() == before


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return every form of the report on an image in which whatever can be chosen is hostile."""
    directory = tmp_path_factory.mktemp("hostile")
    lower = Layer().file(HOSTILE, b"x" * 3000, mode=0o4777).symlink("link", HOSTILE)
    lower.file("root/.netrc", b"machine m login l password hunter2222\n").hard_link(f"{HOSTILE}2", HOSTILE)
    upper = Layer().whiteout(HOSTILE).file(f"../{HOSTILE}", b"1").whiteout("root/.netrc")
    upper.file(f"set{HOSTILE}", b"1", mode=0o4755).file("copy", b"x" * 3000)
    source = _layout(
        directory / "l",
        lower,
        upper,
        config={"User": HOSTILE, "Env": [f"{HOSTILE}_TOKEN=s3cretvalue"], "Cmd": [HOSTILE]},
        history=[{"created_by": f"RUN {HOSTILE} --password hunter2222"}, {"created_by": HOSTILE}],
        architecture=HOSTILE,
    )
    forms = ("html", "json", "markdown", "sarif", "junit")
    done = _run(source, *(word for form in forms for word in (f"--{form}", str(directory / form))))
    assert done.returncode == 100, done.stderr
    return {"terminal": done.stderr} | {
        form: (directory / form).read_text(encoding="utf-8") for form in forms
    }


@pytest.mark.parametrize("form", ["terminal", "html", "json", "markdown", "sarif", "junit"])
def test_no_report_holds_a_secret_or_a_control_character(reports: dict[str, str], form: str) -> None:
    text = reports[form]
    for secret in ("hunter2222", "s3cretvalue"):
        assert secret not in text
    assert not [char for char in text if not char.isprintable() and char != "\n"]
    assert not any(line.startswith("::error") for line in text.splitlines())


def test_json_is_valid_and_complete(reports: dict[str, str]) -> None:
    report = json.loads(reports["json"])
    jsonschema.validate(report, SCHEMA)
    image = report["image"]
    kinds = {fact["kind"] for fact in image["facts"]}
    assert {"added", "deleted", "setuid", "wasted", "same-bytes", "traversal"} < kinds
    assert {"secret-in-lower-layer", "secret-in-environment", "world-writable"} & kinds == {
        "secret-in-lower-layer",
        "secret-in-environment",
        "world-writable",
    }
    assert len(image["layers"]) == 2
    assert image["user"].startswith("a`b|c<script>")
    assert (report["run"], report["policy"], report["events"]) == (None, None, [])


def test_html_runs_nothing_of_the_image(reports: dict[str, str]) -> None:
    class Tags(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.seen.append(tag)
            assert not [name for name, _value in attrs if name.startswith("on")]

    parser = Tags()
    parser.feed(reports["html"])
    assert parser.seen.count("script") == 1
    assert "Content-Security-Policy" in reports["html"]
    assert "alert(1)&lt;/script&gt;" in reports["html"]


def test_markdown_shows_names_as_code_alone(reports: dict[str, str]) -> None:
    prose = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", reports["markdown"])
    prose = re.sub(r"\\.", "", prose)  # what is escaped
    for active in ("<script", "](javascript", "@everyone", "\n::"):
        assert active not in prose


def test_the_others_are_well_formed(reports: dict[str, str]) -> None:
    ET.fromstring(reports["junit"])
    sarif = Sarif.model_validate(json.loads(reports["sarif"]))
    assert {result.rule_id for result in sarif.runs[0].results or ()} >= {"WA501", "WA504", "WA507"}


@pytest.mark.parametrize("form", ["json", "markdown", "html", "sarif", "junit", "github"])
def test_forms_go_to_standard_output(tmp_path: Path, form: str) -> None:
    done = _run(_flagged(tmp_path), "--format", form)
    assert (done.returncode, done.stderr) == (0, "")
    assert "WA501" in done.stdout


def test_verbose_shows_cause_and_paths(tmp_path: Path) -> None:
    said = _run(_flagged(tmp_path), "-v").stderr
    assert "gets rights that the process did not have" in said
    assert "/bin/su  layer 0, mode 4755, owner 0:0" in said


def test_a_job_of_github_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    (tmp_path / "summary").touch()
    said = _run(_flagged(tmp_path)).stderr
    assert "::warning title=WA501" in said
    assert "WA501" in (tmp_path / "summary").read_text(encoding="utf-8")
