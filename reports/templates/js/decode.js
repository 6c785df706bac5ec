// Unpacks what writeaudit/report/html/pack.py packed: columns of numbers and front-coded paths.

const fromBase64 = (text) => {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
};

const inflate = async (bytes) => {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
};

// Work goes in slices, so that the page answers meanwhile.
const SLICE = 24;
const pause = () => new Promise((done) => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => { port1.close(); done(); };
  port2.postMessage(0);
});
let sliceBegan = 0;
const breathe = async () => {
  if (performance.now() - sliceBegan < SLICE) return;
  await pause();
  sliceBegan = performance.now();
};

const isZero = (bytes, from) => {
  let i = from;
  const { buffer, byteOffset, length } = bytes;
  if (bytes.BYTES_PER_ELEMENT === 1) {
    for (; i < length && byteOffset + i & 3; i++) if (bytes[i]) return false;
    // No word begins at the end of what ends off its boundary.
    const fours = i < length ? new Uint32Array(buffer, byteOffset + i, length - i >> 2) : [];
    for (let k = 0; k < fours.length; k++) if (fours[k]) return false;
    i += fours.length * 4;
  }
  for (; i < length; i++) if (bytes[i]) return false;
  return true;
};

// A column of 32-bit numbers whose bytes lie in four planes; in less memory if they are small.
const joinPlanes = (bytes, signed) => {
  const count = bytes.length >> 2, second = count, third = 2 * count, fourth = 3 * count;
  if (!signed && isZero(bytes, third)) {
    if (isZero(bytes, second)) return bytes.slice(0, count);
    const column = new Uint16Array(count);
    for (let i = 0; i < count; i++) column[i] = bytes[i] | bytes[second + i] << 8;
    return column;
  }
  const column = signed ? new Int32Array(count) : new Uint32Array(count);
  for (let i = 0; i < count; i++) {
    column[i] = bytes[i] | bytes[second + i] << 8 | bytes[third + i] << 16 | bytes[fourth + i] << 24;
  }
  return column;
};

const wide = (low, high) => {
  if (isZero(high, 0)) return low;
  const column = new Float64Array(low.length);
  for (let i = 0; i < low.length; i++) column[i] = high[i] * 4294967296 + low[i];
  return column;
};

// Differences become sums; `extra` is added to each.
const sums = (column, extra) => {
  let total = 0;
  for (let i = 0; i < column.length; i++) total += column[i] + extra;
  const summed = total < 4294967296 ? new Uint32Array(column.length) : new Float64Array(column.length);
  for (let i = 0, sum = 0; i < column.length; i++) summed[i] = sum += column[i] + extra;
  return summed;
};
const signedSums = (column) => {
  for (let i = 1; i < column.length; i++) column[i] += column[i - 1];
  return column;
};

// Paths share their beginnings with the path before: written out, one after the other, with where each begins.
const unfoldPaths = async (tails, shared, lengths) => {
  const starts = new Uint32Array(shared.length + 1);
  let total = 0;
  for (let i = 0; i < shared.length; i++) { starts[i] = total; total += shared[i] + lengths[i]; }
  starts[shared.length] = total;
  const text = new Uint8Array(total);
  for (let i = 0, read = 0, before = 0; i < shared.length; i++) {
    if (!(i & 4095)) await breathe();
    const start = starts[i], middle = start + shared[i], end = middle + lengths[i];
    for (let k = start, from = before; k < middle; k++, from++) text[k] = text[from];
    for (let k = middle; k < end; k++, read++) text[k] = tails[read];
    before = start;
  }
  return { text, starts };
};

const lowered = (bytes) => {
  const lower = bytes.slice();
  for (let i = 0; i < lower.length; i++) { const c = lower[i]; if (c > 64 && c < 91) lower[i] = c + 32; }
  return lower;
};
// The same in slices, and how often each byte occurs: the rarest byte of a word is what is looked for first.
const lowerPaths = async (bytes) => {
  const lower = bytes.slice(), often = new Uint32Array(256);
  for (let from = 0; from < lower.length; from += 1 << 20) {
    await breathe();
    const to = Math.min(lower.length, from + (1 << 20));
    for (let i = from; i < to; i++) { let c = lower[i]; if (c > 64 && c < 91) lower[i] = c += 32; often[c]++; }
  }
  return { lower, often };
};

