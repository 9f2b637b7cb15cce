/**
 * What exports cost those who look up meanwhile: lookups at a steady pace, of a server with nothing
 * else to do, during one export after the other, and during two at once. Run with
 * `npm run bench -- join-latency`.
 */
import { once } from 'node:events';
import { Agent, request } from 'node:http';

import { shown } from '../harness/bars.ts';
import { askAtPace } from '../harness/load.ts';
import { seeded } from '../harness/random.ts';
import { publish } from '../harness/report.ts';
import { withData } from './data.ts';
import { Server } from './server.ts';
import { askedShape, entitiesOf, shapeText } from './shape.ts';

const LOOKUPS_A_SECOND = 100;
const IDS = 100;
const EXPORTS = [0, 1, 2];
const NAMES = ['no export', 'one export', 'two exports'];

const agent = new Agent({ keepAlive: true, maxSockets: 64 });
const { shape, isStandard } = askedShape({ rows: 1e6, revisions: 1e6, dim: 128 });
const lasting = isStandard ? 20 : 5;
await withData(shape, async (data) => {
  const server = await Server.start(data);
  const random = seeded(5);
  const bodies = Array.from({ length: 64 }, () => bodyOf(random, entitiesOf(shape)));
  const ask = async (at: number) => lookUpOnce(server.url, bodies[at % bodies.length]!);
  await askAtPace(LOOKUPS_A_SECOND, 2, ask);
  const results = [];
  for (const exports of EXPORTS) {
    const state = { isDone: false, count: 0, seconds: 0 };
    const load = Array.from({ length: exports }, async () =>
      keepExporting(server, data.spine, state),
    );
    const { p50, p99, most } = await askAtPace(LOOKUPS_A_SECOND, lasting, ask);
    state.isDone = true;
    await Promise.all(load);
    const seconds = state.seconds / state.count;
    const lookups = LOOKUPS_A_SECOND * lasting;
    results.push({ exports, lookups, p50, p99, most, seconds });
  }
  await server.close();
  agent.destroy();
  publish(
    {
      name: 'latency',
      title: `Lookups during exports, ${shapeText(shape)}`,
      command: 'npm run bench -- join-latency',
      text: [
        `${LOOKUPS_A_SECOND} lookups a second of ${IDS} ids each for ${lasting} s, as safetensors over HTTP, timed from when each was due. An export is inline vectors in spine order, and the next begins when one is done. Server and client share the machine; nobody is refused for having to wait (\`limits.max_wait_ms: 0\`).`,
      ],
      table: [
        ['exports at once', 'lookup p50, ms', 'p99, ms', 'most, ms', 's an export'],
        ...results.map(({ exports, p50, p99, most, seconds }) => [
          `${exports}`,
          ...[p50, p99, most].map(shown),
          exports === 0 ? '' : shown(seconds),
        ]),
      ],
      panels: [
        {
          title: 'Lookup p99, less is better',
          unit: 'ms',
          bars: results.map(({ exports, p99 }) => ({
            name: NAMES[exports]!,
            value: p99,
            isOurs: true,
          })),
        },
      ],
      metrics: [
        { key: 'p50', title: 'lookup p50, ms', unit: 'ms', better: 'less' },
        { key: 'p99', title: 'lookup p99, ms', unit: 'ms', better: 'less' },
      ],
      rows: results.map(({ exports, p50, p99 }) => ({
        name: NAMES[exports]!,
        group: '',
        values: { p50: [p50], p99: [p99] },
      })),
      results: { shape, results },
    },
    isStandard,
    new Date(),
  );
});

function bodyOf(random: () => number, entities: number): Buffer {
  const entity_ids = Array.from({ length: IDS }, () => {
    const entity = Math.floor(random() * entities);
    return `job-${String(entity).padStart(7, '0')}`;
  });
  return Buffer.from(JSON.stringify({ lookups: [{ feature_view: 'job', entity_ids }] }));
}

async function lookUpOnce(url: string, body: Buffer): Promise<void> {
  const asked = request(`${url}/v1/lookup`, {
    method: 'POST',
    agent,
    headers: {
      'content-type': 'application/json',
      'content-length': body.byteLength,
      accept: 'application/vnd.safetensors',
    },
  });
  asked.end(body);
  const [answer] = await once(asked, 'response');
  if (answer.statusCode !== 200) throw new Error(`lookup: ${answer.statusCode}`);
  answer.resume();
  await once(answer, 'end');
}

async function keepExporting(
  server: Server,
  spine: string,
  state: { isDone: boolean; count: number; seconds: number },
): Promise<void> {
  while (!state.isDone) {
    const run = await server.export(spine);
    state.count++;
    state.seconds += run.seconds;
    await server.remove(run);
  }
}
