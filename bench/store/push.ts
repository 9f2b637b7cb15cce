/** Durable pushes beside Redis that flushes its log each time: `npm run bench -- push`. */
import { coresText, pinLoad, serverCores } from '../harness/cores.ts';
import { watchCpu } from '../harness/cpu.ts';
import { DISK, writeSynced } from '../harness/disk.ts';
import { withFolder } from '../harness/folder.ts';
import { askInFlight } from '../harness/load.ts';
import { askedOptions, commandOf, pageName } from '../harness/options.ts';
import { publishRows } from '../harness/page.ts';
import { redisText } from '../harness/redis.ts';
import { type Contender, measureInTurns, turnsText } from '../harness/rows.ts';
import { servedText } from '../serving/running.ts';
import { inProcess, overHttp, type PushTarget, REDIS, redis } from './push-contenders.ts';
import { RowSource } from './pushed-rows.ts';

const DIM = 768;
const VECTOR_BYTES = DIM * 4;
const ENTITIES = 20_000;
const SIZES = [1, 100, 1_000];
const FLIGHTS = [1, 8];

const options = askedOptions(['workers']);
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
    FLIGHTS.flatMap((flight) => [
      ...stored.map((one) => contenderOf(one, size, flight)),
      disk(folder, size, flight),
    ]),
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
      `Bytes on the disk a row: ${bytes.map((one) => `${one.name} ${one.bytes_a_row}`).join(', ')}, of ${VECTOR_BYTES} of the vector itself; Redis’s log also has what was overwritten, until it is rewritten.`,
      'The disk: one write of the vectors of all pushes in flight, and nothing else, at the end of a file, and fdatasync, again and again. It is what the disk takes durably from one who asks for nothing else; the last column is the share of it that each of them reaches. Disks of rented machines vary by the minute: compare within a group, where all took turns.',
      `${servedText(options)} ${turnsText(rounds, `${seconds} s`)} ${coresText(options.workers)}`,
    ],
    metrics: [
      { key: 'rows', title: 'rows/s', unit: 'rows/s', better: 'more' },
      { key: 'megabytes', title: 'vectors, MB/s', unit: 'MB/s', better: 'more' },
      { key: 'p50', title: 'p50, ms', unit: 'ms', better: 'less' },
      { key: 'p99', title: 'p99, ms', unit: 'ms', better: 'less' },
      { key: 'cpu', title: 'server CPU, µs a row', unit: 'µs', better: 'less' },
    ],
    rows,
    plotted: ['rows'],
    baselines: [REDIS, DISK].map((name) => ({ name, metric: 'rows' })),
    results: { dim: DIM, entities: ENTITIES, workers: options.workers, rounds, seconds, bytes },
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
    group: groupOf(size, flight),
    async turn() {
      const last = { id: '', vector: Buffer.alloc(VECTOR_BYTES) };
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
      return { ...ratesOf(rate * size), p50, p99, ...used };
    },
  };
}

/** What is on the disk at once where all that is in flight is stored together. */
function disk(folder: string, size: number, flight: number): Contender {
  return {
    name: DISK,
    group: groupOf(size, flight),
    async turn() {
      const rows = size * flight;
      const { rate, p50, p99 } = await writeSynced(folder, rows * VECTOR_BYTES, seconds);
      return { ...ratesOf(rate * rows), p50, p99 };
    },
  };
}

function ratesOf(rows: number): { rows: number; megabytes: number } {
  return { rows, megabytes: (rows * VECTOR_BYTES) / 1e6 };
}

function groupOf(size: number, flight: number): string {
  return `${size.toLocaleString('en')} a push, ${flight} in flight`;
}
