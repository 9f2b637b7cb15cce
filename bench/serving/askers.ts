import { Redis as IoRedis } from 'ioredis';
import { createClient, RESP_TYPES } from 'redis';

import { TidemarkClient } from '../../src/client/index.ts';
import { type DataSet, idOf, Vectors } from '../harness/data-set.ts';
import { lookupOf, type Ranking } from './ranking.ts';

/** A client that asks for rankings and looks at each vector of the answer. */
export interface Asker {
  ask(ranking: Ranking): Promise<void>;
  close(): void;
}

/** Ours: the numbers are typed views on the bytes that came. */
export function tidemarkAsker(url: string, bytes: number): Asker {
  const client = clientOf(url);
  return {
    async ask(ranking) {
      using answer = await client.lookup(lookupOf(ranking));
      let [sum, seen] = [0, 0];
      for (const { rows, dim, vectors } of answer.results) {
        for (let row = 0; row < rows; row++) {
          sum += vectors[row * dim]! + vectors[(row + 1) * dim - 1]!;
        }
        seen += vectors.byteLength;
      }
      requireRead(ranking, sum, seen, bytes);
    },
    close: () => client.close(),
  };
}

/** Ours, of a server that always has the same answer. */
export function constantAsker(url: string, bytes: number, constant: Ranking): Asker {
  const asker = tidemarkAsker(url, bytes);
  return {
    ask: async (ranking) => asker.ask({ ...ranking, sum: constant.sum }),
    close: () => asker.close(),
  };
}

/** Waits as long as it takes: a benchmark wants to know how long that is. */
export function clientOf(url: string): TidemarkClient {
  return new TidemarkClient({ url, deadlineMs: 60_000, connectionsMax: 64, retriesMax: 0 });
}

export function ioredisAsker(port: number, bytes: number): Asker {
  const client = new IoRedis(port, '127.0.0.1');
  return {
    async ask(ranking) {
      readAll(ranking, await client.mgetBuffer(keysOf(ranking)), bytes);
    },
    close: () => client.disconnect(),
  };
}

export async function nodeRedisAsker(port: number, bytes: number): Promise<Asker> {
  const client = createClient({ url: `redis://127.0.0.1:${port}` }).withTypeMapping({
    [RESP_TYPES.BLOB_STRING]: Buffer,
  });
  await client.connect();
  return {
    async ask(ranking) {
      readAll(ranking, await client.mGet(keysOf(ranking)), bytes);
    },
    close: () => client.destroy(),
  };
}

/** Puts the vectors of all views in, the newest of each entity, under `keyOf`. */
export async function fillRedis(
  port: number,
  { dim, revisions, views }: DataSet,
  keyOf: (view: string, entity: number) => string = idOf,
): Promise<void> {
  const client = new IoRedis(port, '127.0.0.1');
  const vectors = new Vectors(dim);
  for (const [view, entities] of Object.entries(views)) {
    for (let from = 0; from < entities; from += 1_000) {
      const pipeline = client.pipeline();
      for (let entity = from; entity < Math.min(entities, from + 1_000); entity++) {
        const bytes = Buffer.alloc(dim * 4);
        vectors.write(entity, revisions - 1, bytes);
        pipeline.set(keyOf(view, entity), bytes);
      }
      await pipeline.exec();
    }
  }
  client.disconnect();
}

function keysOf({ member, jobs }: Ranking): string[] {
  return [member, ...jobs];
}

function readAll(ranking: Ranking, vectors: readonly (Buffer | null)[], bytes: number): void {
  let [sum, seen] = [0, 0];
  for (const vector of vectors) {
    if (vector === null) throw new Error('Redis does not have one');
    sum += vector.readFloatLE(0) + vector.readFloatLE(vector.byteLength - 4);
    seen += vector.byteLength;
  }
  requireRead(ranking, sum, seen, bytes);
}

/** All have read the same. */
function requireRead(ranking: Ranking, sum: number, seen: number, bytes: number): void {
  if (sum === ranking.sum && seen === bytes) return;
  throw new Error(`read ${seen} bytes with the sum ${sum}, not ${bytes} with ${ranking.sum}`);
}
