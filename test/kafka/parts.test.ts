import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { expect, test } from 'vitest';

import { openModel } from '../../src/ingest/inference/models.ts';
import { startEmbedder, vectorsOf } from '../support/embedder.ts';
import { ServerProcess } from '../support/server.ts';
import { tempDirectory } from '../support/temp.ts';
import { SOON } from './bench.ts';
import { Cluster, connection, describeKafka } from './cluster.ts';

const MEMBER = {
  entity: 'member',
  join_key: 'member_id',
  version: 'v1',
  dim: 128,
  dtype: 'float32',
  model: {
    name: 'hashing',
    prompt: {
      template: '{{headline}}. {{skills}}. {{text}}',
      fields: ['headline', 'skills', 'text'],
      parts: { profile: ['headline', 'skills'], resume: ['text'] },
    },
  },
};

interface Revision {
  event_timestamp: string;
  known_timestamp: string;
  deleted: boolean;
  vector: number[] | null;
}

function second(at: number): string {
  return `2026-03-01T12:00:${String(at).padStart(2, '0')}Z`;
}

function ms(at: number): number {
  return Date.parse(second(at));
}

/** Ada's profile as it was at a second, told then or later. */
function profile(at: number, said: object, toldAt = at) {
  const value = { id: 'ada', changed: ms(at), ...said };
  return { key: 'ada', value: JSON.stringify(value), timestamp: String(ms(toldAt)) };
}

/** A change of Ada's résumé, as Debezium tells it. */
function resume(at: number, op: 'c' | 'u' | 'd', text?: string) {
  const after = op === 'd' ? null : { id: 'ada', text };
  const before = op === 'c' ? null : { id: 'ada' };
  const value = { op, before, after, source: { ts_ms: ms(at) } };
  return { key: 'ada', value: JSON.stringify(value), timestamp: String(ms(at)) };
}

function configOf(profiles: string, resumes: string, resumeFields: object = { text: 'text' }) {
  const path = join(tempDirectory(), 'tidemark.yaml');
  const source = {
    name: 'members',
    feature_view: 'member',
    version: 'v1',
    content: 'fields',
    group_prefix: `${profiles}-${Math.trunc(performance.now() * 1_000)}`,
    known_timestamp: 'record',
    entity_id: 'id',
    topics: [
      {
        topic: profiles,
        part: 'profile',
        event_timestamp: { path: 'changed', unit: 'ms' },
        delete_when: { path: 'gone', equals: true },
        fields: { headline: 'headline', skills: 'skills' },
      },
      { topic: resumes, part: 'resume', envelope: 'debezium', fields: resumeFields },
    ],
  };
  const settings = { models: resolve('.cache/models'), kafka: connection(), sources: [source] };
  writeFileSync(path, JSON.stringify(settings));
  return path;
}

async function begin(config: string): Promise<ServerProcess> {
  const server = await ServerProcess.start(tempDirectory(), ['--config', config]);
  await server.ask('PUT', '/v1/feature-views/member', MEMBER);
  return server;
}

async function timelineOf(server: ServerProcess): Promise<Revision[]> {
  const asked = { feature_view: 'member', entity_id: 'ada', limit: 100, include_vectors: true };
  const { body } = await server.send('POST', '/v1/timeline', asked);
  return (body as { revisions?: Revision[] }).revisions ?? [];
}

async function isGone(server: ServerProcess): Promise<boolean> {
  const timeline = await timelineOf(server);
  return timeline.some((row) => row.deleted && row.event_timestamp === second(50));
}

/** What the model makes of each text; null for null. */
async function embed(texts: readonly (string | null)[]): Promise<(number[] | null)[]> {
  const embedder = await startEmbedder(await openModel('no-such-folder', 'hashing'));
  const present = texts.filter((text) => text !== null);
  const vectors = await vectorsOf(embedder, present);
  await embedder.close();
  let next = 0;
  return texts.map((text) => (text === null ? null : Array.from(vectors[next++]!)));
}

async function lookUp(server: ServerProcess, question: object): Promise<number[] | null> {
  const { results } = await server.ask<{ results: [{ vectors: (number[] | null)[] }] }>(
    'POST',
    '/v1/lookup',
    { lookups: [{ feature_view: 'member', entity_ids: ['ada'] }], ...question },
  );
  return results[0].vectors[0]!;
}

/** Each answer, by the moment that is asked for and by what was known when. */
async function expectAnswers(
  server: ServerProcess,
  expected: readonly (readonly [asOf: number, knownAt: number, text: string | null])[],
): Promise<void> {
  const vectors = await embed(expected.map(([, , text]) => text));
  for (const [at, [asOf, knownAt]] of expected.entries()) {
    const question = { as_of: second(asOf), known_at: second(knownAt) };
    const given = await lookUp(server, question);
    const where = JSON.stringify(expected[at]);
    const wanted = vectors[at]!;
    expect(given === null, where).toBe(wanted === null);
    if (given === null || wanted === null) continue;
    const apart = given.map((value, dim) => Math.abs(value - wanted[dim]!));
    expect(Math.max(...apart), where).toBeLessThan(1e-6);
  }
}

