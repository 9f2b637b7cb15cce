import { Dictionary, Field, Int8, makeData, Utf8, vectorFromArray } from 'apache-arrow';
import { expect, it } from 'vitest';

import { type Column, codeColumn } from '../../../src/timetravel/join/columns.ts';
import { batchOf } from '../../../src/timetravel/join/join-window.ts';

it('a dictionary of the spine may have the number that one of ours has', () => {
  const own = codeColumn('job__status', Uint8Array.of(0, 1), ['PRESENT', 'NOT_FOUND']);
  const { id } = own.field.type as Dictionary;
  const type = new Dictionary(new Utf8(), new Int8(), id);
  const dictionary = vectorFromArray(['at', 'de'], new Utf8());
  const data = makeData({ type, length: 2, data: Int8Array.of(1, 0), dictionary });
  const country: Column = { field: new Field('country', type, true), data };
  const batch = batchOf([country, own], 2);
  expect(batch.toArray().map((row) => row.toJSON())).toEqual([
    { country: 'de', job__status: 'PRESENT' },
    { country: 'at', job__status: 'NOT_FOUND' },
  ]);
});
