import fc from 'fast-check';
import { expect, test } from 'vitest';

import { TidemarkError } from '../../src/ground/errors.ts';
import { micros } from '../../src/ground/time.ts';
import type { TextRecord } from '../../src/ingest/entity-texts.ts';
import { Pipeline } from '../../src/ingest/pipeline.ts';
import { UNSAID } from '../../src/ingest/source-record.ts';
import { DELETED, RevisionBatch } from '../../src/store/batch.ts';
import type { ModelBinding, ModelVersion } from '../../src/store/catalogue.ts';
import { shownVector, vectorBytes } from '../../src/store/dtype.ts';
import type { Store } from '../../src/store/store.ts';
import { resolveMany } from '../../src/timetravel/lookup.ts';
import { ANY_AGE } from '../../src/timetravel/question.ts';
import { REASONS, STATUSES } from '../../src/timetravel/status.ts';
import { FakeEmbedder } from '../support/fake-embedder.ts';
import { testStore, viewOf } from '../support/store.ts';

const PROMPT = {
  template: '{{headline}}, {{skills}}: {{text}}',
  fields: ['headline', 'skills', 'text'],
  parts: { profile: ['headline', 'skills'], resume: ['text'] },
};

interface Setting {
  store: Store;
  embedder: FakeEmbedder;
  pipeline: Pipeline;
  version: ModelVersion;
}

async function setUp(
  model: Partial<ModelBinding> = { prompt: PROMPT },
  { isLatestOnly = false } = {},
): Promise<Setting> {
  const store = testStore(viewOf('member'));
  const embedder = new FakeEmbedder();
  const pipeline = new Pipeline({
    embedder: async () => embedder,
    copyPooled: (view, name, hash, out) => store.version(view, name).copyPooled(hash, out),
    fields: (view, name) => store.version(view, name).fields,
    isLatestOnly: () => isLatestOnly,
    textCharsMax: 100,
  });
  const { binding, dim } = await pipeline.bind({ name: 'fake', ...model });
  const created_timestamp = micros(0);
  const version = { version: 'v1', dim, dtype: 'float32' as const, created_timestamp };
  return { store, embedder, pipeline, version: { ...version, model: binding } };
}

/** Commits the records together; gives the codes of those that were refused. */
async function commit(
  { store, pipeline, version }: Setting,
  records: readonly TextRecord[],
): Promise<(string | number)[]> {
  const batch = new RevisionBatch(8);
  const options = { lane: 'rest' as const };
  const { rows, fields, release } = await pipeline.addRecords(
    'member',
    version,
    batch,
    records,
    options,
  );
  const said = rows.map((row, at) => {
    if (row instanceof TidemarkError) return row.code;
    const { entityId } = records[at]!;
    for (const { event, known, payload } of row) batch.addRow(entityId, event, known, payload);
    return row.length;
  });
  await store.commit('member', 'v1', { rows: batch, ...(fields && { fields }) });
  release();
  return said;
}

function profile(
  event: number,
  headline: unknown,
  known = event,
  skills: unknown = [],
): TextRecord {
  const input = { fields: { headline, skills } };
  return { entityId: 'ada', part: 'profile', event, known, input };
}

function resume(event: number, text: string, known = event): TextRecord {
  return { entityId: 'ada', part: 'resume', event, known, input: { fields: { text } } };
}

/** The text that was in force: a text's vector is its length and its first letter. */
function ask({ store }: Setting, asOf: number, knownAt?: number): unknown {
  const version = store.version('member', 'v1');
  const { statuses, reasons, vectorIds } = resolveMany(version, ['ada'], {
    asOf,
    boundary: 'inclusive',
    knowledge: 'event',
    knownAt,
    maxAge: ANY_AGE,
    now: 0,
    snapshot: store.snapshot,
  });
  if (STATUSES[statuses[0]!] !== 'PRESENT') return REASONS[reasons[0]!] ?? STATUSES[statuses[0]!];
  const numbers = new Float32Array(2);
  version.vectors.copyInto(vectorIds[0]!, new Uint8Array(numbers.buffer), 0);
  return [...numbers];
}

function say(event: number, a: string): TextRecord {
  return { entityId: 'ada', event, known: event, input: { fields: { a } } };
}

const vectorOf = (text: string): number[] => [text.length, text.charCodeAt(0)];

