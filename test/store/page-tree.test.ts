import { writeSync, openSync, closeSync } from 'node:fs';

import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';

import { Environment, type KeyCodec, type Table } from '../../src/store/environment.ts';
import { PAGE_BYTES, type Tree } from '../../src/store/meta-page.ts';
import { type PageFile, TreeCursor } from '../../src/store/page-tree.ts';
import { seeded } from '../model/random.ts';
import { tempDirectory } from '../support/temp.ts';

/** Keys as they are stored. */
const rawKeys: KeyCodec<Buffer> = {
  writeKey: (key, target, start) => start + key.copy(target, start),
  readKey: (source, start, end) => Buffer.from(source.slice(start, end)),
};

interface World {
  environment: Environment;
  table: Table<Buffer>;
}

function newWorld(): World {
  const environment = new Environment(tempDirectory());
  onTestFinished(async () => environment.close());
  return { environment, table: environment.table('entry', rawKeys) };
}

async function put({ environment, table }: World, entries: Iterable<[Buffer, Buffer]>) {
  await environment.commit(() => {
    for (const [key, value] of entries) void table.put(key, value);
  });
}

/** The pages of the table as they are now, until the test is done. */
function pinned({ environment }: World): { file: PageFile; tree: Tree } {
  const { file, trees, release } = environment.pin();
  onTestFinished(release);
  return { file, tree: trees.get('entry')! };
}

const KEY_MAX = 1_978;
const scratch = Buffer.alloc(2 ** 17);

function keyOf(cursor: TreeCursor): Buffer {
  return Buffer.from(cursor.bytes.slice(cursor.keyAt, cursor.keyAt + cursor.keyBytes));
}

function valueOf(cursor: TreeCursor): Buffer {
  return Buffer.from(scratch.subarray(0, cursor.copyValue(scratch)));
}

/** What lmdb itself has from that key on, or before it. */
function inLmdb({ table }: World, start: Buffer, reverse = false): string[] {
  // Backwards lmdb wants to be told where it ends.
  const end = reverse ? Buffer.alloc(1) : Buffer.alloc(KEY_MAX, 0xff);
  const options = { start, end, inclusiveEnd: true, reverse, exclusiveStart: reverse };
  const range = table.getRange({ ...options, limit: 3 });
  return Array.from(range, ({ key }) => key.toString('hex'));
}

function onwards(cursor: TreeCursor, isThere: boolean): string[] {
  const keys: string[] = [];
  for (let is = isThere; is && keys.length < 3; is = cursor.next()) {
    keys.push(keyOf(cursor).toString('hex'));
  }
  return keys;
}

function backwards(cursor: TreeCursor): string[] {
  const keys: string[] = [];
  while (keys.length < 3 && cursor.previous()) keys.push(keyOf(cursor).toString('hex'));
  return keys;
}

/** A key of few different bytes, so that many begin alike. */
function randomKey(random: (below: number) => number, most: number): Buffer {
  return Buffer.from(Array.from({ length: 1 + random(most) }, () => random(4) * 85));
}

test('a tree of no entry has no place to be', () => {
  const { file, tree } = pinned(newWorld());
  const cursor = new TreeCursor(file, tree);
  expect(tree.root).toBeUndefined();
  expect(cursor.seek(Buffer.from('a'), 1)).toBe(false);
  expect(cursor.seekLeaf(Buffer.from('a'), 1)).toBeUndefined();
  expect(cursor.leafBoundAt).toBe(-1);
  expect([cursor.next(), cursor.previous(), cursor.next()]).toEqual([false, false, false]);
});

