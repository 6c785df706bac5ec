// The pictures answer to the filters: a span of the timeline and a directory of the treemap are filters of the list.

const svgNames = () => document.querySelector("svg").namespaceURI;
const shape = (tag, attributes, ...children) => {
  const node = document.createElementNS(svgNames(), tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

const drawPictures = (model, choose) => {
  const follow = [];

  // -- timeline: drag a span, or click to take it back ------------------------------------------------
  for (const svg of document.querySelectorAll("svg.timeline")) {
    const left = Number(svg.dataset.left), right = Number(svg.dataset.right), whole = Number(svg.dataset.us);
    const view = svg.viewBox.baseVal, brush = shape("rect", { class: "brush", y: 0, height: view.height, width: 0, x: left });
    svg.append(brush);
    const timeAt = (pressed) => {
      const frame = svg.getBoundingClientRect(), x = (pressed.clientX - frame.left) / frame.width * view.width;
      return Math.min(Math.max((x - left) / (right - left), 0), 1) * whole;
    };
    const xOf = (time) => left + Math.min(time / whole, 1) * (right - left);
    const cover = (from, to) => { brush.setAttribute("x", xOf(from)); brush.setAttribute("width", Math.max(0, xOf(to) - xOf(from))); };
    let begun = null;
    svg.addEventListener("pointerdown", (pressed) => { begun = timeAt(pressed); svg.setPointerCapture(pressed.pointerId); });
    svg.addEventListener("pointermove", (moved) => { if (begun !== null) { const now = timeAt(moved); cover(Math.min(begun, now), Math.max(begun, now)); } });
    svg.addEventListener("pointerup", (released) => {
      const now = timeAt(released), from = Math.min(begun ?? now, now), to = Math.max(begun ?? now, now);
      begun = null;
      if (to - from < whole / 200) choose.time(null); else choose.time(from, to);
    });
    svg.addEventListener("pointercancel", () => { begun = null; });
    follow.push((state) => { const span = parseSpan(state.time); if (span) cover(...span); else cover(0, 0); });
  }

  // -- treemap: laid out anew for the room there is, for each directory that is entered ------------------
  const holder = $("treemap");
  // Once the list is there.
  if (holder) setTimeout(async () => {
    await pause();
    const sums = sumRows(model, null), measures = { left: sums.left, written: sums.written, files: sums.paths };
    let measure = "left", root = null, width = 0;
    const crumbs = $("crumbs"), picker = $("measure");
    const enter = (node) => { root = node; draw(); choose.under(node.length > 1 ? nodeName(model, node, 0).replace(/\/$/, "") : ""); };
    const drawCrumbs = () => {
      const chain = [];
      let node = wholeTree(model);
      for (let hops = 0; hops < 60 && node; hops++) {
        chain.push(node);
        if (node.length >= root.length) break;
        node = listNode(model, sums, node).find((each) => each.from <= root.from && each.to >= root.to && each.length <= root.length);
      }
      crumbs.replaceChildren(...chain.flatMap((each, i) => {
        const name = i ? nodeName(model, each, chain[i - 1].length) : "all";
        const button = el("button", "linklike", ltr(el("bdi", "", ...escapes(name))));
        button.type = "button";
        if (each.length === root.length) button.setAttribute("aria-current", "true");
        button.addEventListener("click", () => enter(each));
        return i ? [" › ", button] : [button];
      }));
      crumbs.hidden = false;
    };
    const draw = () => {
      width = Math.round(holder.clientWidth);
      if (!width) return;
      const height = width < 600 ? Math.round(width * 0.9) : 340;
      const svg = shape("svg", { class: "picture treemap", viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Directories by size" });
      for (const each of layOutTreemap(model, sums, root, measures[measure], width, height, width < 600 ? 120 : 240)) {
        const room = Math.floor((each.width - 6) / 6.4), path = nodeName(model, each.node, 0);
        const g = shape("g", { class: `${each.worst}${each.temporary ? " temporary" : ""}` },
          shape("rect", { class: `cell ${each.worst} level${Math.min(each.depth, 3)}`, x: each.x.toFixed(1), y: each.y.toFixed(1), width: each.width.toFixed(1), height: each.height.toFixed(1) }));
        if (each.temporary) g.append(shape("rect", { class: "hatch", x: each.x.toFixed(1), y: each.y.toFixed(1), width: each.width.toFixed(1), height: each.height.toFixed(1), fill: "url(#hatch)" }));
        if (room > 4 && each.height > 15) g.append(shape("text", { x: (each.x + 4).toFixed(1), y: (each.y + 12).toFixed(1) }, each.name.length <= room ? each.name : `${each.name.slice(0, room - 1)}…`));
        const bad = sums.bad(each.node);
        g.append(shape("title", {}, `${path}: ${bytes(sums.left(each.node))} left, ${bytes(sums.written(each.node))} written, ${plural(sums.paths(each.node), "path")}${bad ? `, ${plural(bad, "violation")}` : ""}`));
        if (each.node.leaf) g.addEventListener("click", () => choose.under(path));
        else g.addEventListener("click", () => enter(each.node));
        svg.append(g);
      }
      holder.replaceChildren(svg);
      drawCrumbs();
    };
    await pause();
    root = findStart(model, measures.left);
    await pause();
    if (!measures.left(root)) { measure = "files"; root = findStart(model, measures.files); }
    picker.value = measure;
    picker.hidden = false;
    picker.addEventListener("change", () => { measure = picker.value; draw(); });
    draw();
    addEventListener("resize", () => { if (Math.round(holder.clientWidth) !== width) draw(); });
  });
  return { follow: (state) => { for (const each of follow) each(state); } };
};
