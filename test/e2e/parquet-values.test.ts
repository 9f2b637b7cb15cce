import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { RecordBatchReader } from 'apache-arrow';
import { expect, it } from 'vitest';

import type { Answer } from '../../src/timetravel/formats/answer.ts';
import { parquetEncoding } from '../../src/timetravel/formats/parquet.ts';
import { pythonWith, runPython } from '../python.ts';
import { tempDirectory } from '../support/temp.ts';
import { TRAINER_PACKAGES } from '../support/trainers.ts';
import { wholeOf } from '../timetravel/formats/read-back.ts';
import { sampleVectors } from '../timetravel/formats/sample-answer.ts';

const SCRIPT = join(import.meta.dirname, 'parquet_values.py');
/** So long that a row group has few rows; none of them has one. */
const SHAPE = { dim: 8_192, dtype: 'float32', present: () => false } as const;

it('engines read numbers, moments and texts bit by bit, and find the same whether they skip row groups or not', async () => {
  const folder = tempDirectory();
  const python = await pythonWith(TRAINER_PACKAGES);
  await runPython(python, [SCRIPT, 'write', folder]);
  const [batch] = RecordBatchReader.from(await readFile(join(folder, 'spine.arrows')));
  // Cut where no byte of a bitmap ends.
  const cuts = [0, 2_051, 4_800, batch!.numRows];
  const windows = cuts.slice(1).map((to, index): Answer => {
    const from = cuts[index]!;
    const vectors = [sampleVectors('vector', batch!.numCols, from, to - from, SHAPE)];
    return {
      firstRow: from,
      batch: batch!.slice(from, to),
      vectors,
      spineColumns: batch!.numCols,
    };
  });
  await writeFile(join(folder, 'answer.parquet'), wholeOf(parquetEncoding, windows));
  expect(await runPython(python, [SCRIPT, 'check', folder])).toBe('');
});
