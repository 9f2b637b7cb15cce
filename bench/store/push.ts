/** Durable pushes beside Redis that flushes its log each time: `npm run bench -- push`. */
import { coresText, pinLoad, serverCores } from '../harness/cores.ts';
import { watchCpu } from '../harness/cpu.ts';
import { withFolder } from '../harness/folder.ts';
import { askInFlight } from '../harness/load.ts';
import { askedOptions, commandOf, pageName } from '../harness/options.ts';
import { publishRows } from '../harness/page.ts';
import { redisText } from '../harness/redis.ts';
import { type Contender, measureInTurns } from '../harness/rows.ts';
import { inProcess, overHttp, type PushTarget, redis } from './push-contenders.ts';
import { RowSource } from './pushed-rows.ts';

const DIM = 768;
const ENTITIES = 20_000;
const SIZES = [1, 100, 1_000];
const FLIGHTS = [1, 8];

const options = askedOptions();
const [rounds, seconds] = options.isStandard ? [5, 1.5] : [1, 0.5];

await withFolder(async (folder) => {
  pinLoad();
  const targets = [
    await overHttp(folder, DIM, options),
    inProcess(folder, DIM),
    await redis(folder, serverCores()),
  ];
  const stored = targets.map((target) => ({
    target,
    source: new RowSource(ENTITIES, DIM),
    rows: 0,
  }));
  const contenders = SIZES.flatMap((size) =>
    FLIGHTS.flatMap((flight) => stored.map((one) => contenderOf(one, size, flight))),
  );
  const rows = await measureInTurns(contenders, rounds);
  const bytes = stored.map(({ target, rows: count }) => ({
    name: target.name,
    bytes_a_row: Math.round(target.bytes() / count),
  }));
  for (const target of targets) await target.close();
  publishRows({
    name: pageName('push', options),
    title: 'Durable pushes beside Redis',
    command: commandOf('push', options),
    text: [
      `Vectors of ${DIM} float32, new ones each time, of ${ENTITIES.toLocaleString('en')} entities; every push is answered when it is on the disk. Tidemark over HTTP takes MessagePack, and keeps every revision; ${redisText()} (\`appendonly yes\`, \`appendfsync always\`) takes one MSET of the same ids and bytes through ioredis, and keeps the last. In process there is no HTTP, and the store has the core of who asks. After each turn a vector of the last push is read back.`,
      `Bytes on the disk a row: ${bytes.map((one) => `${one.name} ${one.bytes_a_row}`).join(', ')}, of ${DIM * 4} of the vector itself; Redis’s log also has what was overwritten, until it is rewritten.`,
      coresText(options.workers),
    ],
    metrics: [
      { key: 'rows', title: 'rows/s', unit: 'rows/s', better: 'more' },
      { key: 'p50', title: 'p50, ms', unit: 'ms', better: 'less' },
      { key: 'p99', title: 'p99, ms', unit: 'ms', better: 'less' },
      { key: 'cpu', title: 'server CPU, µs a row', unit: 'µs', better: 'less' },
    ],
    rows,
    plotted: ['rows'],
    baselines: [{ name: 'Redis, MSET', metric: 'rows' }],
    results: { dim: DIM, entities: ENTITIES, bytes },
    isStandard: options.isStandard,
  });
});

interface Stored {
  target: PushTarget;
  source: RowSource;
  /** That it has taken. */
  rows: number;
}

function contenderOf(stored: Stored, size: number, flight: number): Contender {
  const { target, source } = stored;
  return {
    name: target.name,
    group: `${size.toLocaleString('en')} a push, ${flight} in flight`,
    async turn() {
      const last = { id: '', vector: Buffer.alloc(DIM * 4) };
      const cpu = target.pid === undefined ? undefined : watchCpu(target.pid);
      const { rate, p50, p99, count } = await askInFlight(flight, seconds, async () => {
        const rows = source.take(size);
        await target.push(rows);
        stored.rows += size;
        last.id = rows.ids[0]!;
        last.vector.set(rows.vectors[0]!);
        source.giveBack(rows);
      });
      const used = cpu && { cpu: (cpu() * 1_000) / (count * size) };
      const read = await target.read(last.id);
      if (!last.vector.equals(read)) throw new Error(`${target.name} lost what it acknowledged`);
      return { rows: rate * size, p50, p99, ...used };
    },
  };
}
