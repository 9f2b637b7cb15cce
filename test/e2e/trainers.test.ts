import { join } from 'node:path';

import { expect, it } from 'vitest';

import { pythonWith } from '../python.ts';
import { TRAINER_PACKAGES } from '../support/trainers.ts';
import { pagePath, runPages, Workplace } from '../support/workplace.ts';

const CUT_OFF = join(import.meta.dirname, 'trainers/cut_off.py');

it.each(['pyarrow', 'polars', 'duckdb', 'pandas'])(
  'what the docs say of training with %s is so',
  async (library) => {
    const python = await pythonWith(TRAINER_PACKAGES);
    const place = await Workplace.start();
    const compared = await runPages(place, python, ['README.md', `${library}.md`]);
    expect(compared).toEqual({ 'README.md': 0, [`${library}.md`]: 3 });
  },
);

it('an answer that is cut off fails in every reader, and a part that was saved has no summary', async () => {
  const python = await pythonWith(TRAINER_PACKAGES);
  const place = await Workplace.start();
  await runPages(place, python, ['README.md']);
  const cut = { pyarrow: 'IncompleteRead', polars: 'IncompleteRead', duckdb: 'IncompleteRead' };
  expect(JSON.parse(await place.run(python, [CUT_OFF, pagePath('pyarrow.md')]))).toEqual({
    whole: '7 rows',
    'in a message': cut,
    'before the summary': cut,
    'before the end mark': cut,
    saved: '7 rows',
    'saved, asked for its summary': 'EOFError',
  });
});
