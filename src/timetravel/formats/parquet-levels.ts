/**
 * The levels of a page of vectors. A row with a vector is `dim` numbers, and a row without one is
 * one place that holds nothing:
 *
 * level        of a vector's numbers      of a row without
 * repetition   0, then 1 dim − 1 times    0      (0 begins a row)
 * definition   2                          0      (1 would be an empty list)
 *
 * Both are written as runs, each a varint (its length, shifted by one) and the level in a byte, after
 * their length in bytes as u32. So all vectors repeat one pattern of a few bytes, which is copied.
 */
const LENGTH_BYTES = 4;
const PRESENT_LEVEL = 2;
/** Two runs a row, each of up to five bytes and the level. */
const ROW_BYTES_MAX = 12;

/** The levels of these rows, as they stand in a page before its numbers. `valid`: one a row. */
export function encodeLevels(valid: Uint8Array, dim: number): Uint8Array<ArrayBuffer> {
  const repetition = Buffer.allocUnsafe(valid.length * ROW_BYTES_MAX);
  const definition = Buffer.allocUnsafe(valid.length * ROW_BYTES_MAX);
  let repetitionEnd = 0;
  let definitionEnd = 0;
  for (let row = 0; row < valid.length;) {
    const isPresent = valid[row] === 1;
    // Where the other kind of row begins is found by the engine, many rows at a time.
    const other = valid.indexOf(isPresent ? 0 : 1, row);
    const rows = (other < 0 ? valid.length : other) - row;
    if (isPresent && dim > 1) {
      const first = putRun(repetition, repetitionEnd, 1, 0);
      const end = putRun(repetition, first, dim - 1, 1);
      repetitionEnd = repeat(repetition, repetitionEnd, end, rows);
    } else {
      repetitionEnd = putRun(repetition, repetitionEnd, rows, 0);
    }
    definitionEnd = isPresent
      ? putRun(definition, definitionEnd, rows * dim, PRESENT_LEVEL)
      : putRun(definition, definitionEnd, rows, 0);
    row += rows;
  }
  const out = Buffer.allocUnsafeSlow(2 * LENGTH_BYTES + repetitionEnd + definitionEnd);
  out.writeUInt32LE(repetitionEnd, 0);
  repetition.copy(out, LENGTH_BYTES, 0, repetitionEnd);
  out.writeUInt32LE(definitionEnd, LENGTH_BYTES + repetitionEnd);
  definition.copy(out, 2 * LENGTH_BYTES + repetitionEnd, 0, definitionEnd);
  return out;
}

/** Writes a level, `count` times; returns where it ends. */
function putRun(out: Buffer, from: number, count: number, level: number): number {
  let at = from;
  let rest = count * 2;
  for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) out[at++] = (rest % 0x80) | 0x80;
  out[at++] = rest;
  out[at++] = level;
  return at;
}

/** Has what stands between two places stand there `times` over; returns where it ends. */
function repeat(out: Buffer, from: number, to: number, times: number): number {
  const length = (to - from) * times;
  for (let done = to - from; done < length; done *= 2) {
    out.copyWithin(from + done, from, from + Math.min(done, length - done));
  }
  return from + length;
}
