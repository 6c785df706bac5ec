// The explorer: one state of filters for paths, tree, events and pictures, kept in the address.

const explore = (model) => {
  const { tables, file, event } = model;
  const { zones, mounts, results, shapes, opsets, verdicts, nets, ops, programs, groups, lives, ends } = tables;
  const OUTSIDE = "outside every zone", EVENTS_AT_ONCE = 100;
  const zoneName = (i) => zones[i] === null ? OUTSIDE : zones[i];
  const mountName = (i) => mounts[i][2] ? `${mounts[i][1]} (${mounts[i][2]})` : mounts[i][1];
  const opsText = (set) => Object.entries(set).sort((a, b) => b[1] - a[1]).map(([op, n]) => `${op} ${count(n)}`).join(" · ");
  const least = tables.complete ? "" : "at least ";

  const state = { ...readState("#?") };
  let target = 0, filters = null, passed = null, rows = [], sums = null, current = -1, opened = -1, eventsOf = null, turn = 0;
  const orders = makeOrders(model);
  const expanded = new Set();

  const remember = () => { const hash = writeState(state); if (hash !== (location.hash || "#?")) history.replaceState(null, "", hash); };
  const mark = (tag, name) => el(tag, `v ${name}`, name);

  // -- rows of the tabs -----------------------------------------------------------------------------
  const openButton = (content, open) => { const button = el("button", "open", content); button.type = "button"; button.addEventListener("click", open); return button; };
  const cell = (className, ...children) => el("td", className, ...children);
  const sourceText = (i) => { const source = event.source[i]; return source ? (source > 0 ? model.path(source - 1) : model.words(-source - 1)) : ""; };
  const programOf = (i) => { const group = groups[event.life[i]]; return group < 0 ? "?" : programs[group]; };
  const processNode = (i) => [el("bdi", "", ...escapes(programOf(i))), " ", el("span", "dim", String(lives[event.life[i]]))];
  const eventCells = (i) => {
    const name = results[event.result[i]], verdict = verdicts[event.verdict[i]];
    const calls = event.calls[i] > 2 ? ` in ${count(event.calls[i] - 1)} calls` : "";
    return [cell("c-time num dim", millis(event.time[i])), cell("c-process", ...processNode(i)),
      cell("c-op", `${ops[event.op[i]]} `, el("span", "dim", shapes[event.shape[i]])),
      cell(name === "ok" ? "c-result code" : "c-result code fail", name), cell("c-verdict", mark("span", verdict)),
      cell("c-bytes num", event.size[i] ? bytes(event.size[i] - 1) + calls : "")];
  };

  const tree = () => {
    const shown = [];
    const walk = (node, depth) => {
      for (const each of listNode(model, sums, node)) {
        const path = nodeName(model, each, 0), isOpen = !each.leaf && expanded.has(path);
        shown.push({ ...each, path, depth, isOpen });
        if (isOpen) walk(each, depth + 1);
      }
    };
    walk(wholeTree(model), 0);
    return shown;
  };
  const toggle = (row) => { if (expanded.has(row.path)) expanded.delete(row.path); else expanded.add(row.path); rows = tree(); tell(); list.draw(rows.length); };

  const TAB = {
    paths: {
      head: [["Path", "c-path", "path"], ["Verdict", "c-verdict", "verdict"], ["Net", "c-net", "net"], ["Zone", "c-zone", "zone"], ["Operations", "c-ops"], ["Written", "c-bytes num", "bytes"]],
      row: (at) => {
        const i = rows[at];
        return [cell("c-path", openButton(pathNode(model.path(i)), () => { current = at; open(i); })), cell("c-verdict", mark("span", verdicts[file.verdict[i]])), cell("c-net", nets[file.net[i]]),
          cell("c-zone", el("bdi", "", zones[file.zone[i]] === null ? "–" : zones[file.zone[i]])), cell("c-ops ops", opsText(opsets[file.ops[i]])), cell("c-bytes num", file.bytes[i] ? bytes(file.bytes[i]) : "")];
      },
      pathOf: (at) => rows[at], noun: "path", total: () => model.files,
    },
    tree: {
      head: [["Directory or file", "c-path"], ["Paths", "c-net num"], ["Violations", "c-verdict num"], ["Refused", "c-zone num"], ["Left", "c-ops num"], ["Written", "c-bytes num"]],
      row: (at) => {
        const row = rows[at], bad = sums.bad(row), refused = sums.refused(row);
        const name = ltr(el("bdi", "path", el("span", row.leaf ? "last" : "last folder", ...(ascii(row.name) ? escapes(row.name || "/") : isolated(row.name)))));
        const button = openButton(name, () => { current = at; if (row.leaf) open(row.from); else toggle(row); });
        if (!row.leaf) { button.setAttribute("aria-expanded", String(row.isOpen)); button.classList.add("twig"); }
        const first = cell("c-path", button);
        first.style.paddingLeft = `${0.4 + Math.min(row.depth, 24) * 1.1 + (row.leaf ? 1.1 : 0)}rem`;
        return [first, cell("c-net num", count(sums.paths(row))), cell(bad ? "c-verdict num bad" : "c-verdict num dim", count(bad)), cell(refused ? "c-zone num warn" : "c-zone num dim", count(refused)),
          cell("c-ops num", bytes(sums.left(row))), cell("c-bytes num", bytes(sums.written(row)))];
      },
      pathOf: (at) => rows[at].leaf ? rows[at].from : -1, noun: "path", total: () => model.files,
    },
    events: {
      head: [["Event", "c-seq num"], ["Path, and where it comes from", "c-path"], ["At", "c-time num"], ["Process", "c-process"], ["Operation", "c-op"], ["Result", "c-result"], ["Verdict", "c-verdict"], ["Size", "c-bytes num"]],
      row: (at) => {
        const i = rows[at], source = sourceText(i), link = el("a", "", String(event.seq[i]));
        link.href = `#event-${event.seq[i]}`;
        link.dataset.event = event.seq[i];
        const path = cell("c-path", openButton(pathNode(model.path(event.file[i])), () => { current = at; open(event.file[i]); }));
        if (source) path.append(el("div", "from", ops[event.op[i]] === "symlink" ? "holds " : "from ", pathNode(source)));
        const [time, process, op, result, verdict, size] = eventCells(i);
        return [cell("c-seq num", link), path, time, process, op, result, verdict, size];
      },
      pathOf: (at) => event.file[rows[at]], noun: "event", total: () => model.events,
    },
    binaries: {
      head: [["Program or library", "c-path"], ["Kind", "c-net"], ["Machine", "c-zone"], ["Protection", "c-ops"], ["Needs", "c-op"]],
      row: (at) => { const [path, kind, machine, facts, needs] = rows[at]; return [cell("c-path", openButton(pathNode(path), () => openPath(path, at))), cell("c-net", kind), cell("c-zone", machine), cell("c-ops", el("bdi", "", ...escapes(facts))), cell("c-op", el("bdi", "", ...escapes(needs)))]; },
      pathOf: (at) => model.findPath(rows[at][0]), noun: "binary", many: "binaries", all: tables.binaries,
    },
    packages: {
      head: [["Package", "c-path"], ["Version", "c-net"], ["Files", "c-verdict num"], ["Violations", "c-zone num"], ["Left", "c-bytes num"]],
      row: (at) => {
        const [path, name, version, files, bad, size] = rows[at];
        return [cell("c-path", openButton(ltr(el("bdi", "path", el("span", "last", ...escapes(name)), " ", el("span", "dir", ...escapes(path)))), () => narrow("under", path))), cell("c-net", el("bdi", "", version)),
          cell("c-verdict num", count(files)), cell(bad ? "c-zone num bad" : "c-zone num dim", count(bad)), cell("c-bytes num", bytes(size))];
      },
      pathOf: () => -1, noun: "package", all: tables.packages,
    },
    links: {
      head: [["From mount", "c-path"], ["To mount", "c-path"], ["How the files came", "c-how"]],
      row: (at) => rows[at].map((text, place) => cell(place < 2 ? "c-path" : "c-how", el("bdi", "path", el("span", "last", ...escapes(text))))),
      pathOf: () => -1, noun: "pair of mounts", many: "pairs of mounts", all: tables.links,
    },
  };

  const box = $("list"), table = $("files"), body = table.querySelector("tbody"), head = table.querySelector("thead tr");
  const list = makeList(box, body, (at) => {
    const row = el("tr", "", ...TAB[state.tab].row(at));
    row.classList.toggle("current", at === current);
    return row;
  });
  const drawHead = () => {
    table.className = `files of-${state.tab}`;
    head.replaceChildren(...TAB[state.tab].head.map(([title, className, key]) => {
      const th = el("th", className, title);
      th.scope = "col";
      if (key) {
        const button = el("button", "sort", title);
        button.type = "button";
        th.dataset.sort = key;
        th.replaceChildren(button);
        if (state.sort === key) th.setAttribute("aria-sort", state.down ? "descending" : "ascending");
        button.addEventListener("click", () => {
          const first = key === "bytes" ? "1" : "";
          if (state.sort !== key) { state.sort = key; state.down = first; }
          else if (state.down === first) state.down = first ? "" : "1";
          else { state.sort = ""; state.down = ""; }
          refresh();
          head.querySelector(`th[data-sort="${key}"] button`)?.focus();
        });
      }
      return th;
    }));
  };

  // -- what is opened below the list -----------------------------------------------------------------
  const pane = $("pane");
  const eventTable = (row) => {
    eventsOf ||= indexEvents(model);
    const all = eventsOf(row), lines = el("tbody", ""), wrap = el("div", "scroll");
    const titles = ["Event", "At", "Process", "Operation", "Result", "Verdict", "Size", "Other name"];
    wrap.append(el("table", "events", el("thead", "", el("tr", "", ...titles.map((title) => { const th = el("th", "", title); th.scope = "col"; return th; }))), lines));
    const line = (i) => {
      const other = cell("");
      if (event.file[i] !== row && event.file[i] >= 0) other.append(el("div", "from", "to ", pathNode(model.path(event.file[i]))));
      else if (sourceText(i)) other.append(el("div", "from", ops[event.op[i]] === "symlink" ? "holds " : "from ", pathNode(sourceText(i))));
      if (event.seen[i]) other.append(el("div", "from", "seen as ", pathNode(model.words(event.seen[i] - 1))));
      const link = el("a", "", String(event.seq[i]));
      link.href = `#event-${event.seq[i]}`;
      link.dataset.event = event.seq[i];
      return el("tr", event.seq[i] === target ? "target" : "", cell("num", link), ...eventCells(i), other);
    };
    let done = 0;
    const more = el("button", "");
    more.type = "button";
    const extend = (upTo) => {
      for (; done < Math.min(upTo, all.length); done++) lines.append(line(all[done]));
      more.textContent = `Show more (${count(all.length - done)} of ${count(all.length)} not shown)`;
      more.hidden = done >= all.length;
    };
    extend(Math.max(EVENTS_AT_ONCE, all.findIndex((i) => event.seq[i] === target) + 1));
    more.addEventListener("click", () => extend(done + EVENTS_AT_ONCE));
    wrap.append(more);
    return wrap;
  };
  const open = (row) => {
    opened = row;
    state.path = row < 0 ? "" : model.path(row);
    pane.hidden = row < 0;
    if (row >= 0) {
      const path = model.path(row), facts = [nets[file.net[row]], verdicts[file.verdict[row]], zoneName(file.zone[row]), `on ${mountName(file.mount[row])}`, opsText(opsets[file.ops[row]])];
      if (file.bytes[row]) facts.push(`${bytes(file.bytes[row])} written`);
      const close = el("button", "close", "Close");
      close.type = "button";
      close.addEventListener("click", () => open(-1));
      const link = () => `${location.href.split("#")[0]}${writeState({ ...readState("#?"), all: "1", path })}`;
      pane.replaceChildren(el("div", "bar-of-pane", copyButton("copy path", () => quoteForShell(path)), copyButton("copy row", () => [path, ...facts].join("\t")), copyButton("copy link", link), close),
        el("p", "full", pathNode(path)), el("p", "meta", el("bdi", "", facts.join(" · "))), eventTable(row));
      pane.scrollTop = 0;
    }
    list.draw();
    remember();
  };
  const openPath = (path, at) => { current = at; open(model.findPath(path)); };

  // -- filters ---------------------------------------------------------------------------------------
  const SELECTS = {
    zone: { title: "All zones", values: zones.map((_, i) => [String(i), zoneName(i)]) },
    verdict: { title: "All verdicts", values: verdicts.map((name, i) => [String(i), name]) },
    net: { title: "Any outcome", values: nets.map((name, i) => [String(i), name]) },
    mount: { title: "All mounts", values: mounts.map((_, i) => [String(i), mountName(i)]) },
    op: { title: "Any operation", values: ops.map((name) => [name, name]), of: "event" },
    errno: { title: "Any result", values: results.map((name, i) => [String(i), name]), of: "event" },
    process: { title: "Any program", values: [], of: "event" },
  };
  const drawSelect = (key, counts) => {
    const { title, values, of } = SELECTS[key], node = $(`f-${key}`);
    const options = values.flatMap(([value, label], i) => counts[i] || value === state[key] ? [[value, `${label} (${of ? plural(counts[i], of) : count(counts[i])})`, counts[i]]] : []);
    if (key === "process") options.sort((a, b) => b[2] - a[2]).splice(200);
    node.replaceChildren(new Option(title, ""), ...options.map(([value, label]) => new Option(label, value)));
    node.value = state[key];
    node.classList.toggle("set", state[key] !== "");
  };
  for (const key of Object.keys(SELECTS)) $(`f-${key}`).addEventListener("change", () => { state[key] = $(`f-${key}`).value; refresh(); });

  const chips = () => {
    const shown = [];
    const chip = (label, undo) => { const button = el("button", "chip", label, el("span", "", " ×")); button.type = "button"; button.setAttribute("aria-label", `Remove the filter ${button.textContent}`); button.addEventListener("click", () => { undo(); refresh(); }); shown.push(button); };
    if (state.under) chip(ltr(el("bdi", "", "under ", ...escapes(state.under))), () => { state.under = ""; });
    if (state.time) { const span = parseSpan(state.time); chip(span ? `${millis(span[0])} to ${millis(span[1])}` : state.time, () => { state.time = ""; }); }
    if (state.branch !== "") chip(el("bdi", "", `${programs[state.branch] || "?"} and all below`), () => { state.branch = ""; });
    $("chips").replaceChildren(...shown);
    $("chips").hidden = !shown.length;
  };

  const tell = () => {
    const { noun, many, total, all } = TAB[state.tab];
    const whole = all ? all.length : total(), n = state.tab === "tree" ? passed.shown : rows.length;
    const nouns = (number) => number === 1 ? noun : many || `${noun}s`;
    $("found").textContent = !n ? `No ${noun} matches.` : n === whole ? `${least}${count(n)} ${nouns(n)}` : `${count(n)} of ${least}${count(whole)} ${nouns(whole)}`;
    const more = $("more-hidden"), hidden = passed.hidden;
    more.hidden = !hidden || Boolean(all);
    more.textContent = `Show ${plural(hidden, "more path")} that ${hidden === 1 ? "was" : "were"} temporary or only read`;
  };

  const refresh = (keepRow = false) => {
    const begun = performance.now(), mine = ++turn, { tab } = state;
    filters = compileFilters(model, state);
    passed = filterFiles(model, filters);
    const found = tab === "events" ? filterEvents(model, filters, passed.pass, true) : null;
    sums = null;
    if (TAB[tab].all) {
      const words = parseQuery(state.q).words.map((word) => word.toLowerCase());
      rows = TAB[tab].all.filter((row) => { const text = JSON.stringify(row).toLowerCase(); return words.every((word) => text.includes(word)); });
    } else if (tab === "events") rows = found.rows;
    else if (tab === "paths") rows = sortRows(orders(state.sort || "verdict"), passed.pass, passed.shown, Boolean(state.down));
    else { sums = sumRows(model, passed.pass); if (!expanded.size) expandStart(); rows = tree(); }
    if (!keepRow) current = -1;
    for (const name of TABS) $(`tab-${name}`)?.setAttribute("aria-selected", String(tab === name));
    table.setAttribute("aria-rowcount", rows.length + 1);
    drawHead();
    list.show(rows.length);
    tell();
    chips();
    for (const key of ["zone", "verdict", "net", "mount"]) drawSelect(key, passed.counts[key]);
    $("all").checked = Boolean(state.all);
    $("q").value = state.q;
    remember();
    box.dataset.took = (performance.now() - begun).toFixed(1);
    // The counts of events can wait until the rows are there.
    setTimeout(() => {
      if (mine !== turn) return;
      const { counts } = found || filterEvents(model, filters, passed.pass, false);
      SELECTS.process.values = filters.programNames.map((name) => [name, name]);
      for (const key of ["op", "errno", "process"]) drawSelect(key, counts[key]);
      pictures.follow(state, filters);
    });
  };
  // The tree begins open down to the smallest directory that holds 95 percent.
  const expandStart = () => {
    const start = findStart(model, sums.paths);
    let node = wholeTree(model);
    for (let hops = 0; hops < 60 && node; hops++) {
      node = listNode(model, sums, node).find((each) => !each.leaf && each.from <= start.from && each.to >= start.to);
      if (node) expanded.add(nodeName(model, node, 0));
    }
  };

  const clear = () => { for (const key of ["q", "all", "under", "time", "branch", ...Object.keys(SELECTS)]) state[key] = ""; };
  const narrow = (key, value, tab = "paths") => { clear(); state.tab = tab; state.all = "1"; state[key] = String(value); open(-1); refresh(); $("explorer").scrollIntoView({ behavior: "instant" }); };
  const set = (key, value) => { state[key] = value; refresh(); };

  let waiting = 0;
  $("q").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(() => { state.q = $("q").value; refresh(); }, 60); });
  $("all").addEventListener("change", () => set("all", $("all").checked ? "1" : ""));
  $("more-hidden").addEventListener("click", () => set("all", "1"));
  const tabs = TABS.map((name) => $(`tab-${name}`)).filter(Boolean);
  for (const tab of tabs) tab.addEventListener("click", () => { state.sort = ""; state.down = ""; set("tab", tab.id.slice(4)); });
  $("tabs").addEventListener("keydown", (pressed) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[pressed.key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
    next.focus();
    next.click();
  });
  const form = $("filters");
  form.addEventListener("submit", (submitted) => submitted.preventDefault());
  form.addEventListener("reset", (pressed) => { pressed.preventDefault(); clear(); open(-1); refresh(); });
  for (const node of [form, $("tabs"), $("keys-hint")]) node.hidden = false;
  document.documentElement.classList.add("live");

  const pictures = drawPictures(model, {
    under: (path) => { state.under = path; state.tab = state.tab === "tree" || state.tab === "events" ? state.tab : "paths"; state.all = "1"; refresh(); },
    time: (from, to) => { state.time = from === null ? "" : `${(from / 1e6).toFixed(6)}-${(to / 1e6).toFixed(6)}`; refresh(); },
  });

  const reveal = (row) => {
    const at = rows.indexOf(row);
    current = at;
    if (at >= 0) list.reveal(at);
    open(row);
  };
  const goTo = (seq) => {
    const at = model.findEvent(seq), row = at < 0 ? -1 : event.file[at];
    if (row < 0) { $("found").textContent = `There is no event ${seq} with a path.`; $("explorer").scrollIntoView({ behavior: "instant" }); return; }
    target = seq;
    clear();
    Object.assign(state, { tab: "paths", all: "1" });
    refresh();
    reveal(row);
    history.replaceState(null, "", `#event-${seq}`);
    $("explorer").scrollIntoView({ behavior: "instant" });
    pane.querySelector("tr.target")?.scrollIntoView({ block: "nearest" });
  };
  const followHash = () => {
    const wanted = readState(location.hash);
    if (!wanted) return false;
    if (wanted.event) { goTo(wanted.event); return true; }
    target = 0;
    Object.assign(state, wanted);
    const { path } = wanted;
    refresh();
    const row = path ? model.findPath(path) : -1;
    if (row >= 0) { state.path = path; reveal(row); } else if (opened >= 0) open(-1);
    return true;
  };
  addEventListener("hashchange", followHash);
  document.addEventListener("click", (clicked) => {
    const link = clicked.target.closest("a[href]");
    if (!link) return;
    const { dataset } = link;
    if (dataset.event && link.hash === location.hash) followHash();
    else if (dataset.zone !== undefined) narrow("zone", zones.indexOf(dataset.zone || null));
    else if (dataset.mount !== undefined) narrow("mount", mounts.findIndex((mount) => mount[0] === Number(dataset.mount)));
    else if (dataset.group !== undefined) narrow("branch", dataset.group, "events");
    else return;
    clicked.preventDefault();
  });
  const step = (by) => {
    if (!rows.length) return;
    current = Math.min(Math.max(0, current + by), rows.length - 1);
    list.reveal(current);
    body.querySelector(`tr[data-at="${current}"] button`)?.focus({ preventScroll: true });
    if (opened >= 0 && TAB[state.tab].pathOf(current) >= 0) open(TAB[state.tab].pathOf(current));
  };
  document.addEventListener("keydown", (pressed) => {
    if (pressed.ctrlKey || pressed.metaKey || pressed.altKey) return;
    if (pressed.key === "Escape" && opened >= 0) { open(-1); return; }
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(pressed.target.tagName)) return;
    if (pressed.key === "/") { pressed.preventDefault(); $("q").focus(); }
    else if (pressed.key === "j" || pressed.key === "k") step(pressed.key === "j" ? 1 : -1);
    else if (pressed.key === "?") { $("keys").hidden = !$("keys").hidden; }
    else if (pressed.key === "Enter" && current >= 0 && !/^(BUTTON|A|SUMMARY)$/.test(pressed.target.tagName) && TAB[state.tab].pathOf(current) >= 0) open(TAB[state.tab].pathOf(current));
  });

  if (!followHash()) refresh();
  document.documentElement.dataset.ready = performance.now().toFixed(0);
};
