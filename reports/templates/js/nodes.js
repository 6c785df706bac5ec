// Pieces of the page. Everything that an audited program could have chosen gets in as text, never as markup.

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

const ESCAPE = /(\\\\|(?:\\x[0-9a-f]{2})+)/;
const escapes = (text) => text.includes("\\") ? text.split(ESCAPE).filter(Boolean).map(
  (part) => ESCAPE.test(part) ? el("span", "esc", part) : part) : [text];
const ascii = (text) => !/[^\x00-\x7f]/.test(text);
const ltr = (node) => { node.dir = "ltr"; return node; };
// Each component by itself: right-to-left names would otherwise pull their neighbours over the slash between them.
const isolated = (text) => text.split("/").flatMap((part, i) => {
  const piece = part ? [ltr(el("bdi", "", ...escapes(part)))] : [];
  return i ? ["/", ...piece] : piece;
});
const pathNode = (shown, className = "path") => {
  const cut = shown.lastIndexOf("/") + 1;
  const show = ascii(shown) ? escapes : isolated;
  return ltr(el("bdi", className, el("span", "dir", ...show(shown.slice(0, cut))), el("span", "last", ...show(shown.slice(cut)))));
};
const copyButton = (label, text) => {
  const button = el("button", "copy", label);
  button.type = "button";
  button.addEventListener("click", () => navigator.clipboard?.writeText(text()).then(() => { button.textContent = "copied"; }));
  return button;
};

// A table of which only the rows in sight are in the page. Rows are all of one height. Where they would be higher
// together than browsers can scroll, the scroll bar goes by larger steps.
const MOST_PIXELS = 6e6;
const makeList = (box, body, drawRow) => {
  let size = 0, height = 0, from = -1, to = -1, queued = false;
  const pads = [0, 1].map(() => { const row = el("tr", "pad"); row.setAttribute("aria-hidden", "true"); row.append(el("td", "")); return row; });
  const rowHeight = () => height ||= parseFloat(getComputedStyle(box).getPropertyValue("--row")) || 30;
  const inSight = () => Math.ceil((box.clientHeight || 600) / rowHeight());
  const scale = () => Math.max(1, size * rowHeight() / MOST_PIXELS);
  const firstInSight = () => Math.min(Math.floor(box.scrollTop * scale() / rowHeight()), Math.max(0, size - 1));
  const draw = (force = false) => {
    queued = false;
    const first = Math.max(0, firstInSight() - 8), last = Math.min(size, first + inSight() + 24);
    if (!force && first === from && last === to) return;
    const focused = document.activeElement?.closest?.("tr[data-at]")?.dataset.at;
    from = first;
    to = last;
    const rows = [];
    for (let at = first; at < last; at++) { const row = drawRow(at); row.dataset.at = at; row.setAttribute("aria-rowindex", at + 2); rows.push(row); }
    const total = size * rowHeight() / scale(), before = first * rowHeight() / scale(), own = (last - first) * rowHeight();
    pads[0].firstChild.style.height = `${before}px`;
    pads[1].firstChild.style.height = `${Math.max(0, total - before - own)}px`;
    pads[0].hidden = before <= 0;
    pads[1].hidden = total - before - own <= 0;
    const wide = [...box.querySelectorAll("thead th")].filter((th) => th.getClientRects().length).length;
    for (const pad of pads) pad.firstChild.colSpan = wide || 1;
    body.replaceChildren(pads[0], ...rows, pads[1]);
    if (focused !== undefined) body.querySelector(`tr[data-at="${focused}"] button`)?.focus({ preventScroll: true });
  };
  box.addEventListener("scroll", () => { if (!queued) { queued = true; requestAnimationFrame(() => draw()); } }, { passive: true });
  addEventListener("resize", () => { height = 0; draw(true); });
  return {
    show: (rows) => { size = rows; box.scrollTop = 0; draw(true); },
    draw: (rows = size) => { size = rows; draw(true); },
    reveal: (at) => {
      const top = at * rowHeight() / scale(), shown = box.scrollTop;
      if (top < shown || top + 2 * rowHeight() > shown + box.clientHeight - rowHeight()) box.scrollTop = Math.max(0, top - box.clientHeight / 3);
      draw(true);
    },
  };
};
