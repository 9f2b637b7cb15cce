import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, it } from 'vitest';

import { ANSWER_FORMATS } from '../../src/timetravel/formats/answer.ts';
import { encodingOf, extensionOf } from '../../src/timetravel/formats/encodings.ts';
import { withReigns } from '../../src/timetravel/join/reigns.ts';
import { pythonWith, runPython } from '../python.ts';
import { planOf, refOf } from '../support/join-plan.ts';
import { arrowSpine, sourceOf, targetIn, testPool, windowsOf } from '../support/joins.ts';
import { batchOf, modelVersion, TestClock, testStore, viewOf } from '../support/store.ts';
import { tempDirectory } from '../support/temp.ts';
import { TRAINER_PACKAGES } from '../support/trainers.ts';

const SCRIPT = join(import.meta.dirname, 'alias_as_of.py');
const KEPT = { kept_until: undefined };
const ROWS = 400;

it('trainers read in every format which version each row is of, through promotion, rollback and retirement', async () => {
  const clock = new TestClock();
  const store = testStore(viewOf('job', 3), clock);
  for (const [at, version] of ['v1', 'v2', 'v3'].entries()) {
    if (at > 0) store.addVersion('job', modelVersion(version, 3));
    const rows = batchOf([{ id: 'a', event: 10, vector: [at + 1, 0.5, -1] }], 3);
    await store.commit('job', version, { rows });
  }
  for (const version of ['v2', 'v3', 'v1']) {
    clock.now += 1_000;
    await store.promote('job', version, KEPT);
  }
  await store.retire('job', 'v3', {});
  // Every tenth row has no moment; v1 reigns until 2000, v2 until 3000, v3 until 4000, and v1 again.
  const moments = Array.from({ length: ROWS }, (_, row) => (row % 10 === 9 ? null : row * 12));
  const expected = moments.map((moment) => {
    if (moment === null) return [null, null];
    if (moment >= 2_000 && moment < 3_000) return ['v2', 2];
    if (moment >= 3_000 && moment < 4_000) return ['v3', null];
    return ['v1', moment < 10 ? null : 1];
  });
  const folder = tempDirectory();
  writeFileSync(join(folder, 'expected.json'), JSON.stringify(expected));
  const pool = testPool(1);
  const refs = [withReigns(refOf(store), store.catalogue, store.snapshot, undefined)];
  const spine = arrowSpine(moments.map((moment) => ({ id: 'a', moment })));
  for (const format of ANSWER_FORMATS) {
    const plan = planOf(store, { refs, format });
    const path = join(folder, `answer${extensionOf(format)}`);
    if (encodingOf(format) === undefined) {
      // Of this format each window is a file by itself.
      const target = { ...targetIn(), part: () => path };
      const source = sourceOf(spine, ROWS);
      await windowsOf({ store, pool, plan, source, target });
    } else {
      const source = sourceOf(spine, 150);
      const windows = await windowsOf({ store, pool, plan, source, target: 'stream' });
      writeFileSync(path, Buffer.concat(windows.flatMap(({ chunks }) => chunks ?? [])));
    }
  }
  const python = await pythonWith(TRAINER_PACKAGES);
  const counts = (version: string | null) => [
    version,
    expected.filter(([own]) => own === version).length,
  ];
  const found = await runPython(python, [SCRIPT, folder]);
  expect(JSON.parse(found)).toEqual(['v1', 'v2', 'v3', null].map(counts));
});