test('the parts of an entity make one text, as of the time of what changed', async () => {
  const all = await setUp();
  await commit(all, [profile(1, 'Baker', 1, ['bread']), resume(5, 'I bake')]);
  await commit(all, [profile(9, 'Chef')]);
  expect(all.embedder.asked).toEqual(['Baker, bread:', 'Baker, bread: I bake', 'Chef, : I bake']);
  expect([0, 1, 4, 5, 8, 9].map((asOf) => ask(all, asOf))).toEqual([
    'NOT_FOUND',
    vectorOf('Baker, bread:'),
    vectorOf('Baker, bread:'),
    vectorOf('Baker, bread: I bake'),
    vectorOf('Baker, bread: I bake'),
    vectorOf('Chef, : I bake'),
  ]);
});

test('a late record of one part corrects the texts after it, from when it is known (A2, A5)', async () => {
  const all = await setUp();
  await commit(all, [profile(1, 'Baker'), profile(7, 'Chef')]);
  expect(await commit(all, [resume(3, 'I bake', 9)])).toEqual([2]);
  expect(ask(all, 7)).toEqual(vectorOf('Chef, : I bake'));
  expect(ask(all, 7, 8)).toEqual(vectorOf('Chef, :'));
  expect(ask(all, 3)).toEqual(vectorOf('Baker, : I bake'));
  expect(ask(all, 3, 8)).toEqual(vectorOf('Baker, :'));
});

test('records that are read again change nothing (A4, A12)', async () => {
  const all = await setUp();
  const records = [profile(1, 'Baker'), resume(3, 'old'), profile(7, 'Chef'), resume(3, 'new', 9)];
  for (const record of records) await commit(all, [record]);
  const { revisions } = all.store.version('member', 'v1').counters();
  await commit(all, records);
  for (const record of records) await commit(all, [record]);
  expect(all.store.version('member', 'v1').counters().revisions).toBe(revisions);
});

test('a value that a record does not tell is taken from what is known of the entity', async () => {
  const all = await setUp();
  const untold = profile(2, UNSAID, 2, ['cakes']);
  expect(await commit(all, [untold])).toEqual(['BAD_INPUT']);
  expect(await commit(all, [profile(1, 'Baker'), untold])).toEqual([1, 1]);
  expect(ask(all, 2)).toEqual(vectorOf('Baker, cakes:'));
  expect(all.embedder.asked).toEqual(['Baker, :', 'Baker, cakes:']);
});

test('a value that no record tells is no text, where nothing is kept of an entity', async () => {
  const all = await setUp({ prompt: { template: '{{a}}', fields: ['a'] } });
  const record = { entityId: 'ada', event: 1, known: 1, input: { fields: { a: UNSAID } } };
  expect(await commit(all, [record])).toEqual(['BAD_INPUT']);
  expect(all.embedder.asked).toEqual([]);
});

test('what is deleted of one part leaves the other; without any the entity is deleted (A7)', async () => {
  const all = await setUp();
  const gone = { ...profile(3, ''), input: null };
  await commit(all, [profile(1, 'Baker'), resume(2, 'I bake'), gone]);
  expect(ask(all, 3)).toEqual(vectorOf(', : I bake'));
  await commit(all, [{ ...resume(4, ''), input: null }]);
  expect(ask(all, 4)).toBe('DELETED');
  await commit(all, [profile(5, 'Chef'), { entityId: 'ada', event: 6, known: 6, input: null }]);
  expect([ask(all, 5), ask(all, 6)]).toEqual([vectorOf('Chef, :'), 'DELETED']);
});

test('a record that says no part, another part, or a whole text is refused alone', async () => {
  const all = await setUp();
  const { part: _part, ...whole } = profile(1, 'x');
  const records = [
    whole,
    { ...profile(1, 'x'), part: 'activity' },
    { ...profile(1, 'x'), input: { text: 'x' } },
    profile(1, 'Baker'),
  ];
  expect(await commit(all, records)).toEqual(['BAD_INPUT', 'BAD_INPUT', 'BAD_INPUT', 1]);
  const plain = await setUp({ prompt: { template: '{{a}}', fields: ['a'] } });
  expect(await commit(plain, [profile(1, 'x')])).toEqual(['BAD_INPUT']);
});

