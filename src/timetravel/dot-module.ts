/**
 * WebAssembly that sums products of vectors in float64, two numbers at a time in four sums side by
 * side. The engine of JavaScript makes no such code of a loop, which takes some ten times as long.
 *
 * `dot(query, vector, dim)`: of `dim` float64 at byte `query` and float32 at byte `vector` of the
 * memory that it is given. `squares(vector, dim)`: of a vector with itself. All steps are those of
 * IEEE 754, in an order that the dim alone decides: the result is the same everywhere.
 */
export interface DotModule {
  readonly dot: (query: number, vector: number, dim: number) => number;
  readonly squares: (vector: number, dim: number) => number;
}

/** Throws where WebAssembly, or SIMD in it, is not to be had. */
export function instantiate(memory: WebAssembly.Memory): DotModule {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(MODULE), {
    m: { m: memory },
  });
  return exports as DotModule;
}

type Code = readonly number[];

const I32 = 0x7f;
const F64 = 0x7c;
const V128 = 0x7b;

const get = (local: number): Code => [0x20, local];
const set = (local: number): Code => [0x21, local];
/** Of numbers below 64, in either sign. */
const constant = (value: number): Code => [0x41, value & 0x7f];
const SIXTY_FOUR: Code = [0x41, 0xc0, 0];
const ADD: Code = [0x6a];
const AND: Code = [0x71];
const SHIFT_LEFT: Code = [0x74];
const NOT_BELOW: Code = [0x4f];
const F64_ADD: Code = [0xa0];
const F64_MUL: Code = [0xa2];
const PROMOTE: Code = [0xbb];
const LOAD_F32: Code = [0x2a, 2, 0];
const LOAD_F64: Code = [0x2b, 3, 0];
const BLOCK: Code = [0x02, 0x40];
const LOOP: Code = [0x03, 0x40];
const END: Code = [0x0b];
const PAIR_ADD: Code = [0xfd, 0xf0, 0x01];
const PAIR_MUL: Code = [0xfd, 0xf2, 0x01];
/** Two float32 as two float64. */
const loadPromoted = (offset: number): Code => [0xfd, 0x5d, 3, offset, 0xfd, 0x5f];
const loadPair = (offset: number): Code => [0xfd, 0x00, 3, offset];
const lane = (at: number): Code => [0xfd, 0x21, at];

/** One after the other. */
const all = (...codes: readonly Code[]): Code => codes.flat();

/** Runs `body` until `left` is at or after `end`, both locals. */
const until = (left: number, end: number, body: Code): Code =>
  all(BLOCK, LOOP, get(left), get(end), NOT_BELOW, [0x0d, 1], body, [0x0c, 0], END, END);
const advance = (local: number, bytes: Code): Code => all(get(local), bytes, ADD, set(local));

/** `query`: the local of the other factor's address; undefined for squares. */
function sumOfProducts(query: number | undefined): Code {
  const vector = query === undefined ? 0 : 1;
  const dim = vector + 1;
  const [even, end, sum, first] = [dim + 1, dim + 2, dim + 3, dim + 4];
  const advanceQuery = (bytes: Code): Code => (query === undefined ? [] : advance(query, bytes));
  const pair = (at: number): Code => {
    const numbers = all(get(vector), loadPromoted(at * 8));
    const others = query === undefined ? numbers : all(get(query), loadPair(at * 16));
    return all(get(first + at), numbers, others, PAIR_MUL, PAIR_ADD, set(first + at));
  };
  const number = all(get(vector), LOAD_F32, PROMOTE);
  const other = query === undefined ? number : all(get(query), LOAD_F64);
  return sized(
    all(
      [3, 2, I32, 1, F64, 4, V128],
      // Where groups of eight end, and where the vector does.
      all(get(vector), get(dim), constant(-8), AND, constant(2), SHIFT_LEFT, ADD, set(even)),
      all(get(vector), get(dim), constant(2), SHIFT_LEFT, ADD, set(end)),
      until(
        vector,
        even,
        all(...[0, 1, 2, 3].map(pair), advance(vector, constant(32)), advanceQuery(SIXTY_FOUR)),
      ),
      all(get(first), get(first + 1), PAIR_ADD, get(first + 2), get(first + 3), PAIR_ADD),
      all(PAIR_ADD, set(first)),
      all(get(first), lane(0), get(first), lane(1), F64_ADD, set(sum)),
      until(
        vector,
        end,
        all(
          all(get(sum), number, other, F64_MUL, F64_ADD, set(sum)),
          advance(vector, constant(4)),
          advanceQuery(constant(8)),
        ),
      ),
      get(sum),
      END,
    ),
  );
}

/** Behind its length. */
function sized(bytes: Code): Code {
  return [...leb(bytes.length), ...bytes];
}

function leb(value: number): Code {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(value >>> 7)];
}

const text = (word: string): Code => sized([...Buffer.from(word)]);
const section = (id: number, entries: readonly Code[]): Code =>
  all([id], sized(all([entries.length], ...entries)));

const MODULE = Uint8Array.from(
  all(
    [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    section(1, [
      [0x60, 3, I32, I32, I32, 1, F64],
      [0x60, 2, I32, I32, 1, F64],
    ]),
    section(2, [all(text('m'), text('m'), [0x02, 0x00, 1])]),
    section(3, [[0], [1]]),
    section(7, [all(text('dot'), [0, 0]), all(text('squares'), [0, 1])]),
    section(10, [sumOfProducts(0), sumOfProducts(undefined)]),
  ),
);
