import { type FileHandle, open } from 'node:fs/promises';

import { Pace } from '../ground/pace.ts';
import {
  type FileState,
  MetaPages,
  PAGE_BYTES,
  readTree,
  type Tree,
  TREE_BYTES,
} from './meta-page.ts';
import { NumberSet } from './number-set.ts';

/**
 * The pages of an LMDB file, looked at as bytes and without lmdb, which would follow a damaged page
 * wherever it leads and take the process along.
 *
 * bytes  field (little-endian)
 * 0  u64 page │ u64 transaction that wrote it │ u16
 * 18 u16 flags: 1 branch, 2 leaf, 4 the first of a value's own pages
 * 20 u16 end of the offsets │ u16 start of the nodes, both from byte 24; of a value: u32 pages
 * 24 u16 × n offsets of the nodes from byte 24, in key order; the nodes end with the page
 *
 * node of a branch: u48 page │ u16 key bytes │ key
 * node of a leaf:   u32 value bytes │ u16 flags: 1 in pages of its own, 2 a tree │ u16 key bytes
 *                   │ key │ value, or u64 page │ u64 transaction │ u64 pages of it
 */
const HEADER_BYTES = 24;
const NODE_BYTES = 8;
const BRANCH = 1;
const LEAF = 2;
const OVERFLOW = 4;
const IN_OWN_PAGES = 1;
const IS_TREE = 2;
/** Of the tree of free pages: its keys are native numbers. */
const NUMBER_KEYS = 0x08;

/** Pages read at once: neighbours are often asked for next. */
const BLOCK_PAGES = 16;
const BLOCKS_KEPT = 256;

/**
 * Checks the pages of the file's newest state: that each is where it belongs, is well-formed and
 * used once, that keys are in order, and that counts are those that were counted. The file must not
 * be written meanwhile. Gives the names of its databases, and the number of its last transaction.
 */
export async function checkPages(
  file: string,
  report: (what: string) => void,
  signal?: AbortSignal,
): Promise<{ tables: string[]; transaction: number }> {
  const handle = await open(file);
  try {
    const walk = new Walk(handle, (await handle.stat()).size, report, signal);
    return await walk.run();
  } finally {
    await handle.close();
  }
}

interface Node {
  /** Where its key begins in the page, and where it ends: there its value begins. */
  from: number;
  at: number;
  /** Of a branch: the page below. */
  page: number;
  /** Of a leaf. */
  flags: number;
  valueBytes: number;
}

/** Negative when the key in `a` from `from` up to `end` comes before that in `b`. */
type Compare = (
  a: Buffer,
  from: number,
  end: number,
  b: Buffer,
  fromB: number,
  endB: number,
) => number;

interface Counted {
  branches: number;
  leaves: number;
  overflows: number;
  entries: number;
}

/** Something was found that makes no sense to follow. */
class Damage {
  readonly message: string;

  constructor(message: string) {
    this.message = message;
  }
}

class Walk {
  private file: FileHandle;
  private size: number;
  private report: (what: string) => void;
  private signal: AbortSignal | undefined;
  private pace = new Pace();
  private blocks = new Map<number, Buffer>();
  private used = new NumberSet();
  private state!: FileState;

  constructor(
    file: FileHandle,
    size: number,
    report: (what: string) => void,
    signal: AbortSignal | undefined,
  ) {
    this.file = file;
    this.size = size;
    this.report = report;
    this.signal = signal;
  }

  async run(): Promise<{ tables: string[]; transaction: number }> {
    const bytes = Buffer.alloc(2 * PAGE_BYTES);
    const { bytesRead } = await this.file.read(bytes, 0, bytes.byteLength, 0);
    if (bytesRead < bytes.byteLength) {
      this.report(`it is cut short: it has ${this.size} bytes`);
      return { tables: [], transaction: 0 };
    }
    const meta = new MetaPages(bytes);
    this.state = meta.latest;
    this.checkMeta(meta);
    const tables: string[] = [];
    const free: [number, number][] = [];
    const { transaction } = this.state;
    await this.tree('the free pages', this.state.free, NUMBER_KEYS, async (node, page) => {
      free.push(...(await this.freePages(node, page)));
    });
    await this.tree('the list of databases', this.state.main, 0, async (node, page) => {
      const name = page.toString('utf8', node.from, node.at).replace(/\0$/, '');
      tables.push(name);
      if (node.flags !== IS_TREE || node.valueBytes !== TREE_BYTES) {
        throw new Damage(`the entry of ${JSON.stringify(name)} is no database`);
      }
      await this.tree(`the database ${name}`, readTree(page, node.at), 0);
    });
    this.checkFree(free);
    return { tables, transaction };
  }

