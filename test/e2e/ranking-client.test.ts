import { join } from 'node:path';

import { expect, test } from 'vitest';

import { JOB, pushTo, startWithJob } from '../api/harness.ts';
import { pythonWith, runPython } from '../python.ts';
import { TRAINER_PACKAGES } from '../support/trainers.ts';

const ASK = join(import.meta.dirname, 'ranking_client.py');
const EXAMPLES = join(import.meta.dirname, '../../examples');

test('the Python example looks vectors up and scores', async () => {
  const python = await pythonWith(TRAINER_PACKAGES);
  const api = await startWithJob();
  await api.send('PUT', '/v1/feature-views/member', { ...JOB, dtype: 'float16' });
  const at = { event_timestamp: '2026-02-28T10:00:00Z' };
  await pushTo(api, [{ entity_id: 1, vector: [3, 4], ...at }]);
  await pushTo(api, [{ entity_id: 'm', vector: [0.5, 1], ...at }], { feature_view: 'member' });
  expect(JSON.parse(await runPython(python, [ASK, EXAMPLES, api.url]))).toEqual({
    jobs: [
      'float32',
      [
        [3, 4],
        [-1, -1],
      ],
    ],
    present: [true, false],
    statuses: ['PRESENT', 'NOT_FOUND'],
    times: ['2026-02-28T10:00:00.000000', 'NaT'],
    members: ['float16', [[0.5, 1]], 'v1'],
    before: ['NOT_FOUND'],
    'one snapshot': true,
    scores: [5.5, -1],
    cosine: [Math.fround(0.8)],
    refused: [404, 'VIEW_NOT_FOUND'],
  });
});
