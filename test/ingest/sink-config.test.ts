import { expect, test } from 'vitest';

import { configSchema } from '../../src/config.ts';

const kafka = { brokers: ['localhost:9092'] };
const sink = { name: 'out', feature_view: 'job', version: 'v1', topic: 'jobs' };
const source = {
  name: 's',
  feature_view: 'job',
  version: 'v1',
  content: 'vector',
  known_timestamp: 'record',
  topics: ['a', 'b'],
};

function problemsOf(config: object): string[] {
  const { error } = configSchema.safeParse(config);
  return (error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`);
}

test('a sink begins at the beginning unless it is told otherwise', () => {
  const { sinks } = configSchema.parse({
    kafka,
    sinks: [sink, { ...sink, name: 'b', from: 'end' }],
  });
  expect(sinks.map(({ from }) => from)).toEqual(['beginning', 'end']);
});

test('sinks have brokers to write to, and names of their own', () => {
  expect(problemsOf({ sinks: [sink] })).toEqual([
    'kafka: expected the brokers that the sinks write to',
  ]);
  expect(problemsOf({ kafka, sinks: [sink, sink] })).toEqual([
    'sinks: expected another name for each sink: positions are kept by it',
  ]);
});

function lettersTo(dead_letter_topic: unknown): unknown {
  const config = configSchema.parse({ kafka, sources: [{ ...source, dead_letter_topic }] });
  return config.sources[0]!.dead_letter_topic;
}

test('a source takes a topic for its dead letters, or one for each of its own', () => {
  expect(lettersTo('graveyard')).toBe('graveyard');
  expect(lettersTo(true)).toBe(true);
  expect(lettersTo(undefined)).toBeUndefined();
});

test.each([
  ['b', ['a', 'b']],
  [true, ['a', 'a.dlq']],
])(
  'dead letters to %s are refused where the source reads that topic',
  (dead_letter_topic, names) => {
    expect(
      problemsOf({ kafka, sources: [{ ...source, topics: names, dead_letter_topic }] }),
    ).toEqual([
      'sources.0.dead_letter_topic: expected a topic that the source does not read: dead letters would breed others',
    ]);
  },
);
