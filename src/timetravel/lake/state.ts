import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync, inflateSync } from 'node:zlib';

import { z } from 'zod';

import { TidemarkError } from '../../ground/errors.ts';
import { isSystemError } from '../../ground/system-error.ts';
import { DIM_MAX, DTYPES } from '../../store/dtype.ts';
import { NumberSet } from '../../store/number-set.ts';
import { putFile, syncFolders } from './files.ts';
import { BUCKETS_MAX, OWN } from './layout.ts';

const FORMAT = 1;
const STATE = join(OWN, 'state.json');

const seq = z.int().min(0);

const schema = z.strictObject({
  format: z.literal(FORMAT),
  feature_view: z.string(),
  version: z.string(),
  entity: z.string(),
  join_key: z.string(),
  dim: z.int().min(1).max(DIM_MAX),
  /** Of the numbers in Tidemark; in the lake all are float32. */
  dtype: z.enum(DTYPES),
  buckets: z.int().min(1).max(BUCKETS_MAX),
  bucket_hash: z.literal('crc32(utf8(entity_id)) % buckets'),
  /** Every revision with a seq up to this one is in the table, and what has a greater one is not yet. */
  snapshot: seq,
  /** Questions of moments before it have no answer any more; null where there is no such. */
  horizon: z.string().nullable(),
  /** Whose snapshots these are. */
  lineage: z.strictObject({
    id: z.string(),
    parents: z.array(
      z.strictObject({ id: z.string(), up_to: seq, from: seq.optional() }).transform(
        // An absent `from` is absent, not undefined.
        ({ from, ...parent }) => (from === undefined ? parent : { ...parent, from }),
      ),
    ),
  }),
  /** The ids of the vectors in the table: see `packIds`. */
  vector_ids: z.string(),
});

/** What is told of a lake table, and where an export of it goes on. */
export type LakeState = z.output<typeof schema>;

/** Undefined where there is no table. Throws STORE_FORMAT for what is not one. */
export function readState(table: string): LakeState | undefined {
  const path = join(table, STATE);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (isSystemError(error) && error.code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    throw new TidemarkError(
      'STORE_FORMAT',
      `${path} is not the state of a lake table of format ${FORMAT}: export into an empty directory`,
      { cause: error },
    );
  }
}

export async function writeState(table: string, state: LakeState): Promise<void> {
  await putFile(table, STATE, [Buffer.from(`${JSON.stringify(state, undefined, 2)}\n`)]);
  await syncFolders(table, [STATE]);
}

/**
 * A bit an id, least first, deflated, as base64: ids are given one after another, so it is mostly
 * ones and small.
 */
export function packIds(ids: NumberSet): string {
  let bits = Buffer.alloc(1_024);
  let end = 0;
  for (const id of ids) {
    const at = Math.floor(id / 8);
    if (at >= bits.byteLength) {
      const grown = Buffer.alloc(Math.max(at + 1, bits.byteLength * 2));
      bits.copy(grown);
      bits = grown;
    }
    bits[at]! |= 1 << (id % 8);
    end = at + 1;
  }
  return deflateSync(bits.subarray(0, end)).toString('base64');
}

export function unpackIds(text: string): NumberSet {
  const ids = new NumberSet();
  const bits = inflateSync(Buffer.from(text, 'base64'));
  for (let at = 0; at < bits.byteLength; at++) {
    for (let bit = 0, byte = bits[at]!; byte >>> bit !== 0; bit++) {
      if (((byte >>> bit) & 1) === 1) ids.add(at * 8 + bit);
    }
  }
  return ids;
}
