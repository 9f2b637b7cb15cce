/**
 * A process that fills `v2` from the inputs of `v1`, and is killed on its way:
 * `node backfill-child.ts <directory>`. It says how many events it has read, and `done` at the end.
 */
import { writeSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';

import { TidemarkError } from '../../src/ground/errors.ts';
import { hasEnded } from '../../src/ingest/backfill/record.ts';
import { openFixture } from '../ingest/backfill/fixture.ts';

const [directory] = process.argv.slice(2) as [string];
const { backfills, store, sources, embedder } = await openFixture({ directory });
embedder.failures.set('bad', new TidemarkError('BAD_VECTOR', 'it is not finite'));
await backfills.start();
if (backfills.list(1, undefined).length === 0) {
  const from = { kind: 'inputs', version: 'v1' } as const;
  await backfills.submit({ view: 'job', version: 'v2', from, window: {} });
}
const { record } = backfills.list(1, undefined)[0]!;
for (let told = -1; !hasEnded(record); await turn()) {
  if (record.counts.read === told) continue;
  told = record.counts.read;
  writeSync(1, `${told}\n`);
}
await backfills.stop();
await sources.stop();
await store.close();
writeSync(1, 'done\n');