describeKafka('an entity whose prompt takes fields of two topics', () => {
  const cluster = Cluster.open();

  test('has at each moment what both had said, is corrected by what comes late, and answers so after a replay (A2, A5, A7)', async () => {
    const [profiles, resumes] = [await cluster.topic(), await cluster.topic()];
    const server = await begin(configOf(profiles, resumes));
    const count = () => timelineOf(server).then(({ length }) => length);
    const baker = { headline: 'Baker', skills: ['bread', 'rye'] };
    await cluster.produce(profiles, [profile(10, baker)]);
    await expect.poll(count, SOON).toBe(1);
    await cluster.produce(resumes, [resume(20, 'c', 'I bake')]);
    await expect.poll(count, SOON).toBe(2);
    // The database leaves out a text that did not change, as it does of long ones.
    await cluster.produce(resumes, [resume(25, 'u', '__debezium_unavailable_value')]);
    await expect.poll(count, SOON).toBe(3);
    await cluster.produce(profiles, [profile(30, { headline: 'Chef', skills: [] })]);
    await expect.poll(count, SOON).toBe(4);
    // Learnt at 40: at 15 she was head baker. It holds until 30, where her profile said otherwise.
    const late = profile(15, { headline: 'Head baker', skills: ['bread'] }, 40);
    await cluster.produce(profiles, [late]);
    await expect.poll(count, SOON).toBeGreaterThan(6);
    // The delete of a row, and the tombstone that Debezium sends after it.
    await cluster.produce(resumes, [resume(45, 'd'), { key: 'ada', value: null }]);
    await cluster.produce(profiles, [profile(50, { gone: true })]);
    await expect.poll(() => isGone(server), SOON).toBe(true);

    const answers = [
      [9, 59, null],
      [10, 59, 'Baker. bread, rye.'],
      [14, 59, 'Baker. bread, rye.'],
      [15, 59, 'Head baker. bread.'],
      [15, 39, 'Baker. bread, rye.'],
      [20, 39, 'Baker. bread, rye. I bake'],
      [20, 59, 'Head baker. bread. I bake'],
      [25, 39, 'Baker. bread, rye. I bake'],
      [25, 59, 'Head baker. bread. I bake'],
      [30, 39, 'Chef. . I bake'],
      [30, 59, 'Chef. . I bake'],
      [45, 59, 'Chef. .'],
      [45, 44, 'Chef. . I bake'],
      [50, 59, null],
    ] as const;
    await expectAnswers(server, answers);
    const [one] = (
      await server.ask<{ dead_letters: unknown[] }>('GET', '/v1/dead-letters?feature_view=member')
    ).dead_letters;
    expect(one).toBeUndefined();

    // From zero, both at once: in whatever order they come.
    const again = await begin(configOf(profiles, resumes));
    await expect
      .poll(async () => (await again.send('GET', '/readyz')).body, SOON)
      .toMatchObject({
        checks: { 'source members': { partitions: [{ next_offset: 4 }, { next_offset: 4 }] } },
      });
    await expectAnswers(again, answers);
  });

  test('takes parts by REST too, and refuses what is of none', async () => {
    const server = await ServerProcess.start(tempDirectory());
    await server.ask('PUT', '/v1/feature-views/member', MEMBER);
    const push = async (records: object[]) =>
      server.ask<{ rejected: object[] }>('POST', '/v1/push', {
        feature_view: 'member',
        known: 'event',
        records: records.map((record) => ({ entity_id: 'ada', ...record })),
      });
    const { rejected } = await push([
      {
        event_timestamp: second(10),
        part: 'profile',
        fields: { headline: 'Baker', skills: 'rye' },
      },
      { event_timestamp: second(20), part: 'resume', fields: { text: 'I bake' } },
      { event_timestamp: second(21), fields: { text: 'Of no part' } },
      { event_timestamp: second(22), part: 'activity', fields: { text: 'Of another' } },
      { event_timestamp: second(30), part: 'resume', deleted: true },
    ]);
    expect(rejected).toMatchObject([
      { index: 2, code: 'BAD_INPUT', message: expect.stringContaining('got no part') },
      { index: 3, code: 'BAD_INPUT', message: expect.stringContaining('"activity"') },
    ]);
    await expectAnswers(server, [
      [10, 59, 'Baker. rye.'],
      [20, 59, 'Baker. rye. I bake'],
      [30, 59, 'Baker. rye.'],
    ]);
  });

  test('whose source names fields that the prompt does not read halts it before it reads', async () => {
    const [profiles, resumes] = [await cluster.topic(), await cluster.topic()];
    await cluster.produce(profiles, [profile(10, { headline: 'Baker', skills: [] })]);
    const server = await begin(configOf(profiles, resumes, { txet: 'text' }));
    await expect
      .poll(async () => (await server.send('GET', '/readyz')).body, SOON)
      .toMatchObject({
        checks: {
          'source members': {
            ok: false,
            state: 'halted',
            message: expect.stringContaining(
              `topic ${resumes}: fields has txet, expected what the prompt reads: text`,
            ),
          },
        },
      });
    expect(await timelineOf(server)).toEqual([]);
  });
});
