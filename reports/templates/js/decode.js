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

// A column of 32-bit numbers whose bytes lie in four planes.
const joinPlanes = (bytes, signed) => {
  const count = bytes.length >> 2;
  const column = signed ? new Int32Array(count) : new Uint32Array(count);
  const second = count, third = 2 * count, fourth = 3 * count;
  for (let i = 0; i < count; i++) {
    column[i] = bytes[i] | bytes[second + i] << 8 | bytes[third + i] << 16 | bytes[fourth + i] << 24;
  }
  return column;
};

const wide = (low, high) => {
  const column = new Float64Array(low.length);
  for (let i = 0; i < low.length; i++) column[i] = high[i] * 4294967296 + low[i];
  return column;
};

const sums = (column, start, extra) => {
  const summed = new Float64Array(column.length);
  for (let i = 0, sum = start; i < column.length; i++) summed[i] = sum += column[i] + extra;
  return summed;
};

// Paths share their beginnings with the path before: written out, one after the other, with where each begins.
const unfoldPaths = (tails, shared, lengths) => {
  const starts = new Uint32Array(shared.length + 1);
  let total = 0;
  for (let i = 0; i < shared.length; i++) { starts[i] = total; total += shared[i] + lengths[i]; }
  starts[shared.length] = total;
  const text = new Uint8Array(total);
  for (let i = 0, read = 0, before = 0; i < shared.length; i++) {
    text.copyWithin(starts[i], before, before + shared[i]);
    text.set(tails.subarray(read, read + lengths[i]), starts[i] + shared[i]);
    read += lengths[i];
    before = starts[i];
  }
  return { text, starts };
};

const lowered = (bytes) => {
  const lower = bytes.slice();
  for (let i = 0; i < lower.length; i++) { const c = lower[i]; if (c > 64 && c < 91) lower[i] = c + 32; }
  return lower;
};

const unpack = async (tables, base64) => {
  const bytes = await inflate(fromBase64(base64));
  let next = 0, at = 0;
  const raw = () => { const size = tables.lengths[next++]; at += size; return bytes.subarray(at - size, at); };
  const numbers = (signed = false) => joinPlanes(raw(), signed);
  const decoder = new TextDecoder();

  const tails = raw(), fileVerdict = raw(), fileNet = raw();
  const shared = numbers(), lengths = numbers();
  const { text, starts } = unfoldPaths(tails, shared, lengths);
  const fileZone = numbers(), fileMount = numbers(), fileOps = numbers();
  const fileBytes = wide(numbers(), numbers());

  const op = raw(), verdict = raw();
  const seq = sums(numbers(), 0, 1), time = sums(numbers(), 0, 0);
  const pid = sums(numbers(true), 0, 0), file = Int32Array.from(sums(numbers(true), 0, 0));
  const result = numbers(), shape = numbers(), source = numbers(true), seen = numbers();
  const size = wide(numbers(), numbers()), calls = numbers();

  const textBytes = raw(), textLengths = numbers();
  const textStarts = new Uint32Array(textLengths.length + 1);
  for (let i = 0; i < textLengths.length; i++) textStarts[i + 1] = textStarts[i] + textLengths[i];

  const lower = lowered(text);
  return {
    tables, files: tables.files, events: tables.events,
    file: { verdict: fileVerdict, net: fileNet, zone: fileZone, mount: fileMount, ops: fileOps, bytes: fileBytes },
    event: { seq, time, pid, file, op, verdict, result, shape, source, seen, size, calls },
    path: (i) => decoder.decode(text.subarray(starts[i], starts[i + 1])),
    text: (i) => decoder.decode(textBytes.subarray(textStarts[i], textStarts[i + 1])),
    // Marks each path that holds a word, whatever the case of ASCII letters.
    holding: (word) => {
      const wanted = lowered(new TextEncoder().encode(word)), hit = new Uint8Array(tables.files);
      if (!wanted.length) return hit.fill(1);
      const first = wanted[0];
      for (let i = lower.indexOf(first), row = 0; i !== -1; i = lower.indexOf(first, i)) {
        let k = 1;
        while (k < wanted.length && lower[i + k] === wanted[k]) k++;
        if (k < wanted.length) { i++; continue; }
        let low = row, high = tables.files;
        while (high - low > 1) { const middle = low + high >> 1; if (starts[middle] <= i) low = middle; else high = middle; }
        row = low;
        if (i + k <= starts[row + 1]) { hit[row] = 1; i = starts[row + 1]; } else i++;
      }
      return hit;
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