test('a record whose text is refused has said nothing: those after it are made without it', async () => {
  const all = await setUp();
  all.embedder.failures.set('poison, :', new TidemarkError('INFERENCE_FAILED', 'the model died'));
  const records = [profile(1, 'Baker'), profile(2, 'poison'), resume(3, 'I bake')];
  expect(await commit(all, records)).toEqual([1, 'INFERENCE_FAILED', 1]);
  expect(ask(all, 3)).toEqual(vectorOf('Baker, : I bake'));
  expect(await commit(all, [resume(4, 'x'.repeat(100))])).toEqual(['BAD_INPUT']);
  await commit(all, [profile(5, 'Chef')]);
  expect(ask(all, 5)).toEqual(vectorOf('Chef, : I bake'));
});

test('what is refused takes no later record with it that is in order without it', async () => {
  const all = await setUp();
  const records = [resume(1, 'x'.repeat(200)), profile(2, 'Baker'), profile(3, 'Chef')];
  expect(await commit(all, records)).toEqual(['BAD_INPUT', 1, 1]);
  expect(ask(all, 3)).toEqual(vectorOf('Chef, :'));
  const latest = await setUp(
    { prompt: { template: '{{a}}', fields: ['a'] } },
    { isLatestOnly: true },
  );
  expect(await commit(latest, [say(1, 'first'), say(2, 'second'), say(3, '')])).toEqual([
    0,
    1,
    'EMPTY_TEXT',
  ]);
  expect(ask(latest, 3)).toEqual(vectorOf('second'));
});

test('of two records of one moment the second keeps what it does not tell from the first', async () => {
  const all = await setUp();
  const records = [
    profile(1, 'Old', 1, ['old']),
    profile(5, 'Baker', 5, ['bread']),
    profile(5, 'Chef', 5, UNSAID),
  ];
  await commit(all, records);
  expect(ask(all, 5)).toEqual(vectorOf('Chef, bread:'));
  await commit(all, [profile(6, 'Cook', 6, UNSAID)]);
  expect(ask(all, 6)).toEqual(vectorOf('Cook, bread:'));
});

test('a value that is no text is refused before it is compared or kept', async () => {
  let deep: unknown = 'x';
  for (let depth = 0; depth < 50_000; depth++) deep = [deep];
  for (const isLatestOnly of [false, true]) {
    const all = await setUp({ prompt: PROMPT }, { isLatestOnly });
    const records = [
      profile(1, 'Baker', 1, deep),
      profile(1, 'Baker', 1, deep),
      profile(2, 'Chef'),
    ];
    expect(await commit(all, records)).toEqual(['BAD_INPUT', 'BAD_INPUT', 1]);
  }
});

test('a record that would change more moments than can be is refused, and changes none', async () => {
  const all = await setUp();
  const records = Array.from({ length: 200 }, (_, at) => profile(10 + at, 'Baker', 1_000 - at));
  await commit(all, records);
  expect(await commit(all, [resume(1, 'I bake', 1)])).toEqual(['LIMIT_EXCEEDED']);
  await commit(all, [profile(2_000, 'Chef')]);
  expect(ask(all, 2_000)).toEqual(vectorOf('Chef, :'));
});

test('numbers that are too large for the dtype are of their text alone (A14)', async () => {
  const all = await setUp({ prompt: { template: '{{a}}', fields: ['a'] } });
  const version = { ...all.version, dtype: 'float16' as const };
  const batch = new RevisionBatch(4);
  const { rows, release } = await all.pipeline.addRecords(
    'member',
    version,
    batch,
    [say(1, 'a'), say(2, '\ufffda'), say(3, 'b')],
    { lane: 'rest' },
  );
  release();
  expect(rows.map((each) => (each instanceof TidemarkError ? each.code : each.length))).toEqual([
    1,
    'BAD_VECTOR',
    1,
  ]);
});

test('what a model makes for a version of int8 is quantised, each vector by its own scale', async () => {
  const all = await setUp({ prompt: { template: '{{a}}', fields: ['a'] } });
  const version = { ...all.version, dtype: 'int8' as const };
  const { dim } = version;
  const batch = new RevisionBatch(vectorBytes(dim, 'int8'));
  const { rows, release } = await all.pipeline.addRecords(
    'member',
    version,
    batch,
    [say(1, 'ab')],
    {
      lane: 'rest',
    },
  );
  release();
  const [payload] = rows.flatMap((each) =>
    each instanceof TidemarkError ? [] : each.map((row) => row.payload),
  );
  const { vector, scale } = shownVector(batch.payloadBytes(payload!), dim, 'int8');
  const made = vectorOf('ab');
  expect(Math.max(...vector.map(Math.abs))).toBe(127);
  vector.forEach((number, at) => {
    expect(Math.abs(number * scale! - made[at]!)).toBeLessThanOrEqual(scale! / 2);
  });
});

