"""The page's script, module by module, in node."""
# ruff: noqa: E501 - script within Python

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
    source = "".join((resources.templates_directory() / "js" / name).read_text() for name in modules)
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
          events.push([
            model.event.seq[i], model.tables.lives[model.event.life[i]], model.path(model.event.file[i]),
            model.tables.ops[model.event.op[i]], model.tables.results[model.event.result[i]],
            s ? (s > 0 ? model.path(s - 1) : model.words(-s - 1)) : null]);
        }}
        const eventsOf = indexEvents(model), linked = Array.from(eventsOf(0), (i) => model.event.seq[i]);
        const hits = (word) => {{
          const marks = model.holding(word);
          return files.filter((_, i) => marks[i]).map((f) => f[0]);
        }};
        console.log(JSON.stringify({{
          below: files.filter((_, i) => model.below("/home/ada/src/.venv/p1/")[i]).map((f) => f[0]),
          place: model.findPath(files[5][0]), files, events, linked, found: model.findEvent(7), none: model.findEvent(10 ** 9),
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
    assert found["below"] == [path for path in shown if path.startswith("/home/ada/src/.venv/p1/")]
    assert found["place"] == 5


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("six .py", {"words": ["six", ".py"], "without": [], "keys": {}, "not": {}}),
        ("-cache six", {"words": ["six"], "without": ["cache"], "keys": {}, "not": {}}),
        (
            "pid:42 errno:EROFS",
            {"words": [], "without": [], "keys": {"pid": ["42"], "errno": ["EROFS"]}, "not": {}},
        ),
        ('under:"/a b" x', {"words": ["x"], "without": [], "keys": {"under": ["/a b"]}, "not": {}}),
        ("-errno:ENOENT", {"words": [], "without": [], "keys": {}, "not": {"errno": ["ENOENT"]}}),
        ("https://x", {"words": ["https://x"], "without": [], "keys": {}, "not": {}}),
        ("", {"words": [], "without": [], "keys": {}, "not": {}}),
    ],
)
def test_search_language(text: str, query: dict[str, object]) -> None:
    assert _node(f"console.log(JSON.stringify(parseQuery({json.dumps(text)})))", "query.js") == query


def test_filters_go_to_the_address_and_back() -> None:
    code = """
      const state = { ...readState("#?"), q: "a b&c", zone: "2", tab: "events", time: "0.1-0.2" };
      console.log(JSON.stringify([
        writeState(readState("#?")), readState(writeState(state)),
        readState("#zones"), readState("#event-12").event,
      ]));
    """
    empty, back, other, event = _node(code, "query.js")
    assert empty == "#?"
    assert (back["q"], back["zone"], back["tab"], back["time"]) == ("a b&c", "2", "events", "0.1-0.2")
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


_MODEL = """
  const encode = (names) => {
    const parts = names.map((name) => new TextEncoder().encode(name)), starts = [0];
    for (const part of parts) starts.push(starts.at(-1) + part.length);
    const text = new Uint8Array(starts.at(-1));
    parts.forEach((part, i) => text.set(part, starts[i]));
    return { text, starts: Uint32Array.from(starts) };
  };
  const make = (rows) => ({ ...encode(rows.map((row) => row[0])), files: rows.length,
    tables: { verdicts: ["violation", "attempt", "allowed"], nets: ["created", "modified", "replaced", "transient"] },
    file: { verdict: rows.map((row) => row[1]), net: rows.map((row) => row[2]), bytes: rows.map((row) => row[3]) } });
"""


def test_directories_of_sorted_paths() -> None:
    """Among sorted paths the entry of a directory and what is below it are not always neighbours."""
    rows = [
        ["/a/b", 2, 0, 0], ["/a/b-c/x", 2, 0, 5], ["/a/b/one", 0, 0, 7], ["/a/b/two", 2, 3, 9], ["/z/y/x/w", 2, 0, 1],
        ["pipe", 2, 0, 0],
    ]  # fmt: skip
    found = _node(
        f"""{_MODEL}
        const model = make({json.dumps(rows)}), sums = sumRows(model, null), whole = wholeTree(model);
        const show = (node) => listNode(model, sums, node).map((each) =>
          [each.name, sums.paths(each), sums.bad(each), sums.left(each), sums.written(each), sums.temporary(each)]);
        const [root] = listNode(model, sums, whole), a = listNode(model, sums, root).find((each) => each.name === "a/");
        console.log(JSON.stringify({{ top: show(whole), root: show(root), a: show(a),
          start: nodeName(model, findStart(model, sums.left), 0) }}));
        """,
        "tree.js",
    )
    assert found["top"] == [["/", 5, 1, 13, 22, 9], ["pipe", 1, 0, 0, 0, 0]]
    assert found["root"] == [["a/", 4, 1, 12, 21, 9], ["z/y/x/", 1, 0, 1, 1, 0]]
    assert found["a"] == [["b/", 2, 1, 7, 16, 9], ["b-c/", 1, 0, 5, 5, 0]]
    assert found["start"] == "/"


def test_treemap_cells_cover_their_weight_and_do_not_overlap() -> None:
    found = _node("console.log(JSON.stringify(squarify([6, 6, 4, 3, 2, 2, 1], 0, 0, 600, 400)))", "tree.js")
    areas = [width * height for _x, _y, width, height in found]
    assert [round(area / 10000, 6) for area in areas] == [6, 6, 4, 3, 2, 2, 1]
    for number, (x, y, width, height) in enumerate(found):
        for other_x, other_y, other_width, other_height in found[:number]:
            apart = x >= other_x + other_width - 1e-6 or other_x >= x + width - 1e-6
            assert apart or y >= other_y + other_height - 1e-6 or other_y >= y + height - 1e-6


def test_filters_agree_with_a_plain_reading(tmp_path: Path) -> None:
    events = [*samples.install_events(6, 10), *samples.hostile_events(3000)]
    report = samples.report(events)
    packed = pack_report(report)
    (tmp_path / "tables").write_text(packed.tables)
    (tmp_path / "data").write_text("".join(packed.columns))
    queries = ["", "p1", "-p1", "zone:venv", "-zone:venv", "op:link", "errno:EXDEV", "op:open -errno:ok", "under:/srv",
        "pid:100 time:0.003-0.02", "zone:venv zone:cache p2", "process:uv verdict:violation"]  # fmt: skip
    found = _node(
        f"""
        const fs = require("fs");
        const read = (name) => fs.readFileSync({json.dumps(str(tmp_path))} + "/" + name, "utf8");
        const model = await unpack(JSON.parse(read("tables")), read("data"));
        console.log(JSON.stringify({json.dumps(queries)}.map((q) => {{
          const filters = compileFilters(model, {{ ...readState("#?"), all: "1", q }});
          const {{ pass, shown, counts }} = filterFiles(model, filters);
          const events = filterEvents(model, filters, pass, true);
          return {{ paths: Array.from(pass, (is, i) => is ? model.path(i) : "").filter(Boolean), shown,
            zones: Array.from(counts.zone), seqs: Array.from(events.rows, (i) => model.event.seq[i]) }};
        }})));
        """,
        "decode.js", "query.js", "filter.js",
    )  # fmt: skip
    judged = [(event, samples.judge(event)) for event in events]

    def of_events(test: Any) -> tuple[set[str], list[int]]:
        hits = [event for event, verdict in judged if test(event, verdict)]
        return {escape_path(event.path) for event in hits}, [event.seq for event in hits]

    expected = {
        "op:link": of_events(lambda event, _: event.op == "link"),
        "errno:EXDEV": of_events(lambda event, _: event.result == "EXDEV"),
        "op:open -errno:ok": of_events(lambda event, _: event.op == "open" and event.result != "ok"),
        "p1": of_events(lambda event, _: b"p1" in event.path),
        "-p1": of_events(lambda event, _: b"p1" not in event.path),
        "under:/srv": of_events(lambda event, _: event.path.startswith(b"/srv/")),
        "zone:venv": of_events(lambda _, verdict: verdict.zone == "venv"),
        "-zone:venv": of_events(lambda _, verdict: verdict.zone != "venv"),
        "pid:100 time:0.003-0.02": of_events(lambda event, _: 3_000_000 <= event.time_ns <= 20_000_000),
    }
    for query, answer in zip(queries, found, strict=True):
        assert answer["shown"] == len(answer["paths"])
        if query in expected:
            paths, seqs = expected[query]
            assert (query, set(answer["paths"]), answer["seqs"]) == (query, paths, seqs)
    both = found[queries.index("zone:venv zone:cache p2")]["paths"]
    assert len(both) == 20
    # Counts by zone are as if the filter of zones were off.
    assert found[queries.index("zone:venv")]["zones"] == found[0]["zones"]


def test_columns_of_any_length_anywhere_are_told_to_be_zero() -> None:
    """Planes begin at any byte and have any length: words of four bytes are read only where there are any."""
    found = _node(
        """
        const wrong = [];
        for (let at = 0; at < 5; at++) for (let length = 0; length < 12; length++) for (let from = 0; from <= length; from++) {
          const bytes = new Uint8Array(20).subarray(at, at + length);
          if (!isZero(bytes, from)) wrong.push([at, length, from]);
          for (let k = from; k < length; k++) { bytes[k] = 1; if (isZero(bytes, from)) wrong.push([at, length, from, k]); bytes[k] = 0; }
        }
        console.log(JSON.stringify(wrong));
        """,
        "decode.js",
    )
    assert found == []
