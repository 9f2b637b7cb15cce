import { createHash } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import { expect, onTestFinished, test, vi } from 'vitest';

import { TryLater } from '../../../src/ground/errors.ts';
import { ExportFolder } from '../../../src/timetravel/exports/folder.ts';
import { spoolSpine } from '../../../src/timetravel/exports/spool.ts';
import { ANY_AGE } from '../../../src/timetravel/question.ts';
import { tempDirectory } from '../../support/temp.ts';
import { asked, folderOf, LINES, planOf, startWorld, type World } from './world.ts';

async function ended({ exports }: World, id: string): Promise<string> {
  await vi.waitUntil(() => exports.mustGet(id).record.ended !== undefined);
  return exports.mustGet(id).record.state;
}

/** Asks for an export and waits for its end. */
async function runWhole(world: World): Promise<string> {
  const { record } = await world.exports.submit(asked(world));
  expect(await ended(world, record.id)).toBe('done');
  return record.id;
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).toSorted();
}

test('an export reads its model versions until it has ended', async () => {
  const world = await startWorld();
  const { record } = await world.exports.submit(asked(world));
  expect(['v1', 'v2'].map((version) => world.exports.isReading('job', version))).toEqual([
    true,
    false,
  ]);
  expect(await ended(world, record.id)).toBe('done');
  expect(world.exports.isReading('job', 'v1')).toBe(false);
});

test('an export becomes parts, tables of vectors, and a manifest with their SHA-256', async () => {
  const world = await startWorld();
  const id = await runWhole(world);
  await vi.waitUntil(() => !existsSync(join(folderOf(world, id), 'spine')));
  expect(filesIn(folderOf(world, id))).toEqual([
    'export.json',
    'manifest.json',
    'parts',
    'parts/part-00000.ndjson',
    'parts/part-00001.ndjson',
    'parts/part-00002.ndjson',
    'vectors',
    'vectors/job-00000.safetensors',
    'vectors/job-00001.safetensors',
    'vectors/job-00002.safetensors',
  ]);
  const manifest = await world.exports.manifest(id);
  expect(manifest).toMatchObject({
    id,
    rows: 5,
    snapshot: world.store.snapshot,
    feature_views: { job: { statuses: { PRESENT: 5 } } },
    spine: { format: 'ndjson', bytes: LINES.join('').length },
    vector_format: 'safetensors',
  });
  expect(
    manifest.files.map(({ first_row, first_vector_row }) => [first_row, first_vector_row]),
  ).toEqual([
    [0, undefined],
    [2, undefined],
    [4, undefined],
    [undefined, 0],
    [undefined, 1],
    [undefined, 2],
  ]);
  let bytes = 0;
  for (const file of manifest.files) {
    const content = readFileSync(world.exports.pathOf(id, file.path));
    expect(createHash('sha256').update(content).digest('hex')).toBe(file.sha256);
    bytes += content.byteLength;
  }
  expect([manifest.bytes, world.exports.counts]).toEqual([bytes, { rows: 5, bytes, failed: 0 }]);
});

