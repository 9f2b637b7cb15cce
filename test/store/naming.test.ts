import { pack } from 'msgpackr';
import { describe, expect, test } from 'vitest';

import { type DeadLetter, RevisionBatch } from '../../src/store/batch.ts';
import { isAboutErased, partsOf } from '../../src/store/naming.ts';
import { testStore } from '../support/store.ts';

const SHORT = 'ada-17';
const UUID = '550e8400-e29b-41d4-a716-446655440000';
const LONG = 'https://jobs.example/ch/zürich/nurse?id='.padEnd(100, '7');

function letter(given: Partial<DeadLetter>): DeadLetter {
  return {
    position: { source: 's', topic: 't', partition: 0, offset: 0 },
    reason: 'BAD_INPUT',
    message: 'expected a text',
    key: null,
    value: null,
    headers: {},
    timestamp: 0,
    ...given,
  };
}

/** A string as Avro has it: twice its length in bytes, seven bits a byte, then the bytes. */
function avroString(text: string): Buffer {
  const bytes = Buffer.from(text);
  const twice = bytes.length * 2;
  const length = twice < 128 ? [twice] : [(twice & 0x7f) | 0x80, twice >> 7];
  return Buffer.concat([Buffer.from(length), bytes]);
}

/** Strings one after another in Confluent's wire format. */
function avroRecord(...strings: string[]): Buffer {
  return Buffer.concat([Buffer.from([0, 0, 0, 0, 1]), ...strings.map(avroString)]);
}

const formats: [string, (id: string) => DeadLetter][] = [
  ['MessagePack', (id) => letter({ value: pack({ id, title: 'a night nurse in Bern' }) })],
  ['Avro', (id) => letter({ value: avroRecord('before', id, 'a night nurse in Bern') })],
  ['a key of Avro', (id) => letter({ key: avroRecord(id) })],
  ['JSON', (id) => letter({ value: Buffer.from(`{"id":"${id}","title":`) })],
  ['fields with NUL between them', (id) => letter({ value: Buffer.from(`1\0${id}\0nurse`) })],
  ['a header that stands twice', (id) => letter({ headers: { id: [null, Buffer.from(id)] } })],
];

describe.each(formats)('a dead letter in %s', (_, of) => {
  test.each([SHORT, UUID, LONG])('that names the erased %s is not stored (A8)', async (id) => {
    const store = testStore();
    await store.erase({ entity: 'job' }, [id]);
    const { erasures } = store.version('job', 'v1');
    expect(isAboutErased(of(id), erasures)).toBe(true);
    expect(isAboutErased(of(`${id.slice(0, -1)}8`), erasures)).toBe(false);
    const rows = new RevisionBatch(8, 0);
    const { deadLetters } = await store.commit('job', 'v1', { rows, deadLetters: [of(id)] });
    expect(deadLetters).toEqual([]);
  });

  test.each([SHORT, UUID, LONG])('that came before %s was erased is found (A8)', (id) => {
    expect([...partsOf(of(id), new Set([id.length]))]).toContain(id);
  });
});
