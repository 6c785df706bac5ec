// Which paths and events pass the filters. No DOM here: node tests it.

const QUIET = ["transient", "read"];

// Returns lookup tables and tests for a state of filters; tables are null where nothing is filtered.
const compileFilters = (model, state) => {
  const { zones, mounts, results, opsets, verdicts, nets, ops, programs, groups, ends, lives } = model.tables;
  const query = parseQuery(state.q);
  const mountNames = mounts.map((mount) => mount[1]), zoneNames = zones.map((zone) => zone === null ? "outside" : zone);
  const same = (one, other) => String(one).toLowerCase() === String(other).toLowerCase();
  // A table over the values of a column: what the choice, the words key:value and -key:value leave.
  const table = (key, names, chosen) => {
    const wanted = query.keys[key], unwanted = query.not[key];
    if (chosen === "" && !wanted && !unwanted) return null;
    return Uint8Array.from(names, (name, i) => Number((chosen === "" || same(chosen, i))
      && (!wanted || wanted.some((value) => same(value, name))) && !(unwanted && unwanted.some((value) => same(value, name)))));
  };
  const nameOfLife = Array.from(lives, (_, life) => groups[life] < 0 ? "unknown" : programs[groups[life]]);
  let lifeTable = null;
  const branch = state.branch === "" ? -1 : Number(state.branch);
  const keysOfLife = ["pid", "process"].some((key) => query.keys[key] || query.not[key]);
  if (branch >= 0 || keysOfLife) {
    const has = (key, value, missing) => (query.keys[key] ? query.keys[key].some((wanted) => same(wanted, value)) : missing);
    const not = (key, value) => Boolean(query.not[key] && query.not[key].some((unwanted) => same(unwanted, value)));
    lifeTable = Uint8Array.from(lives, (pid, life) => Number(
      (branch < 0 || (groups[life] >= branch && groups[life] < ends[branch]))
      && has("pid", pid, true) && has("process", nameOfLife[life], true) && !not("pid", pid) && !not("process", nameOfLife[life])));
  }
  const programNames = [...new Set(nameOfLife)];
  const programOfLife = Uint32Array.from(nameOfLife, (() => { const at = new Map(programNames.map((name, i) => [name, i])); return (name) => at.get(name); })());
  const programTable = state.process === "" ? null : Uint8Array.from(programNames, (name) => Number(name === state.process));
  const opTable = table("op", ops, state.op === "" ? "" : String(ops.indexOf(state.op)));
  const resultTable = table("errno", results, state.errno);
  const spans = [state.time, ...(query.keys.time || [])].map(parseSpan).filter(Boolean);
  const span = spans.length ? [Math.max(...spans.map((each) => each[0])), Math.min(...spans.map((each) => each[1]))] : null;
  const under = [...(state.under ? [state.under] : []), ...(query.keys.under || [])];
  const marks = [...query.words.map(model.holding), ...under.map(model.below)];
  const unwanted = [...query.without.map(model.holding), ...(query.not.under || []).map(model.below)];
  const text = marks.length || unwanted.length ? new Uint8Array(model.files).fill(1) : null;
  for (const mark of marks) for (let i = 0; i < text.length; i++) text[i] &= mark[i];
  for (const mark of unwanted) for (let i = 0; i < text.length; i++) if (mark[i]) text[i] = 0;
  return {
    text, zone: table("zone", zoneNames, state.zone), verdict: table("verdict", verdicts, state.verdict),
    net: table("net", nets, state.net), mount: table("mount", mountNames, state.mount),
    op: opTable, result: resultTable, life: lifeTable, program: programTable, span, programNames, programOfLife,
    ofEvents: Boolean(opTable || resultTable || lifeTable || programTable || span),
    // Names that were temporary, and paths that were only read, are left out unless somebody asks for them.
    quiet: !state.all && state.net === "" && state.verdict === "" && !query.keys.net && !query.keys.verdict,
  };
};

// For each event how many of the filters that concern events it fails, as bits: 1 op, 2 result, 4 program, 8 others.
const failsOf = (model, filters) => {
  const { event } = model, { op, result, life, program, span, programOfLife } = filters;
  const [from, to] = span || [0, Infinity];
  return (i) => (op && !op[event.op[i]] ? 1 : 0) | (result && !result[event.result[i]] ? 2 : 0)
    | (program && !program[programOfLife[event.life[i]]] ? 4 : 0)
    | ((life && !life[event.life[i]]) || (span && (event.time[i] < from || event.time[i] > to)) ? 8 : 0);
};