  private checkMeta(meta: MetaPages): void {
    const [first, second] = meta.states;
    for (const at of [0, 1] as const) {
      const { transaction } = meta.states[at];
      // The number of a state says which of the pages it stands in; a new file has none in either.
      if (!meta.isMeta(at) || (transaction % 2 !== at && transaction !== 0)) {
        this.report(`page ${at} is not the meta page that it was`);
      }
    }
    if (!meta.hasPageSize) this.report(`its pages do not all have ${PAGE_BYTES} bytes`);
    if (Math.abs(first.transaction - second.transaction) > 1) {
      this.report('the two meta pages are not of one transaction and the next');
    }
    const { flushed, latest } = meta;
    if (flushed !== undefined && flushed.transaction > latest.transaction) {
      this.report('it was flushed in a state that it is not in');
    }
    if (flushed?.transaction === latest.transaction && !isSameState(flushed, latest)) {
      this.report('its two descriptions of its last state differ');
    }
  }

  /** Walks a tree; `leaf` hears of each of its entries. */
  private async tree(
    name: string,
    tree: Tree,
    flags: number,
    leaf?: (node: Node, page: Buffer) => Promise<void>,
  ): Promise<void> {
    const counted: Counted = { branches: 0, leaves: 0, overflows: 0, entries: 0 };
    const isFree = (flags & NUMBER_KEYS) !== 0;
    try {
      // The upper flags of the tree of free pages are the file's.
      if ((isFree ? tree.flags & 0xff : tree.flags) !== flags) {
        throw new Damage('it has flags that it did not have');
      }
      if (tree.root === undefined) {
        if (tree.depth !== 0) throw new Damage('it has a depth and no pages');
      } else {
        const compare = isFree ? compareNumbers : compareBytes;
        await this.page(tree.root, tree.depth, { counted, compare, leaf });
      }
    } catch (error) {
      if (!(error instanceof Damage)) throw error;
      this.report(`${name}: ${error.message}`);
      return;
    }
    for (const what of ['branches', 'leaves', 'overflows', 'entries'] as const) {
      if (counted[what] !== tree[what]) {
        this.report(`${name}: it has ${counted[what]} ${what}, expected ${tree[what]}`);
      }
    }
  }

  /** Checks a page and all below it, whose keys lie from `least` up to `bound`. */
  private async page(
    number: number,
    level: number,
    walk: {
      counted: Counted;
      compare: Compare;
      leaf: ((node: Node, page: Buffer) => Promise<void>) | undefined;
    },
    least?: Buffer,
    bound?: Buffer,
  ): Promise<void> {
    const { counted, compare, leaf } = walk;
    const isLeaf = level === 1;
    if (level < 1) throw new Damage(`page ${number} is deeper than the tree`);
    const page = await this.take(number, 1, isLeaf ? LEAF : BRANCH);
    const nodes = nodesOf(page, number, isLeaf);
    checkOrder(number, page, nodes, isLeaf, compare, least, bound);
    if (isLeaf) {
      counted.leaves++;
      counted.entries += nodes.length;
      for (const node of nodes) {
        if (node.flags === IN_OWN_PAGES) counted.overflows += await this.ownPages(node, page);
        if (leaf !== undefined) await leaf(node, page);
      }
      return;
    }
    counted.branches++;
    // Below the first is all that comes before the second, whatever its key says.
    const bounds = nodes.slice(1).map(({ from, at }) => page.subarray(from, at));
    for (const [at, node] of nodes.entries()) {
      await this.page(node.page, level - 1, walk, bounds[at - 1] ?? least, bounds[at] ?? bound);
    }
  }

