// The search box's language, and the state of all filters as it stands in the address.

const KEYS = ["under", "errno", "op", "pid", "process", "zone", "verdict", "net", "mount", "time"];

// Words that must occur, -words that must not, key:value and -key:value; values with spaces stand in quotes. Of
// several values of one key any may hold.
const parseQuery = (text) => {
  const query = { words: [], without: [], keys: {}, not: {} };
  for (const match of text.matchAll(/(-?)(?:([a-z]+):)?(?:"([^"]*)"|(\S+))/gi)) {
    const [, minus, name, quoted, bare] = match;
    const value = quoted ?? bare;
    const key = name && name.toLowerCase();
    if (key && KEYS.includes(key)) ((minus ? query.not : query.keys)[key] ||= []).push(value);
    else (minus ? query.without : query.words).push((name ? `${name}:` : "") + value);
  }
  return query;
};

// A span of time as it stands in the address and in time:0.5-1.25, in seconds; null if it is none.
const parseSpan = (text) => {
  const match = /^(\d*\.?\d+)-(\d*\.?\d+)$/.exec(text);
  return match && Number(match[1]) <= Number(match[2]) ? [Number(match[1]) * 1e6, Number(match[2]) * 1e6] : null;
};

const TABS = ["paths", "tree", "events", "binaries", "packages", "links"];
const readState = (hash) => {
  const state = { q: "", tab: "paths", zone: "", verdict: "", net: "", op: "", mount: "", errno: "", process: "", branch: "", time: "", under: "",
    all: "", sort: "", down: "", path: "" };
  const event = /^#event-(\d+)$/.exec(hash);
  if (event) return { ...state, event: Number(event[1]) };
  if (!hash.startsWith("#?")) return null;
  for (const [key, value] of new URLSearchParams(hash.slice(2))) if (key in state) state[key] = value;
  if (!TABS.includes(state.tab)) state.tab = "paths";
  return state;
};

const writeState = (state) => {
  const defaults = readState("#?");
  const parameters = new URLSearchParams();
  for (const key of Object.keys(defaults)) if (String(state[key]) !== defaults[key]) parameters.set(key, state[key]);
  return `#?${parameters}`;
};

// As a shell takes it: the bytes that a shown path stands for.
const quoteForShell = (shown) => {
  const parts = shown.split(/(\\\\|\\x[0-9a-f]{2})/);
  if (parts.length === 1 && /^[\w@%+=:,./-]+$/.test(shown)) return shown;
  if (parts.length === 1) return `'${shown.replaceAll("'", "'\\''")}'`;
  return `$'${parts.map((part, i) => i % 2 ? part : part.replaceAll("'", "\\'")).join("")}'`;
};