test('what comes for an entity at once is put together one after the other', async () => {
  const all = await setUp();
  all.embedder.held = Promise.withResolvers();
  const both = [commit(all, [profile(1, 'Baker')]), commit(all, [resume(2, 'I bake')])];
  await new Promise(setImmediate);
  expect(all.embedder.asked).toEqual(['Baker, :']);
  all.embedder.held.resolve();
  expect(await Promise.all(both)).toEqual([[1], [1]]);
  expect(ask(all, 2)).toEqual(vectorOf('Baker, : I bake'));
});

test('an empty text is refused, or deletes where the model version says so', async () => {
  const prompt = { template: '{{a}}', fields: ['a'] };
  const empty = { entityId: 'ada', event: 2, known: 2, input: { fields: { a: ' ' } } };
  const full = { entityId: 'ada', event: 1, known: 1, input: { fields: { a: 'x' } } };
  const refusing = await setUp({ prompt });
  expect(await commit(refusing, [full, empty])).toEqual([1, 'EMPTY_TEXT']);
  const deleting = await setUp({ prompt, empty_text: 'delete' });
  expect(await commit(deleting, [full, empty])).toEqual([1, 1]);
  expect(ask(deleting, 2)).toBe('DELETED');
  expect(deleting.pipeline.counts.rejected).toBe(0);
});

test('where only the latest is wanted, of what comes together each entity’s last event is embedded', async () => {
  const all = await setUp({ prompt: PROMPT }, { isLatestOnly: true });
  const records = [profile(1, 'a'), profile(3, 'c'), resume(2, 'b'), profile(0, 'z')];
  expect(await commit(all, records)).toEqual([0, 0, 1, 0]);
  expect(all.embedder.asked).toEqual(['c, : b']);
});

test('an entity that goes from A to B and back is embedded twice, and has three revisions (A4)', async () => {
  const all = await setUp({ prompt: { template: '{{a}}', fields: ['a'] } });
  for (const record of [say(1, 'A'), say(2, 'B'), say(3, 'A')]) await commit(all, [record]);
  expect(all.embedder.asked).toEqual(['A', 'B']);
  expect(all.store.version('member', 'v1').counters().revisions).toBe(3);
  expect(ask(all, 3)).toEqual(vectorOf('A'));
});

test('a payload of no text deletes, and takes no room', async () => {
  const all = await setUp();
  const batch = new RevisionBatch(8);
  const records = [{ ...profile(1, ''), input: null }];
  const { rows, release } = await all.pipeline.addRecords('member', all.version, batch, records, {
    lane: 'rest',
  });
  release();
  expect([rows, batch.payloadCount]).toEqual([[[{ event: 1, known: 1, payload: DELETED }]], 0]);
});

const record = fc.oneof(
  fc
    .tuple(fc.nat(4), fc.nat(4), fc.nat(2), fc.boolean())
    .map(([event, known, value, tells]) =>
      profile(event, `h${value}`, known, tells ? [`s${value}`] : UNSAID),
    ),
  fc
    .tuple(fc.nat(4), fc.nat(4), fc.nat(2))
    .map(([event, known, value]) =>
      value === 2
        ? { ...resume(event, '', known), input: null }
        : resume(event, 'y'.repeat(value), known),
    ),
);

test('the order in which parts come changes no answer, whatever they came with (A2, A5)', async () => {
  const first = profile(0, 'h', 0, ['s']);
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(record, {
        maxLength: 7,
        selector: ({ part, event, known }) => `${part} ${event} ${known}`,
      }),
      fc.infiniteStream(fc.nat(3)),
      async (records, chunks) => {
        const [one, other] = [await setUp(), await setUp()];
        const rest = records.filter(({ event, known }) => event > 0 || known > 0);
        for (const each of [first, ...rest]) await commit(one, [each]);
        const shuffled = [first, ...rest.toReversed()];
        while (shuffled.length > 0) {
          await commit(other, shuffled.splice(0, 1 + chunks.next().value!));
        }
        for (let event = 0; event < 5; event++) {
          for (let known = 0; known < 5; known++) {
            const at = `${event}, ${known}`;
            expect(ask(other, event, known), at).toEqual(ask(one, event, known));
          }
        }
      },
    ),
    { numRuns: 25 },
  );
}, 120_000);