// Marks the files that pass; counts them by zone, verdict, net effect and mount as if the filter of that were off.
const filterFiles = (model, filters) => {
  const { files, file, event } = model, { text, zone, verdict, net, mount } = filters;
  let touched = null;
  if (filters.ofEvents) {
    touched = new Uint8Array(files);
    const fails = failsOf(model, filters);
    for (let i = 0; i < model.events; i++) if (event.file[i] >= 0 && !touched[event.file[i]] && !fails(i)) touched[event.file[i]] = 1;
  }
  const { zones, verdicts, nets, mounts } = model.tables;
  const isQuiet = Uint8Array.from(nets, (name) => Number(filters.quiet && !filters.ofEvents && QUIET.includes(name)));
  const counts = { zone: new Uint32Array(zones.length), verdict: new Uint32Array(verdicts.length), net: new Uint32Array(nets.length), mount: new Uint32Array(mounts.length) };
  const pass = new Uint8Array(files);
  let shown = 0, hidden = 0;
  for (let i = 0; i < files; i++) {
    if ((text && !text[i]) || (touched && !touched[i])) continue;
    const z = file.zone[i], v = file.verdict[i], n = file.net[i], m = file.mount[i];
    const fails = (zone && !zone[z] ? 1 : 0) | (verdict && !verdict[v] ? 2 : 0) | (net && !net[n] ? 4 : 0) | (mount && !mount[m] ? 8 : 0);
    if (!(fails & ~4)) counts.net[n]++;
    // Violations and refusals are never left out.
    if (isQuiet[n] && v > 1) { if (!fails) hidden++; continue; }
    if (!(fails & ~1)) counts.zone[z]++;
    if (!(fails & ~2)) counts.verdict[v]++;
    if (!(fails & ~8)) counts.mount[m]++;
    if (!fails) { pass[i] = 1; shown++; }
  }
  return { pass, shown, hidden, counts };
};

// The events that pass, whose files pass; and counts by operation, result and program as if that filter were off.
const filterEvents = (model, filters, pass, listing) => {
  const { event } = model, { programOfLife, programNames } = filters, fails = failsOf(model, filters);
  const counts = { op: new Uint32Array(model.tables.ops.length), errno: new Uint32Array(model.tables.results.length), process: new Uint32Array(programNames.length) };
  const rows = listing ? new Uint32Array(model.events) : null;
  let shown = 0;
  for (let i = 0; i < model.events; i++) {
    const row = event.file[i];
    if (row < 0 || !pass[row]) continue;
    const failed = fails(i);
    if (!(failed & ~1)) counts.op[event.op[i]]++;
    if (!(failed & ~2)) counts.errno[event.result[i]]++;
    if (!(failed & ~4)) counts.process[programOfLife[event.life[i]]]++;
    if (!failed) { if (rows) rows[shown] = i; shown++; }
  }
  return { rows: rows && rows.subarray(0, shown), shown, counts };
};

// The order of all files by a key, the rows of equal keys in order of path. Kept, because it never changes.
const makeOrders = (model) => {
  const kept = new Map();
  const byBuckets = (column, ranks) => {
    const starts = new Uint32Array(ranks.length + 1), order = new Uint32Array(model.files);
    for (let i = 0; i < model.files; i++) starts[ranks[column[i]] + 1]++;
    for (let k = 0; k < ranks.length; k++) starts[k + 1] += starts[k];
    for (let i = 0; i < model.files; i++) order[starts[ranks[column[i]]]++] = i;
    return order;
  };
  const ranked = (names) => {
    const sorted = names.map((_, i) => i).sort((a, b) => String(names[a] ?? "\uffff").localeCompare(String(names[b] ?? "\uffff")));
    const ranks = [];
    sorted.forEach((i, rank) => { ranks[i] = rank; });
    return ranks;
  };
  const make = {
    path: () => Uint32Array.from({ length: model.files }, (_, i) => i),
    verdict: () => byBuckets(model.file.verdict, model.tables.verdicts.map((_, i) => i)),
    net: () => byBuckets(model.file.net, model.tables.nets.map((_, i) => i)),
    zone: () => byBuckets(model.file.zone, ranked(model.tables.zones)),
    bytes: () => make.path().sort((a, b) => model.file.bytes[a] - model.file.bytes[b] || a - b),
  };
  return (key) => { if (!kept.has(key)) kept.set(key, make[key]()); return kept.get(key); };
};

const sortRows = (order, pass, shown, down) => {
  const rows = new Uint32Array(shown);
  let at = 0;
  for (let i = 0; i < order.length; i++) if (pass[order[i]]) rows[down ? shown - 1 - at++ : at++] = order[i];
  return rows;
};
