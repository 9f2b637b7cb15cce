import { expect, test } from 'vitest';

import { sourceRecord } from '../../src/ingest/kafka/chunk.ts';
import { LetterOutbox } from '../../src/ingest/kafka/letter-outbox.ts';
import { header, type SourceRecord } from '../../src/ingest/source-record.ts';
import { RevisionBatch } from '../../src/store/batch.ts';
import { testStore } from '../support/store.ts';

const AT = { source: 's', topic: 't', partition: 0 };

/** A record with headers as the client of Kafka gives them. */
function recordWith(headers: object, timestamp = '0'): SourceRecord {
  const message = { key: null, value: Buffer.from('{'), offset: '0', timestamp, attributes: 0 };
  return sourceRecord('t', 0, { ...message, headers: headers as Record<string, Buffer> });
}

/** Commits the record as a dead letter, and says what is stored and what is published of it. */
async function letterOf({ value, headers, timestamp }: SourceRecord) {
  const store = testStore();
  const position = { ...AT, offset: 0 };
  const said = { reason: 'BAD_RECORD', message: 'expected JSON', key: null };
  await store.commit('job', 'v1', {
    rows: new RevisionBatch(8, 0),
    deadLetters: [{ position, ...said, value, headers, timestamp }],
    offset: { ...AT, expected: undefined, next: 1n },
  });
  const config = {
    name: 's',
    feature_view: 'job',
    version: 'v1',
    dead_letter_topic: true,
  } as const;
  const parcel = await new LetterOutbox(store, config).next(1);
  return {
    stored: store.version('job', 'v1').deadLetters.get(position)!,
    published: parcel!.messages[0]!.headers!,
  };
}

/** What the client gives of a header that stands once, under names that every object has. */
const clash = (name: string) => [({} as Record<string, unknown>)[name], Buffer.from('x')];

test.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'toJSON'])(
  'a header may be called %s, and stays with the dead letter',
  async (name) => {
    const value = name in {} ? clash(name) : Buffer.from('x');
    const record = recordWith(Object.fromEntries([[name, value]]));
    expect(header(record, name)).toBe('x');
    const { stored, published } = await letterOf(record);
    expect(Object.entries(stored.headers)).toEqual([[name, Buffer.from('x')]]);
    expect(Object.entries(published)).toContainEqual([name, Buffer.from('x')]);
  },
);

test('of headers with one name the last one counts, and a dead letter keeps them all', async () => {
  const [a, b] = [Buffer.from('a'), Buffer.from('b')];
  const record = recordWith({ twice: [a, b], none: null, some: [null, a], last: [a, null] });
  const read = ['twice', 'none', 'some', 'last', 'other'].map((name) => header(record, name));
  expect(read).toEqual(['b', undefined, 'a', undefined, undefined]);
  const { stored, published } = await letterOf(record);
  expect(stored.headers).toEqual({ twice: [a, b], none: null, some: [null, a], last: [a, null] });
  const empty = Buffer.alloc(0);
  expect(published).toMatchObject({ twice: [a, b], none: empty, some: [empty, a] });
});

test.each([
  ['9223372036854775807', undefined],
  ['-1', undefined],
  ['1000', '1970-01-01T00:00:01Z'],
])('a dead letter with the timestamp %s is published', async (timestamp, shown) => {
  const { published } = await letterOf(recordWith({}, timestamp));
  expect(published['tidemark-dlq-timestamp']).toBe(shown);
});
