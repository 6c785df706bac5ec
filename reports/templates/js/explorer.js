// The explorer: searches, filters, sorts and pages the unpacked paths and events. Everything that an
// audited program could have chosen reaches the page through textContent, never as markup.

const explore = (model) => {
  const PAGE = 100, EVENTS_AT_ONCE = 200;
  const { zones, mounts, results, shapes, opsets, verdicts, nets, ops, programs } = model.tables;
  const OUTSIDE = "outside every zone";
  const HIDDEN_NETS = new Set(["transient", "read"].map((net) => nets.indexOf(net)));

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
  const numbers = (list) => list.map((_, i) => i);

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
  const copyButton = (text, label) => {
    const button = el("button", "copy", label);
    button.type = "button";
    button.addEventListener("click", () => navigator.clipboard?.writeText(text).then(() => { button.textContent = "copied"; }));
    return button;
  };

  const state = { ...readState("#?"), open: new Set(), target: 0 };
  let shown = [], hiddenByDefault = 0, eventsOf = null;

  const tally = (column, size) => { const counts = new Uint32Array(size); for (let i = 0; i < column.length; i++) counts[column[i]]++; return counts; };
  const opFiles = new Map();
  tally(model.file.ops, opsets.length).forEach((files, i) => { for (const op of Object.keys(opsets[i])) opFiles.set(op, (opFiles.get(op) || 0) + files); });
  const errnos = tally(model.event.result, results.length);
  const select = (key, title, values, label, counts) => {
    const node = $(`f-${key}`);
    node.append(new Option(title, ""));
    for (const value of values) node.append(new Option(`${label(value)} (${count(counts(value))})`, String(value)));
    node.addEventListener("change", () => { state[key] = node.value; refresh(); });
  };
  const facet = (key, title, list, column, label) => {
    const counts = tally(column, list.length);
    select(key, title, numbers(list).filter((i) => counts[i]), label, (i) => counts[i]);
  };
  facet("zone", "All zones", zones, model.file.zone, zoneName);
  facet("verdict", "All verdicts", verdicts, model.file.verdict, (i) => verdicts[i]);
  facet("net", "Any outcome", nets, model.file.net, (i) => nets[i]);
  select("op", "Any operation", ops.filter((op) => opFiles.has(op)), (op) => op, (op) => opFiles.get(op));
  facet("mount", "All mounts", mounts, model.file.mount, mountName);
  select("errno", "Any result", numbers(results).filter((i) => errnos[i]), (i) => results[i], (i) => errnos[i]);

  const matchesName = (value, name) => name.toLowerCase() === value.toLowerCase();
  // Returns a test for a row of files, from the filters that concern files.
  const fileTest = (query) => {
    const marks = query.words.map(model.holding), unwanted = query.without.map(model.holding);
    const wanted = (key) => state[key] === "" ? -1 : Number(state[key]);
    const zone = wanted("zone"), verdict = wanted("verdict"), net = wanted("net"), mount = wanted("mount");
    const opNames = [...(state.op ? [state.op] : []), ...(query.keys.op || [])];
    const withOps = opNames.map((op) => opsets.map((set) => Object.hasOwn(set, op)));
    const under = (query.keys.under || []).map((path) => [path.replace(/\/$/, ""), `${path.replace(/\/$/, "")}/`]);
    const named = (key, list, label) => (query.keys[key] || []).map((value) => list.findIndex((_, i) => matchesName(value, label(i))));
    const zonesNamed = named("zone", zones, zoneName), netsNamed = named("net", nets, (i) => nets[i]);
    const verdictsNamed = named("verdict", verdicts, (i) => verdicts[i]), mountsNamed = named("mount", mounts, (i) => mounts[i][1]);
    const { file } = model;
    return (i) => (zone < 0 || file.zone[i] === zone) && (verdict < 0 || file.verdict[i] === verdict)
      && (net < 0 || file.net[i] === net) && (mount < 0 || file.mount[i] === mount)
      && withOps.every((set) => set[file.ops[i]]) && marks.every((mark) => mark[i]) && unwanted.every((mark) => !mark[i])
      && zonesNamed.every((n) => file.zone[i] === n) && netsNamed.every((n) => file.net[i] === n)
      && verdictsNamed.every((n) => file.verdict[i] === n) && mountsNamed.every((n) => file.mount[i] === n)
      && (!under.length || under.every(([self, below]) => { const path = model.path(i); return path === self || path.startsWith(below); }));
  };

  const compare = {
    path: (a, b) => a - b, // the rows are in order of path
    verdict: (a, b) => model.file.verdict[a] - model.file.verdict[b],
    net: (a, b) => model.file.net[a] - model.file.net[b],
    zone: (a, b) => zoneName(model.file.zone[a]).localeCompare(zoneName(model.file.zone[b])),
    bytes: (a, b) => model.file.bytes[a] - model.file.bytes[b],
  };

  const findPaths = (query) => {
    const test = fileTest(query);
    const byEvent = eventFilter(query);
    const rows = [];
    hiddenByDefault = 0;
    const quiet = !state.all && state.net === "" && state.verdict === "" && !query.keys.net && !query.keys.verdict && !byEvent;
    const marked = byEvent && markFiles(byEvent);
    for (let i = 0; i < model.files; i++) {
      if (!test(i) || (marked && !marked[i])) continue;
      if (quiet && HIDDEN_NETS.has(model.file.net[i]) && model.file.verdict[i] > 1) { hiddenByDefault++; continue; }
      rows.push(i);
    }
    const order = compare[state.sort || "verdict"], sign = state.down ? -1 : 1;
    rows.sort((a, b) => sign * order(a, b) || a - b);
    return rows;
  };

  // A test for events, from the filters that concern events alone; null if there are none.
  const eventFilter = (query) => {
    const errnosWanted = [...(state.errno === "" ? [] : [Number(state.errno)]),
      ...(query.keys.errno || []).map((name) => results.findIndex((result) => matchesName(name, result)))];
    const pids = (query.keys.pid || []).map(Number);
    if (!errnosWanted.length && !pids.length) return null;
    const { event } = model;
    return (i) => errnosWanted.every((n) => event.result[i] === n) && pids.every((n) => event.pid[i] === n);
  };
  const markFiles = (test) => {
    const marks = new Uint8Array(model.files), { file } = model.event;
    for (let i = 0; i < model.events; i++) if (file[i] >= 0 && test(i)) marks[file[i]] = 1;
    return marks;
  };
  const findEvents = (query) => {
    const test = fileTest(query), own = eventFilter(query) || (() => true);
    const known = new Int8Array(model.files).fill(-1);
    const op = [...(state.op ? [state.op] : []), ...(query.keys.op || [])].map((name) => ops.indexOf(name));
    const verdict = state.verdict === "" ? -1 : Number(state.verdict);
    const rows = [], { event } = model;
    for (let i = 0; i < model.events; i++) {
      const row = event.file[i];
      if (row < 0 || !own(i) || !op.every((n) => event.op[i] === n) || (verdict >= 0 && event.verdict[i] !== verdict)) continue;
      if (known[row] < 0) known[row] = test(row) ? 1 : 0;
      if (known[row]) rows.push(i);
    }
    return rows;
  };

  const refresh = (page = 0) => {
    const query = parseQuery(state.q);
    shown = state.tab === "events" ? findEvents(query) : findPaths(query);
    state.page = page;
    draw();
    remember();
  };
  // A link to an event stays as it is, so that it can be copied out of the address.
  const remember = () => { if (location.hash === `#event-${state.target}`) return; const hash = writeState(state); if (hash !== (location.hash || "#?")) history.replaceState(null, "", hash); };

  const sourceNode = (i) => {
    const source = model.event.source[i];
    if (!source) return null;
    const path = source > 0 ? model.path(source - 1) : model.text(-source - 1);
    return el("div", "from", ops[model.event.op[i]] === "symlink" ? "holds " : "from ", pathNode(path));
  };
  const eventCells = (i) => {
    const { event } = model;
    const name = results[event.result[i]], judged = verdicts[event.verdict[i]];
    const calls = event.calls[i] > 2 ? ` in ${count(event.calls[i] - 1)} calls` : "";
    return [el("td", "num", String(event.seq[i])), el("td", "num dim", millis(event.time[i])),
      el("td", "", el("bdi", "", programs[event.pid[i]] || "?"), " ", el("span", "dim", String(event.pid[i]))),
      el("td", "", `${ops[event.op[i]]} `, el("span", "dim", shapes[event.shape[i]])),
      el("td", name === "ok" ? "code" : "code fail", name), el("td", "", el("span", `v ${judged}`, judged)),
      el("td", "num", event.size[i] ? bytes(event.size[i] - 1) + calls : "")];
  };
  const eventHead = (last) => {
    const head = el("tr", "");
    for (const [name, cls] of [["Event", "num"], ["At", "num"], ["Process", ""], ["Operation", ""], ["Result", ""], ["Verdict", ""], ["Size", "num"], [last, ""]]) {
      const th = el("th", cls, name);
      th.scope = "col";
      head.append(th);
    }
    return el("thead", "", head);
  };

  const eventTable = (row) => {
    eventsOf ||= indexEvents(model);
    const list = eventsOf(row);
    const box = el("div", "scroll");
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "Events of this path");
    const body = el("tbody", "");
    const line = (i) => {
      const other = el("td", "");
      if (model.event.file[i] !== row && model.event.file[i] >= 0) other.append(el("div", "from", "to ", pathNode(model.path(model.event.file[i]))));
      else other.append(sourceNode(i) || "");
      if (model.event.seen[i]) other.append(el("div", "from", "seen as ", pathNode(model.text(model.event.seen[i] - 1))));
      return el("tr", model.event.seq[i] === state.target ? "target" : "", ...eventCells(i), other);
    };
    let done = 0;
    const more = el("button", "");
    more.type = "button";
    const extend = (upTo) => {
      for (; done < Math.min(upTo, list.length); done++) body.append(line(list[done]));
      more.textContent = `Show more (${count(list.length - done)} of ${count(list.length)} not shown)`;
      more.hidden = done >= list.length;
    };
    extend(Math.max(EVENTS_AT_ONCE, list.findIndex((i) => model.event.seq[i] === state.target) + 1));
    more.addEventListener("click", () => extend(done + EVENTS_AT_ONCE));
    box.append(el("table", "events", eventHead("Other name"), body), more);
    return box;
  };

  const opsText = (set) => Object.entries(set).sort((a, b) => b[1] - a[1]).map(([op, n]) => `${op} ${count(n)}`).join(" · ");
  const detail = (row) => {
    const { file } = model, path = model.path(row);
    const full = el("p", "full", pathNode(path));
    const meta = el("p", "meta", `${nets[file.net[row]]}, ${verdicts[file.verdict[row]]}, `, el("bdi", "", zoneName(file.zone[row])),
      " · on ", el("bdi", "", mountName(file.mount[row])), ` · ${opsText(opsets[file.ops[row]])}`, file.bytes[row] ? ` · ${bytes(file.bytes[row])} written` : "",
      " ", copyButton(quoteForShell(path), "copy path"));
    const cell = el("td", "", full, meta, eventTable(row));
    cell.colSpan = visibleColumns();
    const node = el("tr", "detail", cell);
    node.id = `detail-${row}`;
    return node;
  };
  // A cell that spans hidden columns would add them again.
  const visibleColumns = () => [...document.querySelectorAll("#files thead th")].filter((th) => getComputedStyle(th).display !== "none").length || 1;

  const pathRow = (row) => {
    const { file } = model, isOpen = state.open.has(row);
    const button = el("button", "open", pathNode(model.path(row)));
    button.type = "button";
    button.setAttribute("aria-expanded", String(isOpen));
    const verdict = verdicts[file.verdict[row]];
    const node = el("tr", isOpen ? "row is-open" : "row", el("td", "", button),
      el("td", "c-verdict", el("span", `v ${verdict}`, verdict)), el("td", "c-net", nets[file.net[row]]),
      el("td", "c-zone", el("bdi", "", zones[file.zone[row]] === null ? "–" : zones[file.zone[row]])),
      el("td", "ops c-ops", opsText(opsets[file.ops[row]])), el("td", "num c-bytes", file.bytes[row] ? bytes(file.bytes[row]) : ""));
    button.addEventListener("click", () => {
      const now = !state.open.has(row);
      button.setAttribute("aria-expanded", String(now));
      node.classList.toggle("is-open", now);
      if (now) { state.open.add(row); node.after(detail(row)); }
      else { state.open.delete(row); $(`detail-${row}`).remove(); }
    });
    return isOpen ? [node, detail(row)] : [node];
  };
  const eventRow = (i) => {
    const path = el("td", "", pathNode(model.path(model.event.file[i])), sourceNode(i) || "");
    const node = el("tr", "", ...eventCells(i), path);
    const number = node.firstChild, link = el("a", "", number.textContent);
    link.href = `#event-${number.textContent}`;
    link.dataset.event = number.textContent;
    number.replaceChildren(link);
    return node;
  };

  const body = document.querySelector("#files tbody"), eventBody = document.querySelector("#events-list tbody"), pager = $("pager");
  const draw = () => {
    const isEvents = state.tab === "events";
    $("files").hidden = isEvents;
    $("events-box").hidden = !isEvents;
    for (const tab of ["paths", "events"]) $(`tab-${tab}`).setAttribute("aria-selected", String(state.tab === tab));
    const pages = Math.max(1, Math.ceil(shown.length / PAGE));
    state.page = Math.min(Math.max(0, Number(state.page) || 0), pages - 1);
    const from = state.page * PAGE, slice = shown.slice(from, from + PAGE);
    if (isEvents) eventBody.replaceChildren(...slice.map(eventRow));
    else { body.classList.add("live"); body.replaceChildren(...slice.flatMap(pathRow)); }
    const [total, noun] = isEvents ? [model.events, "event"] : [model.files, "path"];
    const all = shown.length === total ? plural(total, noun) : `${count(shown.length)} of ${plural(total, noun)}`;
    $("found").textContent = shown.length ? `${all}${pages > 1 ? `, ${count(from + 1)} to ${count(from + slice.length)} shown` : ""}` : `No ${noun} matches.`;
    const more = $("more-hidden");
    more.hidden = !hiddenByDefault || isEvents;
    more.textContent = `Show ${plural(hiddenByDefault, "more path")} that ${hiddenByDefault === 1 ? "was" : "were"} temporary or only read`;
    $("all").checked = Boolean(state.all);
    pager.hidden = pages < 2;
    const step = (label, target, disabled) => {
      const button = el("button", "", label);
      button.type = "button";
      button.disabled = disabled;
      button.addEventListener("click", () => { state.page = target; draw(); remember(); $("paths").scrollIntoView(); const again = [...pager.querySelectorAll("button")].find((b) => b.textContent === label && !b.disabled); if (again) again.focus({ preventScroll: true }); });
      return button;
    };
    pager.replaceChildren(step("First", 0, !state.page), step("Previous", state.page - 1, !state.page),
      el("span", "", `Page ${count(state.page + 1)} of ${count(pages)}`),
      step("Next", state.page + 1, state.page + 1 >= pages), step("Last", pages - 1, state.page + 1 >= pages));
  };

  const heads = [...document.querySelectorAll("#files th[data-sort]")];
  const markSort = () => {
    for (const head of heads) {
      if (head.dataset.sort === state.sort) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  };
  for (const head of heads) {
    const button = el("button", "sort", head.textContent);
    button.type = "button";
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const key = head.dataset.sort, firstDown = key === "bytes" ? "1" : "";
      if (state.sort !== key) { state.sort = key; state.down = firstDown; }
      else if (state.down === firstDown) state.down = state.down ? "" : "1";
      else { state.sort = ""; state.down = ""; }
      markSort();
      refresh();
    });
  }

  const FILTERS = ["zone", "verdict", "net", "op", "mount", "errno"];
  const showFilters = () => { $("q").value = state.q; for (const key of FILTERS) $(`f-${key}`).value = state[key]; markSort(); };
  const clear = () => { state.q = ""; state.all = ""; for (const key of FILTERS) state[key] = ""; showFilters(); };
  const narrow = (key, value) => { clear(); state.tab = "paths"; state.all = "1"; state[key] = String(value); showFilters(); refresh(); };
  let waiting = 0;
  $("q").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { state.q = $("q").value; refresh(); }, model.files > 20000 ? 120 : 30);
  });
  $("all").addEventListener("change", () => { state.all = $("all").checked ? "1" : ""; refresh(); });
  $("more-hidden").addEventListener("click", () => { state.all = "1"; refresh(); });
  for (const tab of ["paths", "events"]) $(`tab-${tab}`).addEventListener("click", () => { state.tab = tab; refresh(); });
  const form = $("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => { event.preventDefault(); clear(); refresh(); });
  form.hidden = false;
  $("tabs").hidden = false;

  const goTo = (seq) => {
    const at = model.findEvent(seq), row = at < 0 ? -1 : model.event.file[at];
    if (row < 0) { $("found").textContent = `There is no event ${seq} with a path.`; $("paths").scrollIntoView(); return; }
    state.target = seq;
    clear();
    state.tab = "paths";
    state.all = "1";
    state.open.add(row);
    refresh();
    state.page = Math.floor(shown.indexOf(row) / PAGE);
    draw();
    const target = body.querySelector("tr.target") || $(`detail-${row}`);
    target.scrollIntoView({ block: "center" });
    $(`detail-${row}`).previousElementSibling.querySelector("button.open").focus({ preventScroll: true });
  };
  const followHash = () => {
    const wanted = readState(location.hash);
    if (!wanted) return false;
    if (wanted.event) { goTo(wanted.event); return true; }
    state.target = 0;
    Object.assign(state, wanted);
    showFilters();
    refresh(Number(wanted.page) || 0);
    return true;
  };
  addEventListener("hashchange", followHash);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a, [data-under]");
    if (!link) return;
    if (link.dataset.event && link.hash === location.hash) followHash();
    else if (link.dataset.zone !== undefined) narrow("zone", zones.indexOf(link.dataset.zone || null));
    else if (link.dataset.mount !== undefined) narrow("mount", mounts.findIndex((mount) => mount[0] === Number(link.dataset.mount)));
    else if (link.dataset.verdict !== undefined) narrow("verdict", verdicts.indexOf(link.dataset.verdict));
    else if (link.dataset.under !== undefined) { clear(); state.tab = "paths"; state.q = `under:"${link.dataset.under}"`; showFilters(); refresh(); $("paths").scrollIntoView(); }
  });
  const move = (by) => {
    const buttons = [...body.querySelectorAll("button.open")], at = buttons.indexOf(document.activeElement);
    const next = buttons[Math.min(Math.max(0, at + by), buttons.length - 1)];
    if (next) next.focus();
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.key === "/") { event.preventDefault(); $("q").focus(); }
    else if (event.key === "j" || event.key === "k") move(event.key === "j" ? 1 : -1);
    else if (event.key === "?") { $("keys").hidden = !$("keys").hidden; }
  });

  if (!followHash()) refresh();
};
