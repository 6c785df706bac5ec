// The search box's language, and the state of all filters as it stands in the address.

const KEYS = ["under", "errno", "op", "pid", "zone", "verdict", "net", "mount"];

// words that must occur, -words that must not, and key:value; values with spaces stand in quotes.
const parseQuery = (text) => {
  const query = { words: [], without: [], keys: {} };
  for (const match of text.matchAll(/(-?)(?:([a-z]+):)?(?:"([^"]*)"|(\S+))/gi)) {
    const [, minus, name, quoted, bare] = match;
    const value = quoted ?? bare;
    const key = name && name.toLowerCase();
    if (key && KEYS.includes(key) && !minus) (query.keys[key] ||= []).push(value);
    else (minus ? query.without : query.words).push((name ? `${name}:` : "") + value);
  }
  return query;
};

const readState = (hash) => {
  const state = { q: "", tab: "paths", zone: "", verdict: "", net: "", op: "", mount: "", errno: "", all: "", sort: "", down: "", page: "0" };
  const event = /^#event-(\d+)$/.exec(hash);
  if (event) return { ...state, event: Number(event[1]) };
  if (!hash.startsWith("#?")) return null;
  for (const [key, value] of new URLSearchParams(hash.slice(2))) if (key in state) state[key] = value;
  return state;
};

const writeState = (state) => {
  const defaults = readState("#?");
  const parameters = new URLSearchParams();
  for (const key of Object.keys(defaults)) if (String(state[key]) !== defaults[key]) parameters.set(key, state[key]);
  const text = parameters.toString();
  return text ? `#?${text}` : "#?";
};

// As a shell takes it: the bytes that a shown path stands for.
const quoteForShell = (shown) => {
  const parts = shown.split(/(\\\\|\\x[0-9a-f]{2})/);
  if (parts.length === 1 && /^[\w@%+=:,./-]+$/.test(shown)) return shown;
  if (parts.length === 1) return `'${shown.replaceAll("'", "'\\''")}'`;
  return `$'${parts.map((part, i) => i % 2 ? part : part.replaceAll("'", "\\'")).join("")}'`;
};