const unpack = async (tables, base64) => {
  sliceBegan = performance.now();
  const packed = fromBase64(base64);
  await breathe();
  const bytes = await inflate(packed);
  sliceBegan = performance.now();
  let next = 0, at = 0;
  const raw = () => { const size = tables.lengths[next++]; at += size; return bytes.subarray(at - size, at); };
  const numbers = async (signed = false) => { const column = joinPlanes(raw(), signed); await breathe(); return column; };
  const decoder = new TextDecoder();

  const tails = raw(), fileVerdict = raw().slice(), fileNet = raw().slice();
  const shared = await numbers(), lengths = await numbers();
  const { text, starts } = await unfoldPaths(tails, shared, lengths);
  const fileZone = await numbers(), fileMount = await numbers(), fileOps = await numbers();
  const fileBytes = wide(await numbers(), await numbers());

  const op = raw().slice(), verdict = raw().slice();
  const seq = sums(await numbers(), 1), time = sums(await numbers(), 0);
  await breathe();
  const life = signedSums(await numbers(true)), file = signedSums(await numbers(true));
  const result = await numbers(), shape = await numbers(), source = await numbers(true), seen = await numbers();
  const size = wide(await numbers(), await numbers()), calls = await numbers();

  const textBytes = raw().slice(), textLengths = await numbers();
  const textStarts = new Uint32Array(textLengths.length + 1);
  for (let i = 0; i < textLengths.length; i++) textStarts[i + 1] = textStarts[i] + textLengths[i];

  const { lower, often } = await lowerPaths(text);
  return {
    tables, files: tables.files, events: tables.events, text, starts,
    file: { verdict: fileVerdict, net: fileNet, zone: fileZone, mount: fileMount, ops: fileOps, bytes: fileBytes },
    event: { seq, time, life, file, op, verdict, result, shape, source, seen, size, calls },
    path: (i) => decoder.decode(text.subarray(starts[i], starts[i + 1])),
    words: (i) => decoder.decode(textBytes.subarray(textStarts[i], textStarts[i + 1])),
    // Marks each path that holds a word, whatever the case of ASCII letters.
    holding: (word) => {
      const wanted = lowered(new TextEncoder().encode(word)), hit = new Uint8Array(tables.files), many = wanted.length;
      if (!many) return hit.fill(1);
      let anchor = 0;
      for (let k = 1; k < many; k++) if (often[wanted[k]] < often[wanted[anchor]]) anchor = k;
      for (let i = lower.indexOf(wanted[anchor]), row = 0; i !== -1; i = lower.indexOf(wanted[anchor], i + 1)) {
        const begin = i - anchor;
        let k = 0;
        while (k < many && lower[begin + k] === wanted[k]) k++;
        if (k < many) continue;
        // Rows are met in order: look near the last one first.
        let step = 1, high = row + 1;
        while (high < tables.files && starts[high] <= begin) { row = high; high += step; step *= 2; }
        high = Math.min(high, tables.files);
        while (high - row > 1) { const middle = row + high >> 1; if (starts[middle] <= begin) row = middle; else high = middle; }
        if (begin >= starts[row] && begin + many <= starts[row + 1]) { hit[row] = 1; i = Math.max(i, starts[row + 1] - 1); }
      }
      return hit;
    },
    // Marks a directory and all that is below it.
    below: (directory) => {
      const wanted = new TextEncoder().encode(directory.replace(/\/+$/, "")), hit = new Uint8Array(tables.files), many = wanted.length;
      for (let i = 0; i < tables.files; i++) {
        const start = starts[i], size = starts[i + 1] - start;
        if (size < many || (size > many && text[start + many] !== 47)) continue;
        let k = many - 1;
        while (k >= 0 && text[start + k] === wanted[k]) k--;
        if (k < 0) hit[i] = 1;
      }
      return hit;
    },
    findPath: (shown) => {
      const wanted = new TextEncoder().encode(shown), many = wanted.length;
      for (let i = 0; i < tables.files; i++) {
        const start = starts[i];
        if (starts[i + 1] - start !== many) continue;
        let k = many - 1;
        while (k >= 0 && text[start + k] === wanted[k]) k--;
        if (k < 0) return i;
      }
      return -1;
    },
    // The path that holds an event, by its number; events are in order of seq.
    findEvent: (wanted) => {
      let low = 0, high = tables.events - 1;
      while (low <= high) {
        const middle = low + high >> 1;
        if (seq[middle] === wanted) return middle;
        if (seq[middle] < wanted) low = middle + 1; else high = middle - 1;
      }
      return -1;
    },
  };
};

// Which events each path has: those that name it, and those in which it is the source. One array of
// event numbers, and where each path's begin.
const indexEvents = (model) => {
  const { file, source } = model.event;
  const starts = new Uint32Array(model.files + 1);
  const isOther = (i) => source[i] > 0 && source[i] - 1 !== file[i];
  for (let i = 0; i < model.events; i++) {
    if (file[i] >= 0) starts[file[i] + 1]++;
    if (isOther(i)) starts[source[i]]++;
  }
  for (let i = 0; i < model.files; i++) starts[i + 1] += starts[i];
  const order = new Uint32Array(starts[model.files]), fill = starts.slice();
  for (let i = 0; i < model.events; i++) {
    if (file[i] >= 0) order[fill[file[i]]++] = i;
    if (isOther(i)) order[fill[source[i] - 1]++] = i;
  }
  return (row) => order.subarray(starts[row], starts[row + 1]);
};
