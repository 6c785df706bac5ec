// Directories of the sorted paths. A directory is a span of rows (from, to) that begin with the same bytes
// (`length` of them, the slash included). No DOM here.

const listDirectory = (model, from, to, length) => {
  const { text, starts } = model, found = [];
  for (let i = from; i < to;) {
    const start = starts[i], end = starts[i + 1];
    let slash = start + length;
    while (slash < end && text[slash] !== 47) slash++;
    if (slash >= end) { found.push({ from: i, to: i + 1, length: end - start, leaf: true }); i++; continue; }
    const size = slash - start + 1;
    const isBelow = (j) => {
      const other = starts[j];
      if (starts[j + 1] - other < size) return false;
      for (let k = size - 1; k >= length; k--) if (text[other + k] !== text[start + k]) return false;
      return true;
    };
    let low = i, step = 1;
    while (low + step < to && isBelow(low + step)) { low += step; step *= 2; }
    let high = Math.min(to, low + step);
    while (high - low > 1) { const middle = low + high >> 1; if (isBelow(middle)) low = middle; else high = middle; }
    found.push({ from: i, to: high, length: size, leaf: false });
    i = high;
  }
  return found;
};

// Sums over the rows that pass, up to each row: what is in a span is the difference of two.
const sumRows = (model, pass) => {
  const { files, file } = model, forbidden = model.tables.verdicts.indexOf("violation");
  const left = model.tables.nets.map((net) => ["created", "modified", "replaced"].includes(net));
  const temporary = model.tables.nets.indexOf("transient");
  const paths = new Uint32Array(files + 1), bad = new Uint32Array(files + 1), refused = new Uint32Array(files + 1);
  const written = new Float64Array(files + 1), kept = new Float64Array(files + 1), passing = new Float64Array(files + 1);
  for (let i = 0; i < files; i++) {
    const is = pass ? pass[i] : 1, net = file.net[i];
    paths[i + 1] = paths[i] + is;
    bad[i + 1] = bad[i] + (is && file.verdict[i] === forbidden ? 1 : 0);
    refused[i + 1] = refused[i] + (is && file.verdict[i] === 1 ? 1 : 0);
    written[i + 1] = written[i] + (is ? file.bytes[i] : 0);
    kept[i + 1] = kept[i] + (is && left[net] ? file.bytes[i] : 0);
    passing[i + 1] = passing[i] + (is && net === temporary ? file.bytes[i] : 0);
  }
  const span = (sums) => (node) => sums[node.to] - sums[node.from];
  return { paths: span(paths), bad: span(bad), refused: span(refused), written: span(written), left: span(kept), temporary: span(passing) };
};

// Names are read from a row of the span: `from` of them on.
const names = new TextDecoder();
const nodeName = (model, node, from) => {
  const start = model.starts[node.from];
  return names.decode(model.text.subarray(start + from, start + node.length));
};
const wholeTree = (model) => ({ from: 0, to: model.files, length: 0, leaf: false });

// Directories and files right below a directory, as far as anything there passes. The entry of a directory itself
// (that somebody made it, say) stands with the directory.
const listPassing = (model, sums, node) => {
  const found = listDirectory(model, node.from, node.to, node.length).filter((each) => sums.paths(each));
  for (const each of found) each.name = nodeName(model, each, node.length);
  const directories = new Set(found.filter((each) => !each.leaf).map((each) => each.name));
  return found.filter((each) => !each.leaf || !directories.has(`${each.name}/`));
};
// The same, the worst and biggest first; directories that hold nothing but one directory are one line with it.
const listNode = (model, sums, node) => {
  const found = listPassing(model, sums, node).map((each) => {
    let last = each;
    for (let hops = 0; !last.leaf && hops < 200; hops++) {
      const inner = listPassing(model, sums, last);
      if (inner.length !== 1 || inner[0].leaf) break;
      [last] = inner;
    }
    return last === each ? each : { ...last, name: nodeName(model, last, node.length) };
  });
  return found.sort((a, b) => sums.bad(b) - sums.bad(a) || sums.written(b) - sums.written(a) || a.from - b.from);
};

// The smallest directory that holds 95 percent.
const findStart = (model, weigh) => {
  let node = wholeTree(model);
  const all = weigh(node);
  for (let hops = 0; hops < 200; hops++) {
    const inner = listDirectory(model, node.from, node.to, node.length).find((each) => !each.leaf && weigh(each) >= all * 0.95);
    if (!inner) break;
    node = inner;
  }
  return node;
};

// A squarified treemap (Bruls, Huizing, van Wijk 2000): rectangles for weights in descending order.
const squarify = (weights, x, y, width, height) => {
  const total = weights.reduce((sum, weight) => sum + weight, 0), found = [];
  if (!(total > 0) || width <= 0 || height <= 0) return found;
  const scale = width * height / total;
  for (let at = 0; at < weights.length && weights[at] > 0 && width > 0.5 && height > 0.5;) {
    const side = Math.min(width, height), first = weights[at] * scale;
    let area = first, worst = Math.max(side * side / first, first / side / side), next = at + 1;
    for (; next < weights.length; next++) {
      const last = weights[next] * scale, wider = area + last;
      const then = Math.max(side * side * first / wider / wider, wider * wider / side / side / Math.max(last, 1e-9));
      if (then > worst) break;
      worst = then;
      area = wider;
    }
    const thick = area / side;
    for (let along = 0; at < next; at++) {
      const length = weights[at] * scale / thick;
      found.push(width >= height ? [x, y + along, thick, length] : [x + along, y, length, thick]);
      along += length;
    }
    if (width >= height) { x += thick; width -= thick; } else { y += thick; height -= thick; }
  }
  return found;
};

// Cells of the treemap, level by level: directories within directories, as deep as there is room.
const layOutTreemap = (model, sums, root, weigh, width, height, most = 320) => {
  const cells = [];
  let level = [[root, root.length ? nodeName(model, root, 0) : "/", 0, 0, width, height]];
  for (let depth = 0; depth < 6 && level.length; depth++) {
    const next = [];
    for (const [node, name, x, y, w, h] of level) {
      if (cells.length >= most) return cells;
      const paths = sums.paths(node), bad = sums.bad(node);
      cells.push({ node, name, x, y, width: w, height: h, depth,
        worst: bad ? (bad * 2 > paths ? "violation" : "mixed") : sums.refused(node) ? "attempt" : "allowed",
        temporary: sums.temporary(node) > sums.left(node) });
      if (node.leaf || w < 16 || h < 26) continue;
      const inner = listNode(model, sums, node).map((each) => [weigh(each), each]).filter(([weight]) => weight > 0).sort((a, b) => b[0] - a[0]).slice(0, 200);
      squarify(inner.map(([weight]) => weight), x + 2, y + 17, w - 4, h - 19).forEach(([cx, cy, cw, ch], i) => {
        if (cw >= 4 && ch >= 4) next.push([inner[i][1], inner[i][1].name, cx, cy, cw, ch]);
      });
    }
    level = next.sort((a, b) => b[4] * b[5] - a[4] * a[5]);
  }
  return cells;
};