  /** Checks the pages that a long value has to itself; how many they are. */
  private async ownPages(node: Node, page: Buffer): Promise<number> {
    const needed = Math.floor((HEADER_BYTES - 1 + node.valueBytes) / PAGE_BYTES) + 1;
    const first = Number(page.readBigUInt64LE(node.at));
    // A shorter value that came in a longer one's place keeps its pages.
    const count = Number(page.readBigUInt64LE(node.at + 16));
    if (count < needed) {
      throw new Damage(`a value of ${node.valueBytes} bytes has ${count} pages, not ${needed}`);
    }
    const own = await this.take(first, count, OVERFLOW);
    if (own.readUInt32LE(20) !== count) {
      throw new Damage(`page ${first} does not begin a value of ${count} pages`);
    }
    return count;
  }

  /** Reads a page that `count` pages begin with, none of which anything else uses. */
  private async take(number: number, count: number, flags: number): Promise<Buffer> {
    this.signal?.throwIfAborted();
    await this.pace.rest();
    const last = number + count - 1;
    if (!(number >= 2 && last <= this.state.lastPage && (last + 1) * PAGE_BYTES <= this.size)) {
      throw new Damage(`there is no page ${number}`);
    }
    for (let at = number; at <= last; at++) {
      if (this.used.has(at)) throw new Damage(`page ${at} is used twice`);
      this.used.add(at);
    }
    const page = await this.read(number);
    if (Number(page.readBigUInt64LE(0)) !== number || page.readUInt16LE(18) !== flags) {
      throw new Damage(`page ${number} is not the page that it was`);
    }
    if (Number(page.readBigUInt64LE(8)) > this.state.transaction) {
      throw new Damage(`page ${number} is of a transaction that there was not`);
    }
    return page;
  }

  private async read(number: number): Promise<Buffer> {
    const at = Math.floor(number / BLOCK_PAGES);
    let block = this.blocks.get(at);
    if (block === undefined) {
      block = Buffer.alloc(BLOCK_PAGES * PAGE_BYTES);
      await this.file.read(block, 0, block.byteLength, at * block.byteLength);
      const [oldest] = this.blocks.keys();
      if (this.blocks.size === BLOCKS_KEPT) this.blocks.delete(oldest!);
      this.blocks.set(at, block);
    }
    const from = (number % BLOCK_PAGES) * PAGE_BYTES;
    return block.subarray(from, from + PAGE_BYTES);
  }

  /**
   * The free pages of a list, as first page and count: u64 length │ cells, of which 0 is nothing, a
   * negative one how many pages the next one begins, any other a page alone.
   */
  private async freePages(node: Node, page: Buffer): Promise<[number, number][]> {
    let bytes = page.subarray(node.at, node.at + node.valueBytes);
    if (node.flags === IN_OWN_PAGES) {
      bytes = Buffer.alloc(node.valueBytes);
      const start = Number(page.readBigUInt64LE(node.at)) * PAGE_BYTES + HEADER_BYTES;
      await this.file.read(bytes, 0, bytes.byteLength, start);
    }
    const length = bytes.byteLength < 8 ? -1 : Number(bytes.readBigInt64LE(0));
    if (length < 0 || (length + 1) * 8 > bytes.byteLength) {
      throw new Damage('a list of them is longer than its entry');
    }
    const found: [number, number][] = [];
    let count = 1;
    for (let at = 1; at <= length; at++) {
      const cell = Number(bytes.readBigInt64LE(at * 8));
      if (cell < 0) count = -cell;
      if (cell <= 0) continue;
      found.push([cell, count]);
      count = 1;
    }
    return found;
  }

  private checkFree(free: readonly [number, number][]): void {
    for (const [first, count] of free) {
      if (first < 2 || first + count - 1 > this.state.lastPage) {
        this.report(`the free pages: there is no page ${first}`);
        return;
      }
      for (let at = first; at < first + count; at++) {
        if (this.used.has(at)) {
          this.report(`the free pages: page ${at} is in use`);
          return;
        }
        this.used.add(at);
      }
    }
  }
}

