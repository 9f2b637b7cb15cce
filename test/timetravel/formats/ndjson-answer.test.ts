import { describe, expect, it } from 'vitest';

import { DTYPES } from '../../../src/store/dtype.ts';
import type { Answer } from '../../../src/timetravel/formats/answer.ts';
import { ndjsonEncoding } from '../../../src/timetravel/formats/ndjson-answer.ts';
import { sampleRows, wholeOf } from './read-back.ts';
import { sampleAnswer, sampleTable, sampleVectors, schemaOf } from './sample-answer.ts';

function linesOf(windows: readonly Answer[], summary = '{"rows":0}'): string[] {
  const schema = schemaOf(windows[0]!);
  return wholeOf(ndjsonEncoding, windows, schema, summary).toString('utf8').split('\n');
}

const HALVES = { dim: 2, dtype: 'float16' as const };

describe('an answer as NDJSON', () => {
  it('is one object a row, and a line with the summary', () => {
    expect(linesOf([sampleAnswer(2, 2, HALVES)], '{"rows":2}')).toEqual([
      '{"id":"job-2 ü","label":2000006,"weight":0.25,"kept":true,"country":"land 0","tags":null,' +
        '"moment":"2026-03-01T00:00:02.000002Z","job__vector":[0.1673583984375,0.77392578125],' +
        '"job__event_timestamp":"2026-03-01T00:00:02.000002Z","job__status":"PRESENT","job__reason":null}',
      '{"id":"job-3 ü","label":3000009,"weight":0.375,"kept":false,"country":"land 0","tags":[],' +
        '"moment":"2026-03-01T00:00:03.000003Z","job__vector":null,' +
        '"job__event_timestamp":null,"job__status":"NOT_FOUND","job__reason":"DELETED"}',
      '{"__summary":{"rows":2}}',
      '',
    ]);
  });

  it('passes the rows of an NDJSON spine through as they were written (A11)', () => {
    const written = ['{ "id" : "ü", "n": 1.0', '{', '{"big":12345678901234567890'];
    const answer = sampleAnswer(2, 3, { dim: 1, dtype: 'float32', present: () => false });
    const lines = written.map((line) => Buffer.from(line));
    const added =
      '"job__vector":null,"job__event_timestamp":null,"job__status":"NOT_FOUND","job__reason":"DELETED"}';
    expect(linesOf([{ ...answer, lines }]).slice(0, 3)).toEqual([
      `{ "id" : "ü", "n": 1.0,${added}`,
      `{${added}`,
      `{"big":12345678901234567890,${added}`,
    ]);
  });

  it.each(DTYPES)('is read as it was written, window after window: %s', (dtype) => {
    const shape = { dim: 3, dtype };
    const windows = [sampleAnswer(0, 11, shape), sampleAnswer(11, 5_000, shape)];
    const rows = linesOf(windows)
      .slice(0, -2)
      .map((line) => JSON.parse(line) as { moment: string; job__event_timestamp: string | null });
    const inUtc = ({ moment, job__event_timestamp: event, ...row }: (typeof rows)[number]) => ({
      ...row,
      // Date has no microseconds.
      moment: Math.floor(Date.parse(moment)),
      job__event_timestamp: event && Date.parse(event),
    });
    const expected = sampleRows(0, 5_011, shape).map((row) => ({
      ...row,
      moment: Math.floor(row['moment'] as number),
      job__event_timestamp:
        row['job__event_timestamp'] && Math.floor(row['job__event_timestamp'] as number),
    }));
    expect(rows.map(inUtc)).toEqual(expected);
  });

  it('may be of vectors alone, of several, or of no row', () => {
    const table = sampleTable(0, 1, 1, 'float32');
    const twin = sampleVectors('b', 1, 0, 1, { dim: 1, dtype: 'float32' });
    expect(linesOf([{ ...table, vectors: [...table.vectors, twin] }])).toEqual([
      '{"vector":[0.8414709568023682],"b":[0.8414709568023682]}',
      '{"__summary":{"rows":0}}',
      '',
    ]);
    expect(linesOf([sampleTable(0, 0, 1, 'float32')])).toEqual(['{"__summary":{"rows":0}}', '']);
  });
});
