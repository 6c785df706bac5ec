"""The page's script, module by module, in node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import report_samples as samples
from writeaudit import resources
from writeaudit.report.html.pack import pack_report
from writeaudit.text import escape_path

NODE = shutil.which("node") or shutil.which("nodejs")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")


def _node(code: str, *modules: str) -> Any:
    """Run some modules of the script with code after them; return what that prints as JSON."""
    source = "".join((resources.templates() / "js" / name).read_text() for name in modules)
    assert NODE is not None
    words = [NODE, "-e", f'"use strict"; {source}\n(async () => {{ {code} }})();']
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_is_unpacked_is_what_was_packed(tmp_path: Path) -> None:
    events = [*samples.install_events(20, 20), *samples.hostile_events(3000)]
    report = samples.report(events)
    packed = pack_report(report)
    (tmp_path / "tables").write_text(packed.tables)
    (tmp_path / "data").write_text("".join(packed.columns))
    found = _node(
        f"""
        const fs = require("fs");
        const read = (name) => fs.readFileSync({json.dumps(str(tmp_path))} + "/" + name, "utf8");
        const model = await unpack(JSON.parse(read("tables")), read("data"));
        const files = [], events = [];
        for (let i = 0; i < model.files; i++) files.push([model.path(i), model.file.bytes[i]]);
        for (let i = 0; i < model.events; i++) {{
          const s = model.event.source[i];
          events.push([model.event.seq[i], model.event.pid[i], model.path(model.event.file[i]),
            model.tables.ops[model.event.op[i]], model.tables.results[model.event.result[i]],
            s ? (s > 0 ? model.path(s - 1) : model.text(-s - 1)) : null]);
        }}
        const eventsOf = indexEvents(model), linked = Array.from(eventsOf(0), (i) => model.event.seq[i]);
        const hits = (word) => {{
          const marks = model.holding(word);
          return files.filter((_, i) => marks[i]).map((f) => f[0]);
        }};
        console.log(JSON.stringify({{
          files, events, linked, found: model.findEvent(7), none: model.findEvent(10 ** 9),
          script: hits("SCRIPT"), p1: hits("/p1/"), nothing: hits("zzzzzz") }}));
        """,
        "decode.js",
    )
    assert found["files"] == [[escape_path(file.path), file.bytes_written] for file in report.files]
    assert found["events"] == [
        [
            event.seq, event.pid, escape_path(event.path), event.op, event.result,
            None if event.source is None else escape_path(event.source),
        ]
        for event in events
    ]  # fmt: skip
    first = report.files[0].path
    assert found["linked"] == [event.seq for event in events if first in (event.path, event.source)]
    assert found["found"] == 6
    assert found["none"] == -1
    shown = [escape_path(file.path) for file in report.files]
    assert found["script"] == [path for path in shown if "script" in path.lower()]
    assert found["p1"] == [path for path in shown if "/p1/" in path]
    assert found["nothing"] == []


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("six .py", {"words": ["six", ".py"], "without": [], "keys": {}}),
        ("-cache six", {"words": ["six"], "without": ["cache"], "keys": {}}),
        ("pid:42 errno:EROFS", {"words": [], "without": [], "keys": {"pid": ["42"], "errno": ["EROFS"]}}),
        ('under:"/a b" x', {"words": ["x"], "without": [], "keys": {"under": ["/a b"]}}),
        ("https://x", {"words": ["https://x"], "without": [], "keys": {}}),
        ("", {"words": [], "without": [], "keys": {}}),
    ],
)
def test_search_language(text: str, query: dict[str, object]) -> None:
    assert _node(f"console.log(JSON.stringify(parseQuery({json.dumps(text)})))", "query.js") == query


def test_filters_go_to_the_address_and_back() -> None:
    code = """
      const state = { ...readState("#?"), q: "a b&c", zone: "2", tab: "events", page: 3 };
      console.log(JSON.stringify([
        writeState(readState("#?")), readState(writeState(state)),
        readState("#zones"), readState("#event-12").event,
      ]));
    """
    empty, back, other, event = _node(code, "query.js")
    assert empty == "#?"
    assert (back["q"], back["zone"], back["tab"], back["page"]) == ("a b&c", "2", "events", "3")
    assert other is None
    assert event == 12


@pytest.mark.parametrize(
    "name", [*samples.HOSTILE, b"/plain/path", b"/it's", b"/a b", b"/$(touch x)", b"/`x`"]
)
def test_copied_paths_mean_the_same_file_to_a_shell(name: bytes) -> None:
    code = f"console.log(JSON.stringify(quoteForShell({json.dumps(escape_path(name))})))"
    quoted = _node(code, "query.js")
    done = subprocess.run(["bash", "-c", f"printf %s {quoted}"], capture_output=True, check=True)
    assert done.stdout == name
