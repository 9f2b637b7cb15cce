import fc from 'fast-check';
import { expect, test } from 'vitest';

import { ENCODING_NAMES } from '../../../src/ingest/formats/encodings.ts';
import { ENVELOPE_NAMES } from '../../../src/ingest/formats/envelopes.ts';
import { compileMapping } from '../../../src/ingest/mapping.ts';
import { sourceConfigSchema } from '../../../src/ingest/source-config.ts';
import { RECORDED_NAMES, recordedBytes, recordedSchemas } from './recorded.ts';

const TARGET = { version: 'v1', dim: 2, dtype: 'float32' } as const;
const NOW = Date.UTC(2026, 2, 1, 12) * 1_000;
const CODES = [
  'LIMIT_EXCEEDED',
  'BAD_RECORD',
  'BAD_ENTITY_ID',
  'BAD_TIMESTAMP',
  'FUTURE_TIMESTAMP',
  'BAD_VECTOR',
  'BAD_INPUT',
];

/** Each way to read a record that the settings allow. */
const READERS = ENCODING_NAMES.flatMap((encoding) =>
  ENVELOPE_NAMES.flatMap((envelope) =>
    (['vector', 'fields'] as const).flatMap((content) => {
      const { data } = sourceConfigSchema.safeParse({
        name: 's',
        feature_view: 'job',
        version: 'v1',
        topics: ['t'],
        known_timestamp: 'arrival',
        event_timestamp: { path: 'ts_ms', unit: 'ms' },
        entity_id: 'id',
        null_value: 'delete',
        content,
        encoding,
        envelope,
      });
      return data === undefined ? [] : [compileMapping(data, TARGET, 300e6, recordedSchemas)];
    }),
  ),
);

const anyBytes = fc.uint8Array({ maxLength: 64 }).filter((bytes) => bytes[0] !== 0);
const LEAVES = [null, true, 5, -0.5, 2 ** 60, 1e308, '', 'a', '__debezium_unavailable_value', '{'];
const NAMES =
  'op before after source ts_ms id payload schema key value previousValue metadata vector deleted';
/** JSON that looks like what envelopes hold, and is wrong somewhere. */
const nearly = fc
  .letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      fc.constantFrom<unknown>(...LEAVES),
      fc.constantFrom('c', 'u', 'd', 'r', 't', 'DELETE'),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...NAMES.split(' '), '__proto__'), tie('value'), {
        maxKeys: 8,
      }),
    ),
  }))
  .value.map((value) => Buffer.from(JSON.stringify(value)));
/** Recorded bytes with some changed, and perhaps cut; the number of their schema stays. */
const mutated = fc
  .tuple(
    fc.constantFrom(...RECORDED_NAMES),
    fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
    fc.option(fc.nat(200)),
  )
  .map(([name, edits, length]) => {
    const bytes = Uint8Array.from(recordedBytes(name));
    for (const [at, byte] of edits) bytes[5 + (at % (bytes.length - 5))] = byte;
    return length === null ? bytes : bytes.subarray(0, 5 + length);
  });
const anyHeaders = fc.dictionary(
  fc.constantFrom('ce_specversion', 'ce_subject', 'content-type', 'tidemark-dtype', 'ce_time'),
  fc
    .oneof(
      fc.constantFrom('application/json', 'application/avro', 'application/msgpack', 'float32'),
      fc.string(),
    )
    .map((text) => Buffer.from(text)),
);

test('whatever a record holds, every format makes of it a revision, a rejection or nothing', () => {
  const value = fc.option(fc.oneof(anyBytes, nearly, mutated));
  const key = fc.option(fc.oneof(anyBytes, mutated));
  fc.assert(
    fc.property(key, value, anyHeaders, fc.integer(), (key_, value_, headers, timestamp) => {
      const record = { topic: 't', partition: 0, offset: 0, key: key_, value: value_ };
      for (const map of READERS) {
        const mapping = map({ ...record, headers, timestamp }, NOW);
        if (mapping.kind === 'rejected') expect(CODES).toContain(mapping.code);
        else expect(['vector', 'text', 'delete', 'skip']).toContain(mapping.kind);
        if ('entityId' in mapping) {
          expect(mapping.entityId).not.toBe('');
          expect(Number.isSafeInteger(mapping.event)).toBe(true);
        }
      }
    }),
    { numRuns: 1_000 },
  );
});

test('every format is tried', () => {
  // 5 encodings, 5 envelopes, 2 contents, less what bytes cannot be.
  expect(READERS).toHaveLength(4 * 5 * 2 + 2);
});