test('what a process left goes on behind its last part, at the same snapshot, and is the same (A9)', async () => {
  const whole = await startWorld();
  const wholeId = await runWhole(whole);
  const world = await startWorld();
  const gate = Promise.withResolvers<void>();
  world.join.gates.set(2, gate.promise);
  const { record } = await world.exports.submit(asked(world));
  await vi.waitUntil(() => world.join.written.length === 2);
  const folder = folderOf(world, record.id);
  await vi.waitUntil(
    () => readFileSync(join(folder, 'windows.ndjson'), 'utf8').split('\n').length === 3,
  );
  // As a crash in the middle of a line and of a part leaves it.
  await world.exports.stop();
  appendFileSync(join(folder, 'windows.ndjson'), '{"index":2,"firstR');
  expect(existsSync(join(folder, 'parts/part-00002.ndjson.tmp'))).toBe(true);
  world.clock.now += 1;
  world.join.gates.clear();
  await world.restart();
  expect(await ended(world, record.id)).toBe('done');
  expect(world.join.written).toEqual([0, 1, 2]);
  const manifest = await world.exports.manifest(record.id);
  expect(manifest.files).toEqual((await whole.exports.manifest(wholeId)).files);
  expect(manifest).toMatchObject({ rows: 5, snapshot: record.plan.question.snapshot });
  expect(filesIn(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
});

test('a window whose vector ids a power loss has taken is done again', async () => {
  const world = await startWorld();
  const gate = Promise.withResolvers<void>();
  world.join.gates.set(2, gate.promise);
  const { record } = await world.exports.submit(asked(world));
  const folder = folderOf(world, record.id);
  await vi.waitUntil(() => world.join.written.length === 2);
  await vi.waitUntil(
    () => readFileSync(join(folder, 'windows.ndjson'), 'utf8').split('\n').length === 3,
  );
  await world.exports.stop();
  const [name] = readdirSync(join(folder, 'vectors')).filter((each) =>
    each.endsWith('00001.safetensors.ids'),
  );
  const path = join(folder, 'vectors', name!);
  writeFileSync(path, Buffer.alloc(statSync(path).size));
  world.join.gates.clear();
  await world.restart();
  expect(await ended(world, record.id)).toBe('done');
  expect(world.join.written).toEqual([0, 1, 1, 2]);
});

test('a plan comes back from the disk as it was, any age too', async () => {
  const world = await startWorld();
  const gate = Promise.withResolvers<void>();
  world.join.gates.set(0, gate.promise);
  const { record } = await world.exports.submit(asked(world));
  const exports = await world.restart();
  const { plan } = exports.mustGet(record.id).record;
  expect(plan).toEqual(planOf(world.store));
  expect(plan.refs[0]!.maxAge).toBe(ANY_AGE);
});

test('so many run at once, the others wait in the order of their asking, and more are refused', async () => {
  const world = await startWorld({ concurrent: 1, queued: 1 });
  const gate = Promise.withResolvers<void>();
  world.join.gates.set(0, gate.promise);
  const first = await world.exports.submit(asked(world));
  world.clock.now += 1_000;
  const second = await world.exports.submit(asked(world));
  await vi.waitUntil(() => world.join.running === 1);
  expect([world.exports.runningCount, world.exports.waiting]).toEqual([1, 1]);
  await expect(world.exports.submit(asked(world))).rejects.toThrow(TryLater);
  gate.resolve();
  expect(await ended(world, first.record.id)).toBe('done');
  expect(await ended(world, second.record.id)).toBe('done');
  expect(world.exports.list(9, undefined).map(({ record: { id } }) => id)).toEqual([
    second.record.id,
    first.record.id,
  ]);
  expect(world.exports.list(1, second.record.id)).toHaveLength(1);
});

test('one that is removed as soon as it says done is done first, and nothing of it is left', async () => {
  const world = await startWorld();
  const { record } = await world.exports.submit(asked(world));
  await vi.waitUntil(() => record.state === 'done', { interval: 0 });
  await world.exports.remove(record.id);
  await vi.waitUntil(() => world.exports.runningCount === 0);
  expect(existsSync(folderOf(world, record.id))).toBe(false);
  expect(world.exports.counts.failed).toBe(0);
});

test('one that ends before its cancel is heard is removed: nothing is left that was to be gone', async () => {
  const world = await startWorld();
  const removed = Promise.withResolvers<string>();
  const writing = vi.spyOn(ExportFolder.prototype, 'writeManifest');
  onTestFinished(() => writing.mockRestore());
  const { record } = await world.exports.submit(asked(world));
  writing.mockImplementationOnce(async () => {
    const status = world.exports.remove(record.id).then((told) => told.record.state);
    removed.resolve(status);
  });
  expect(await removed.promise).toBe('done');
  expect(existsSync(folderOf(world, record.id))).toBe(false);
  expect(() => world.exports.mustGet(record.id)).toThrow('there is no export');
});

test('one that is cancelled while the server stops is told to come again, and goes on', async () => {
  const world = await startWorld();
  world.join.gates.set(1, new Promise(() => {}));
  const { record } = await world.exports.submit(asked(world));
  await vi.waitUntil(() => world.join.written.length === 1);
  const stopped = world.exports.stop();
  await expect(world.exports.remove(record.id)).rejects.toMatchObject({ code: 'SHUTTING_DOWN' });
  await stopped;
  world.join.gates.clear();
  await world.restart();
  expect(await ended(world, record.id)).toBe('done');
});

test('one that is cancelled ends within a window and leaves no files; one that waits, at once', async () => {
  const world = await startWorld({ concurrent: 1 });
  const gate = Promise.withResolvers<void>();
  world.join.gates.set(1, gate.promise);
  const { record: running } = await world.exports.submit(asked(world));
  const { record: waiting } = await world.exports.submit(asked(world));
  await vi.waitUntil(() => world.join.written.length === 1);
  for (const { id } of [waiting, running]) {
    const { record } = await world.exports.remove(id);
    expect(record.state).toBe('cancelled');
    expect(filesIn(folderOf(world, id))).toEqual(['export.json']);
    await expect(world.exports.manifest(id)).rejects.toThrow('is cancelled, and has no files');
  }
  expect(world.join.running).toBe(0);
  await world.exports.remove(running.id);
  expect(existsSync(folderOf(world, running.id))).toBe(false);
  expect(() => world.exports.mustGet(running.id)).toThrow('there is no export');
  const exports = await world.restart();
  expect(exports.mustGet(waiting.id).record.state).toBe('cancelled');
});

test('a disk that is full fails the export alone, and gets its room back', async () => {
  const failures: unknown[] = [];
  const world = await startWorld({ failures });
  const full = Promise.withResolvers<void>();
  world.join.gates.set(1, full.promise);
  const { record } = await world.exports.submit(asked(world));
  await vi.waitUntil(() => world.join.written.length === 1);
  full.reject(
    Object.assign(new Error('ENOSPC: no space left on device, write'), {
      code: 'ENOSPC',
      syscall: 'write',
    }),
  );
  expect(await ended(world, record.id)).toBe('failed');
  const { failure } = world.exports.mustGet(record.id).record;
  expect(failure).toEqual({
    code: 'STORE_UNAVAILABLE',
    message: expect.stringContaining('no space left on device') as string,
  });
  await vi.waitUntil(() => filesIn(folderOf(world, record.id)).length === 1);
  expect([failures.length, world.exports.counts.failed]).toEqual([1, 1]);
  world.join.gates.clear();
  await runWhole(world);
});

test('a defect fails the export and shows nothing of itself', async () => {
  const world = await startWorld();
  const broken = Promise.reject(new Error('secret of the implementation'));
  broken.catch(() => {});
  world.join.gates.set(0, broken);
  const { record } = await world.exports.submit(asked(world));
  expect(await ended(world, record.id)).toBe('failed');
  const { failure } = world.exports.mustGet(record.id).record;
  expect(failure?.code).toBe('INTERNAL');
  expect(failure?.message).not.toContain('secret');
});

test('an export of a view that was dropped and made anew meanwhile fails', async () => {
  const world = await startWorld();
  const gate = Promise.withResolvers<void>();
  world.join.gates.set(1, gate.promise);
  const { record } = await world.exports.submit(asked(world));
  await vi.waitUntil(() => world.join.written.length === 1);
  await world.exports.stop();
  await world.store.dropView('job');
  await world.restart();
  expect(await ended(world, record.id)).toBe('failed');
  expect(world.exports.mustGet(record.id).record.failure?.code).toBe('VIEW_NOT_FOUND');
});

test('files expire after their time, and after as long again what is told of them', async () => {
  const world = await startWorld();
  const id = await runWhole(world);
  world.clock.now += 60e6;
  await world.exports.tidy();
  expect(world.exports.mustGet(id).record.state).toBe('done');
  world.clock.now += 1;
  await world.exports.tidy();
  expect(world.exports.mustGet(id).record.state).toBe('expired');
  expect(filesIn(folderOf(world, id))).toEqual(['export.json']);
  await expect(world.exports.manifest(id)).rejects.toMatchObject({ code: 'EXPORT_NOT_FOUND' });
  world.clock.now += 60e6;
  await world.restart();
  expect(existsSync(folderOf(world, id))).toBe(false);
});

test('files expire on a disk that takes no more, and a start does not fail of it', async () => {
  const failures: unknown[] = [];
  const world = await startWorld({ failures });
  const ids = [await runWhole(world), await runWhole(world)];
  world.clock.now += 61e6;
  const full = vi
    .spyOn(ExportFolder.prototype, 'writeRecord')
    .mockRejectedValue(Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', syscall: 'write' }));
  onTestFinished(() => full.mockRestore());
  await world.exports.tidy();
  for (const id of ids) expect(filesIn(folderOf(world, id))).toEqual(['export.json']);
  expect(failures).toHaveLength(2);
  await world.restart();
  full.mockRestore();
  await world.restart();
  expect(ids.map((id) => world.exports.mustGet(id).record.state)).toEqual(['expired', 'expired']);
});

test('what was never taken in is gone after a start, and what cannot be read is left alone', async () => {
  const failures: unknown[] = [];
  const world = await startWorld();
  const id = await runWhole(world);
  const root = join(world.data, 'exports');
  mkdirSync(join(root, 'half-uploaded'));
  writeFileSync(join(root, 'half-uploaded', 'spine'), 'half');
  mkdirSync(join(root, 'damaged'));
  writeFileSync(join(root, 'damaged', 'export.json'), '{"id":');
  writeFileSync(join(root, 'left.spine'), 'left');
  const exports = await world.restart({ failures });
  expect(readdirSync(root).toSorted()).toEqual([id, 'damaged'].toSorted());
  expect(failures).toHaveLength(1);
  expect(exports.list(9, undefined)).toHaveLength(1);
});

test('a spine of the server’s disk that is another one by then fails what goes on with it', async () => {
  const world = await startWorld();
  const path = join(tempDirectory(), 'rows.ndjson');
  writeFileSync(path, LINES.join(''));
  const { size: bytes, mtimeMs: modified } = statSync(path);
  const rows = { format: 'ndjson' as const, columnTypes: {}, path, bytes, modified };
  const ask = { ...asked(world), rows };
  const gate = Promise.withResolvers<void>();
  world.join.gates.set(1, gate.promise);
  const { record } = await world.exports.submit(ask);
  await vi.waitUntil(() => world.join.written.length === 1);
  await world.exports.stop();
  writeFileSync(path, 'others');
  await world.restart();
  expect(await ended(world, record.id)).toBe('failed');
  expect(world.exports.mustGet(record.id).record.failure?.message).toContain('was changed');
  expect(readFileSync(path, 'utf8')).toBe('others');
  rmSync(path);
});

test('a spine of the server’s disk that is changed while it is read fails its export', async () => {
  const world = await startWorld();
  const path = join(tempDirectory(), 'rows.ndjson');
  writeFileSync(path, LINES.join(''));
  const { size: bytes, mtimeMs: modified } = statSync(path);
  const gate = Promise.withResolvers<void>();
  world.join.gates.set(1, gate.promise);
  const rows = { format: 'ndjson' as const, columnTypes: {}, path, bytes, modified };
  const { record } = await world.exports.submit({ ...asked(world), rows });
  await vi.waitUntil(() => world.join.written.length === 1);
  writeFileSync(path, LINES.toReversed().join(''));
  gate.resolve();
  expect(await ended(world, record.id)).toBe('failed');
  expect(world.exports.mustGet(record.id).record.failure).toMatchObject({
    code: 'BAD_REQUEST',
    message: expect.stringContaining('was changed') as string,
  });
});

test('a spine that is too large, or breaks off, leaves nothing', async () => {
  const world = await startWorld({ spine_bytes: 20 });
  await expect(world.exports.submit(asked(world))).rejects.toMatchObject({
    code: 'LIMIT_EXCEEDED',
    message: expect.stringContaining('exports.spine_bytes of 20') as string,
  });
  expect(readdirSync(join(world.data, 'exports'))).toEqual([]);
  const path = join(tempDirectory(), 'spine');
  await expect(spoolSpine(breakOff(), path, 100)).rejects.toThrow('gone');
  expect(existsSync(path)).toBe(false);
});

async function* breakOff(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('half');
  throw new Error('gone');
}
