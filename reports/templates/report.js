"use strict";
// Searches, filters, sorts and pages the embedded paths. Everything that an audited program
// could have chosen reaches the page through textContent, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const PAGE = 100, EVENTS_AT_ONCE = 200;
  const DIR = 0, NAME = 1, ZONE = 2, VERDICT = 3, NET = 4, MOUNT = 5, OPS = 6, BYTES = 7;
  const SEQ = 0, TIME = 1, PID = 2, FILE = 3, OP = 4, RESULT = 5, JUDGED = 6, SOURCE = 7, SIZE = 8, CALLS = 9, SHAPE = 10, SEEN = 11;
  const { files, events, dirs, opsets, zones, mounts, results, shapes, verdicts, nets, ops } = data;
  const OUTSIDE = "outside every zone";

  const $ = (id) => document.getElementById(id);
  const el = (tag, className, ...children) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    node.append(...children);
    return node;
  };
  const count = (n) => n.toLocaleString("en-US");
  const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
  const bytes = (n) => {
    if (n < 1024) return `${n} B`;
    let unit = -1;
    do { n /= 1024; unit += 1; } while (n >= 1024 && unit < 3);
    return `${n.toFixed(1)} ${["KiB", "MiB", "GiB", "TiB"][unit]}`;
  };
  const millis = (us) => us < 1e6 ? `${(us / 1000).toFixed(us < 1e4 ? 1 : 0)} ms` : `${(us / 1e6).toFixed(2)} s`;
  const zoneName = (i) => zones[i] === null ? OUTSIDE : zones[i];
  const mountName = (i) => mounts[i][2] ? `${mounts[i][1]} (${mounts[i][2]})` : mounts[i][1];
  const fullPath = (file) => dirs[file[DIR]] + file[NAME];

  const ESCAPE = /(\\\\|(?:\\x[0-9a-f]{2})+)/;
  const escapes = (text) => text.split(ESCAPE).filter(Boolean).map(
    (part) => ESCAPE.test(part) ? el("span", "esc", part) : part);
  const ascii = (text) => !/[^\x00-\x7f]/.test(text);
  const ltr = (node) => { node.dir = "ltr"; return node; };
  const isolated = (text) => text.split("/").flatMap((part, i) => {
    const piece = part ? [ltr(el("bdi", "", ...escapes(part)))] : [];
    return i ? ["/", ...piece] : piece;
  });
  const pathNode = (shown) => {
    const cut = shown.lastIndexOf("/") + 1;
    const show = ascii(shown) ? escapes : isolated;
    return ltr(el("bdi", "path", el("span", "dir", ...show(shown.slice(0, cut))), ...show(shown.slice(cut))));
  };

  // Events of each file; built when first asked for. A source counts as its file's event too.
  let byFile = null;
  const eventsOf = (file) => {
    if (!byFile) {
      byFile = new Map();
      const add = (key, event) => { const list = byFile.get(key); if (list) list.push(event); else byFile.set(key, [event]); };
      for (const event of events) {
        add(event[FILE], event);
        if (typeof event[SOURCE] === "number" && event[SOURCE] !== event[FILE]) add(event[SOURCE], event);
      }
    }
    return byFile.get(file) || [];
  };
  let searchable = null;
  const textOf = (i) => (searchable ||= files.map((file) => fullPath(file).toLowerCase()))[i];

  const state = { q: "", zone: "", verdict: "", net: "", op: "", mount: "", sort: "", down: false, page: 0, open: new Set(), target: 0 };
  let shown = [];

  const select = (key, title, values, label) => {
    const node = $(`f-${key}`);
    node.append(new Option(title, ""));
    for (const value of values) node.append(new Option(label(value), String(value)));
    node.addEventListener("change", () => { state[key] = node.value; refresh(); });
  };
  const numbers = (list) => list.map((_, i) => i);
  const present = (field) => { const seen = new Set(); for (const file of files) seen.add(file[field]); return (i) => seen.has(i); };
  const opsSeen = new Set(opsets.flatMap((set) => Object.keys(set)));
  select("zone", "All zones", numbers(zones).filter(present(ZONE)), zoneName);
  select("verdict", "All verdicts", numbers(verdicts).filter(present(VERDICT)), (i) => verdicts[i]);
  select("net", "Any outcome", numbers(nets).filter(present(NET)), (i) => nets[i]);
  select("op", "Any operation", ops.filter((op) => opsSeen.has(op)), (op) => op);
  select("mount", "All mounts", numbers(mounts).filter(present(MOUNT)), mountName);

  const compare = {
    path: (a, b) => { const x = fullPath(files[a]), y = fullPath(files[b]); return x < y ? -1 : x > y ? 1 : 0; },
    verdict: (a, b) => files[a][VERDICT] - files[b][VERDICT],
    net: (a, b) => files[a][NET] - files[b][NET],
    zone: (a, b) => zoneName(files[a][ZONE]).localeCompare(zoneName(files[b][ZONE])),
    bytes: (a, b) => files[a][BYTES] - files[b][BYTES],
  };

  const refresh = () => {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = (key) => state[key] === "" ? null : Number(state[key]);
    const zone = wanted("zone"), verdict = wanted("verdict"), net = wanted("net"), mount = wanted("mount");
    const withOp = state.op && opsets.map((set) => Object.hasOwn(set, state.op));
    shown = [];
    files.forEach((file, i) => {
      if (zone !== null && file[ZONE] !== zone) return;
      if (verdict !== null && file[VERDICT] !== verdict) return;
      if (net !== null && file[NET] !== net) return;
      if (mount !== null && file[MOUNT] !== mount) return;
      if (withOp && !withOp[file[OPS]]) return;
      if (words.length && !words.every((word) => textOf(i).includes(word))) return;
      shown.push(i);
    });
    if (state.sort) {
      const order = compare[state.sort], sign = state.down ? -1 : 1;
      shown.sort((a, b) => sign * order(a, b) || a - b);
    }
    state.page = 0;
    draw();
  };

  const eventTable = (index) => {
    const list = eventsOf(index);
    const box = el("div", "scroll");
    if (!list.length) {
      box.append(el("p", "note", "Only opened for reading, or its events were left out of this page: see the counts above."));
      return box;
    }
    const head = el("tr", "");
    for (const [name, cls] of [["Event", "num"], ["At", "num"], ["Process", ""], ["Operation", ""], ["Result", ""], ["Verdict", ""], ["Size", "num"], ["Other name", ""]]) {
      const th = el("th", cls, name);
      th.scope = "col";
      head.append(th);
    }
    const body = el("tbody", "");
    const row = (event) => {
      const isSource = event[FILE] !== index;
      const other = el("td", "");
      if (isSource) other.append(el("div", "from", "to ", pathNode(fullPath(files[event[FILE]]))));
      else if (event[SOURCE] !== null) {
        const source = typeof event[SOURCE] === "number" ? fullPath(files[event[SOURCE]]) : event[SOURCE];
        other.append(el("div", "from", ops[event[OP]] === "symlink" ? "holds " : "from ", pathNode(source)));
      }
      if (event[SEEN] !== null) other.append(el("div", "from", "seen as ", pathNode(event[SEEN])));
      const calls = event[CALLS] > 1 ? ` in ${count(event[CALLS])} calls` : "";
      const ok = results[event[RESULT]] === "ok";
      return el("tr", event[SEQ] === state.target ? "target" : "",
        el("td", "num", String(event[SEQ])), el("td", "num dim", millis(event[TIME])),
        el("td", "", `${data.programs[event[PID]] || "?"} `, el("span", "dim", String(event[PID]))),
        el("td", "", `${ops[event[OP]]} `, el("span", "dim", shapes[event[SHAPE]])),
        el("td", ok ? "code" : "code fail", results[event[RESULT]]),
        el("td", "", el("span", `v ${verdicts[event[JUDGED]]}`, verdicts[event[JUDGED]])),
        el("td", "num", event[SIZE] === null ? "" : bytes(event[SIZE]) + calls), other);
    };
    let done = 0;
    const more = el("button", "");
    more.type = "button";
    const extend = (upTo) => {
      body.append(...list.slice(done, upTo).map(row));
      done = Math.min(upTo, list.length);
      more.textContent = `Show more (${count(list.length - done)} of ${count(list.length)} not shown)`;
      more.hidden = done >= list.length;
    };
    const at = list.findIndex((event) => event[SEQ] === state.target);
    extend(Math.max(EVENTS_AT_ONCE, at + 1));
    more.addEventListener("click", () => extend(done + EVENTS_AT_ONCE));
    box.append(el("table", "events", el("thead", "", head), body), more);
    return box;
  };

  const opsText = (set) => Object.entries(set).sort((a, b) => b[1] - a[1]).map(([op, n]) => `${op} ${count(n)}`).join(" · ");

  const detail = (index) => {
    const file = files[index];
    const full = el("p", "full", pathNode(fullPath(file)));
    const meta = el("p", "meta", `${nets[file[NET]]}, ${verdicts[file[VERDICT]]}, `, el("bdi", "", zoneName(file[ZONE])),
      " · on ", el("bdi", "", mountName(file[MOUNT])), ` · ${opsText(opsets[file[OPS]])}`, file[BYTES] ? ` · ${bytes(file[BYTES])} written` : "");
    const cell = el("td", "", full, meta, eventTable(index));
    cell.colSpan = 6;
    const node = el("tr", "detail", cell);
    node.id = `detail-${index}`;
    return node;
  };

  const row = (index) => {
    const file = files[index];
    const isOpen = state.open.has(index);
    const button = el("button", "open", pathNode(fullPath(file)));
    button.type = "button";
    button.setAttribute("aria-expanded", String(isOpen));
    const node = el("tr", isOpen ? "row is-open" : "row", el("td", "", button),
      el("td", "c-verdict", el("span", `v ${verdicts[file[VERDICT]]}`, verdicts[file[VERDICT]])),
      el("td", "c-net", nets[file[NET]]),
      el("td", "c-zone", el("bdi", "", zones[file[ZONE]] === null ? "–" : zones[file[ZONE]])),
      el("td", "ops c-ops", opsText(opsets[file[OPS]])),
      el("td", "num c-bytes", file[BYTES] ? bytes(file[BYTES]) : ""));
    button.addEventListener("click", () => {
      const now = !state.open.has(index);
      button.setAttribute("aria-expanded", String(now));
      node.classList.toggle("is-open", now);
      if (now) { state.open.add(index); node.after(detail(index)); }
      else { state.open.delete(index); $(`detail-${index}`).remove(); }
    });
    return isOpen ? [node, detail(index)] : [node];
  };

  const body = document.querySelector("#files tbody");
  const pager = $("pager");
  const draw = () => {
    const pages = Math.max(1, Math.ceil(shown.length / PAGE));
    const from = state.page * PAGE;
    const slice = shown.slice(from, from + PAGE);
    body.classList.add("live");
    body.replaceChildren(...slice.flatMap(row));
    const all = shown.length === files.length ? plural(files.length, "path") : `${count(shown.length)} of ${plural(files.length, "path")}`;
    $("found").textContent = shown.length ? `${all}${pages > 1 ? `, ${count(from + 1)} to ${count(from + slice.length)} shown` : ""}` : "No path matches.";
    pager.hidden = pages < 2;
    const step = (label, target, disabled) => {
      const button = el("button", "", label);
      button.type = "button";
      button.disabled = disabled;
      button.addEventListener("click", () => { state.page = target; draw(); $("paths").scrollIntoView(); const again = [...pager.querySelectorAll("button")].find((b) => b.textContent === label && !b.disabled); if (again) again.focus({ preventScroll: true }); });
      return button;
    };
    pager.replaceChildren(step("First", 0, !state.page), step("Previous", state.page - 1, !state.page),
      el("span", "", `Page ${count(state.page + 1)} of ${count(pages)}`),
      step("Next", state.page + 1, state.page + 1 >= pages), step("Last", pages - 1, state.page + 1 >= pages));
  };

  const heads = [...document.querySelectorAll("#files th[data-sort]")];
  for (const head of heads) {
    const button = el("button", "sort", head.textContent);
    button.type = "button";
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const key = head.dataset.sort;
      const firstDown = key === "bytes";
      if (state.sort !== key) { state.sort = key; state.down = firstDown; }
      else if (state.down === firstDown) state.down = !firstDown;
      else state.sort = "";
      for (const other of heads) other.removeAttribute("aria-sort");
      if (state.sort) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      refresh();
    });
  }

  const FILTERS = ["zone", "verdict", "net", "op", "mount"];
  const clear = () => {
    state.q = $("q").value = "";
    for (const key of FILTERS) state[key] = $(`f-${key}`).value = "";
  };
  const narrow = (key, value) => { clear(); state[key] = $(`f-${key}`).value = String(value); refresh(); };
  let waiting = 0;
  $("q").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { state.q = $("q").value; refresh(); }, files.length > 20000 ? 150 : 30);
  });
  const form = $("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => { event.preventDefault(); clear(); refresh(); });
  form.hidden = false;

  const goTo = (seq) => {
    const event = events.find((candidate) => candidate[SEQ] === seq);
    if (!event) { $("found").textContent = `Event ${seq} is not listed in this page (see the note below the list); the JSON report has it.`; $("paths").scrollIntoView(); return; }
    clear();
    state.target = seq;
    state.open.add(event[FILE]);
    refresh();
    state.page = Math.floor(shown.indexOf(event[FILE]) / PAGE);
    draw();
    const target = body.querySelector("tr.target") || $(`detail-${event[FILE]}`);
    target.scrollIntoView({ block: "center" });
    const opener = $(`detail-${event[FILE]}`).previousElementSibling.querySelector("button.open");
    opener.focus({ preventScroll: true });
  };
  const followHash = () => { const match = /^#event-(\d+)$/.exec(location.hash); if (match) goTo(Number(match[1])); };
  addEventListener("hashchange", followHash);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link) return;
    if (link.dataset.event && link.hash === location.hash) followHash();
    else if (link.dataset.zone !== undefined) narrow("zone", zones.indexOf(link.dataset.zone || null));
    else if (link.dataset.mount !== undefined) narrow("mount", mounts.findIndex((mount) => mount[0] === Number(link.dataset.mount)));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
      event.preventDefault();
      $("q").focus();
    }
  });

  $("embedded").textContent = data.embedded;
  refresh();
  followHash();
})();