test('a tree of one leaf is read from the front, from the back and from behind its last entry', async () => {
  const world = newWorld();
  await put(
    world,
    ['b', 'd', 'f'].map((key) => [Buffer.from(key), Buffer.from(key.repeat(3))]),
  );
  const { file, tree } = pinned(world);
  expect(tree.depth).toBe(1);
  const cursor = new TreeCursor(file, tree);
  const seek = (key: string) =>
    cursor.seek(Buffer.from(key), key.length) ? keyOf(cursor).toString() : undefined;
  expect(['a', 'b', 'c', 'd', 'e', 'f', 'fa', 'g'].map(seek)).toEqual([
    'b',
    'b',
    'd',
    'd',
    'f',
    'f',
    undefined,
    undefined,
  ]);
  // Behind the last, however often one goes on.
  expect([cursor.next(), cursor.next()]).toEqual([false, false]);
  expect(cursor.previous()).toBe(true);
  expect([keyOf(cursor).toString(), valueOf(cursor).toString()]).toEqual(['f', 'fff']);
  expect(seek('a')).toBe('b');
  expect(cursor.previous()).toBe(false);
  expect(keyOf(cursor).toString()).toBe('b');
  expect(cursor.isAt(Buffer.from('bx'), 1)).toBe(true);
  expect(cursor.isAt(Buffer.from('bx'), 2)).toBe(false);
  expect(cursor.seekLeaf(Buffer.from('z'), 1)).toBe(tree.root);
});

test('only the first bytes of a key are looked at, whatever stands behind them', async () => {
  const world = newWorld();
  await put(world, [[Buffer.from('ab'), Buffer.from('1')]]);
  const { file, tree } = pinned(world);
  const cursor = new TreeCursor(file, tree);
  expect(cursor.seek(Buffer.from('abzz'), 2)).toBe(true);
  expect(cursor.seek(Buffer.from('abzz'), 3)).toBe(false);
  expect(cursor.seek(Buffer.from('zz'), 0)).toBe(true);
});

test.each([
  ['short values, in the page', 0],
  ['the longest that a page has room for', 1_900],
  ['values in pages of their own', 30_000],
])('values come whole: %s', async (_, most) => {
  const world = newWorld();
  const random = seeded(most + 1);
  const entries = Array.from({ length: 300 }, (__, at): [Buffer, Buffer] => [
    Buffer.from(String(at).padStart(4, '0')),
    Buffer.from(Array.from({ length: random(most + 1) }, () => random(256))),
  ]);
  await put(world, entries);
  const { file, tree } = pinned(world);
  expect(tree.overflows > 0).toBe(most > 2_000);
  const cursor = new TreeCursor(file, tree);
  for (const [key, value] of entries) {
    expect(cursor.seek(key, key.length) && cursor.isAt(key, key.length)).toBe(true);
    expect(valueOf(cursor)).toEqual(value);
  }
});

test('in trees of any shape a cursor is where lmdb is: at present keys and absent ones, in any order, on and back', async () => {
  const depths = new Set<number>();
  const shapes = fc.record({
    seed: fc.nat(),
    entries: fc.constantFrom(1, 20, 300, 1_200),
    keyMax: fc.constantFrom(3, 40, 900),
    valueMax: fc.constantFrom(8, 700, 6_000),
    commits: fc.integer({ min: 1, max: 6 }),
  });
  await fc.assert(
    fc.asyncProperty(shapes, async ({ seed, entries, keyMax, valueMax, commits }) => {
      const world = newWorld();
      const random = seeded(seed);
      const keys = Array.from({ length: entries }, () => randomKey(random, keyMax));
      for (let commit = 0; commit < commits; commit++) {
        await put(
          world,
          keys
            .filter((_, at) => at % commits === commit)
            .map((key) => [key, Buffer.alloc(random(valueMax), commit)]),
        );
        await world.environment.commit(() => {
          for (const key of keys) if (random(8) === 0) void world.table.remove(key);
        });
      }
      const { file, tree } = pinned(world);
      depths.add(tree.depth);
      const asked = [
        ...keys,
        ...Array.from({ length: 100 }, () => randomKey(random, keyMax)),
        Buffer.alloc(1),
        Buffer.alloc(KEY_MAX, 0xff),
      ];
      for (const order of ['ascending', 'random'] as const) {
        if (order === 'ascending') asked.sort((a, b) => Buffer.compare(a, b));
        else asked.sort(() => random(3) - 1);
        const cursor = new TreeCursor(file, tree);
        for (const key of asked) {
          const isThere = cursor.seek(key, key.length);
          if (isThere) {
            expect(cursor.isAt(key, key.length)).toBe(keyOf(cursor).equals(key));
            const stored = Buffer.from(world.table.getBinary(keyOf(cursor))!);
            expect(valueOf(cursor).equals(stored)).toBe(true);
          }
          const way = random(3);
          if (way === 0) expect(onwards(cursor, isThere)).toEqual(inLmdb(world, key));
          if (way === 1) expect(backwards(cursor)).toEqual(inLmdb(world, key, true));
        }
      }
      let count = 0;
      const all = new TreeCursor(file, tree);
      for (let is = all.seek(scratch, 0); is; is = all.next()) count++;
      expect(count).toBe(tree.entries);
    }),
    { numRuns: 20, seed: 5 },
  );
  expect(Math.max(...depths)).toBeGreaterThanOrEqual(4);
});

