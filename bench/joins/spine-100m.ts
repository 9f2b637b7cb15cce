/**
 * A spine of a hundred million rows with `vectors=ref`: each row has the answer that bisection gives
 * it, each vector is there once, and the server's own memory stays within its setting and what it
 * has anyway. Run with `npm run test:spine-100m`; it takes 10 GB of disk.
 */
import { watchMemory } from '../harness/memory.ts';
import { naiveAnswer, tidemark } from './contenders.ts';
import { withData } from './data.ts';
import { Server } from './server.ts';
import { askedShape, shapeText } from './shape.ts';

/** Of the server without any join. */
const IDLE_BYTES = 200 * 2 ** 20;
const MEMORY_BYTES = 2 ** 30;

const { shape } = askedShape({ rows: 100e6, revisions: 1e6, dim: 128 });
await withData(shape, async (data) => {
  const server = await Server.start(data, { memory_bytes: MEMORY_BYTES });
  const stopWatching = watchMemory(server.pid);
  const options = { vectors: 'ref', vector_format: 'parquet' } as const;
  const run = await tidemark('Tidemark', server, data, options).run();
  const { anonymousBytes } = stopWatching();
  const [answer, naive] = [await run.answer!(), await naiveAnswer(data)];
  await server.close();
  const mebibytes = Math.round(anonymousBytes / 2 ** 20);
  console.log(
    `${shapeText(shape)}: ${run.seconds.toFixed(1)} s, ${mebibytes} MiB of own memory, ${answer.found} found`,
  );
  if (answer.digest !== naive.digest) {
    throw new Error(`${JSON.stringify(answer)}, by bisection ${JSON.stringify(naive)}`);
  }
  if (anonymousBytes > MEMORY_BYTES + IDLE_BYTES) {
    throw new Error(`${mebibytes} MiB is more than it was given`);
  }
});