/** How many bytes each node of a page takes, by where it begins; used again for every page. */
const taken = new Uint16Array(PAGE_BYTES);

/** The nodes of a page, which fill its end without a gap. */
function nodesOf(page: Buffer, number: number, isLeaf: boolean): Node[] {
  const end = page.readUInt16LE(20);
  const start = page.readUInt16LE(22);
  const room = PAGE_BYTES - HEADER_BYTES;
  if (end % 2 !== 0 || end === 0 || end > start || start > room) throw notFitting(number);
  const nodes: Node[] = [];
  const starts = new Uint16Array(end / 2);
  for (let slot = 0; slot < end; slot += 2) {
    const offset = page.readUInt16LE(HEADER_BYTES + slot);
    if (offset < start || offset + NODE_BYTES > room) throw notFitting(number);
    const at = HEADER_BYTES + offset;
    const flags = page.readUInt16LE(at + 4);
    const keyBytes = page.readUInt16LE(at + 6);
    const valueBytes = page.readUInt32LE(at);
    const isKnown = !isLeaf || flags === 0 || flags === IN_OWN_PAGES || flags === IS_TREE;
    const stored = !isLeaf ? 0 : flags === IN_OWN_PAGES ? HEADER_BYTES : valueBytes;
    const bytes = NODE_BYTES + keyBytes + stored;
    if (!isKnown || offset + bytes > room) throw notFitting(number);
    starts[slot / 2] = offset;
    taken[offset] = bytes + (bytes % 2);
    const from = at + NODE_BYTES;
    nodes.push({
      from,
      at: from + keyBytes,
      page: valueBytes + flags * 2 ** 32,
      flags,
      valueBytes,
    });
  }
  let next = start;
  for (const from of starts.toSorted()) {
    if (from !== next) throw notFitting(number);
    next += taken[from]!;
  }
  if (next !== room) throw notFitting(number);
  return nodes;
}

function notFitting(number: number): Damage {
  return new Damage(`the entries of page ${number} do not fit it`);
}

function checkOrder(
  number: number,
  page: Buffer,
  nodes: readonly Node[],
  isLeaf: boolean,
  compare: Compare,
  least: Buffer | undefined,
  bound: Buffer | undefined,
): void {
  const first = isLeaf ? 0 : 1;
  for (let at = first; at < nodes.length; at++) {
    const { from, at: end } = nodes[at]!;
    const before = at > first ? nodes[at - 1]! : undefined;
    const isAbove =
      before === undefined
        ? least === undefined || compare(least, 0, least.byteLength, page, from, end) <= 0
        : compare(page, before.from, before.at, page, from, end) < 0;
    const isBelow =
      at < nodes.length - 1 ||
      bound === undefined ||
      compare(page, from, end, bound, 0, bound.byteLength) < 0;
    if (!isAbove || !isBelow) throw new Damage(`the keys of page ${number} are out of order`);
  }
}

function isSameState(a: FileState, b: FileState): boolean {
  return (
    a.lastPage === b.lastPage &&
    (['free', 'main'] as const).every((tree) =>
      (['depth', 'branches', 'leaves', 'overflows', 'entries', 'root'] as const).every(
        (field) => a[tree][field] === b[tree][field],
      ),
    )
  );
}

function compareBytes(
  a: Buffer,
  from: number,
  end: number,
  b: Buffer,
  fromB: number,
  endB: number,
): number {
  const length = Math.min(end - from, endB - fromB);
  for (let at = 0; at < length; at++) {
    const difference = a[from + at]! - b[fromB + at]!;
    if (difference !== 0) return difference;
  }
  return end - from - (endB - fromB);
}

function compareNumbers(
  a: Buffer,
  from: number,
  end: number,
  b: Buffer,
  fromB: number,
  endB: number,
): number {
  if (end - from !== 8 || endB - fromB !== 8) throw new Damage('a key is no transaction');
  return Number(a.readBigUInt64LE(from) - b.readBigUInt64LE(fromB));
}