test('the leaf that a key belongs to, and the key behind it, are found without reading the leaf', async () => {
  const WIDTH = 60;
  const world = newWorld();
  const keys = Array.from({ length: 3_000 }, (_, at) =>
    Buffer.from(String(at).padStart(WIDTH, '0')),
  );
  await put(
    world,
    keys.map((key) => [key, Buffer.alloc(100, key)]),
  );
  const { file, tree } = pinned(world);
  expect(tree.depth).toBeGreaterThanOrEqual(3);
  const cursor = new TreeCursor(file, tree);
  const walk = new TreeCursor(file, tree);
  const leaves = new Set<number>();
  let from = 0;
  while (from < keys.length) {
    leaves.add(cursor.seekLeaf(keys[from]!, WIDTH)!);
    const at = cursor.leafBoundAt;
    const bound = at < 0 ? undefined : Buffer.from(cursor.bytes.slice(at, at + WIDTH)).toString();
    expect(walk.seek(keys[from]!, WIDTH)).toBe(true);
    from = bound === undefined ? keys.length : Number(bound);
  }
  expect(leaves.size).toBe(tree.leaves);
});

test('a page that is no page of a tree is told as damage, with its number and whose file it is', async () => {
  const world = newWorld();
  const keys = Array.from({ length: 500 }, (_, at) => Buffer.from(String(at).padStart(6, '0')));
  await put(
    world,
    keys.map((key) => [key, Buffer.alloc(100)]),
  );
  const { file, tree } = pinned(world);
  const cursor = new TreeCursor(file, tree);
  const leaf = cursor.seekLeaf(keys[250]!, 6)!;
  const written = openSync(world.environment.file, 'r+');
  writeSync(written, Buffer.alloc(PAGE_BYTES, 0xff), 0, PAGE_BYTES, leaf * PAGE_BYTES);
  closeSync(written);
  const damaged = new TreeCursor(file, tree);
  expect(() => damaged.seek(keys[250]!, 6)).toThrow(
    `${world.environment.place}: page ${leaf} is not what it was; run \`tidemark verify\``,
  );
  // Elsewhere it goes on.
  expect(damaged.seek(keys[0]!, 6) && damaged.isAt(keys[0]!, 6)).toBe(true);
  expect(() => damaged.seek(keys[250]!, 6)).toThrow(
    expect.objectContaining({ code: 'STORE_CORRUPT' }),
  );
});

test('a tree whose root lies behind the end of the file, or that is deeper than trees are, is told as damage', async () => {
  const world = newWorld();
  await put(world, [[Buffer.from('a'), Buffer.from('1')]]);
  const { file, tree } = pinned(world);
  const behind = new TreeCursor(file, { root: 10_000, depth: 1 });
  expect(() => behind.seek(Buffer.from('a'), 1)).toThrow('it ends before byte');
  expect(() => new TreeCursor(file, { ...tree, depth: 60_000 })).toThrow('60000 levels');
});
