import { join } from 'node:path';

import { expect, test } from 'vitest';

import { JOB, minutesAgo, pushTo, startWithJob } from '../api/harness.ts';
import { FEAST_PACKAGES } from '../conformance/feast/packages.ts';
import { pythonWith, runPython } from '../python.ts';

/** Feast's numbers of statuses. */
const [PRESENT, NOT_FOUND] = [1, 3];

test('Feast’s remote online store reads vectors from Tidemark', async () => {
  const python = await pythonWith(FEAST_PACKAGES);
  const api = await startWithJob();
  const member = { ...JOB, entity: 'member', join_key: 'member_id' };
  await api.send('PUT', '/v1/feature-views/member', member);
  const at = { event_timestamp: minutesAgo(10) };
  await pushTo(api, [
    { entity_id: 1, vector: [0.5, 1], ...at },
    { entity_id: 2, vector: [3, -4], ...at },
  ]);
  await pushTo(api, [{ entity_id: 'm', vector: [7, 8], ...at }], { feature_view: 'member' });
  const told = await runPython(python, [join(import.meta.dirname, 'ask_online.py'), api.url]);
  expect(JSON.parse(told.trim().split('\n').at(-1)!)).toEqual({
    values: {
      job_id: [1, 2],
      member_id: ['m', 'none'],
      job__vector: [
        [0.5, 1],
        [3, -4],
      ],
      member__vector: [[7, 8], null],
    },
    statuses: [
      [PRESENT, PRESENT],
      [PRESENT, PRESENT],
      [PRESENT, PRESENT],
      [PRESENT, NOT_FOUND],
    ],
  });
});
