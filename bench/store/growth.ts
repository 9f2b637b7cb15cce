/**
 * What a lookup in process costs as a store grows: `npm run bench -- growth`, and with ten million
 * entities `npm run bench -- growth full`, which takes 20 GB of disk and of memory.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';

import { withFolder } from '../harness/folder.ts';
import { askedOptions } from '../harness/options.ts';
import { dropFromCache } from '../harness/page-cache.ts';
import { publishRows } from '../harness/page.ts';
import { Peer } from '../harness/peer.ts';
import { type Contender, measureInTurns, type Row, turnsText } from '../harness/rows.ts';
import { dataFile, type History, type LookupPeer, makeHistory } from './histories.ts';
import { canLimit, MemoryGroup } from './limited.ts';

const PEER = join(import.meta.dirname, 'lookup-peer.ts');
const DIM = 128;
const IDS = 500;
/** Of those with long histories. */
const FEW = 100;
/** With room for all that an entity takes: its vector, its head, and what finds them. */
const RESIDENT_AN_ENTITY = 1_000;
const RESIDENT_BASE = 2 ** 26;
/** Memory as a multiple of the file, beside what the program itself takes. */
const LIMITS = [2, 0.5];
const PROGRAM_BYTES = 2 ** 27;

const options = askedOptions(['words']);
const isFull = options.words.includes('full');
const isWhole = options.isStandard || isFull;
const sizes = isWhole ? [1e4, 1e5, 1e6] : [1e3, 1e4];
if (isFull) sizes.push(1e7);
const lengths = isWhole ? [1, 10, 100, 1e3, 1e4] : [1, 10, 100];
const [rounds, seconds] = isWhole ? [5, 0.7] : [1, 0.3];

await withFolder(async (folder) => {
  const rows = [...(await byEntities(folder)), ...(await byRevisions(folder))];
  publishRows({
    name: isFull ? 'growth-full' : 'growth',
    title: 'Lookups as a store grows',
    command: isFull ? 'npm run bench -- growth full' : 'npm run bench -- growth',
    text: [
      `${IDS} random ids a lookup, vectors of ${DIM} float32, in process: resolving and gathering, without HTTP; µs a vector. Resident, all that is asked for lies in memory of the process; in the page cache, every read goes through lmdb. Histories are of ${FEW} entities, all resident; as of any moment of the whole history most answers are not among the newest revisions. ${turnsText(rounds, `${seconds} s`)}`,
      canLimit()
        ? `Limited, the process and the pages of the file that it reads have the memory that is said (a control group), beside ${PROGRAM_BYTES / 2 ** 20} MiB for the program; a quarter of it is for what is resident. The file was read once before.`
        : 'Memory smaller than the data was not measured: that takes root and control groups of version 1.',
    ],
    metrics: [
      { key: 'p50', title: 'p50, µs a vector', unit: 'µs', better: 'less' },
      { key: 'p99', title: 'p99', unit: 'µs', better: 'less' },
    ],
    rows,
    plotted: ['p50'],
    baselines: [
      { name: entitiesText(sizes[0]!), metric: 'p50' },
      { name: revisionsText(1), metric: 'p50' },
    ],
    results: { dim: DIM, ids: IDS, entities: sizes, revisions: lengths, rounds, seconds },
    isStandard: isWhole,
  });
});

/** More and more entities with one revision each. */
async function byEntities(folder: string): Promise<Row[]> {
  const histories = sizes.map((entities): History => ({ entities, revisions: 1, dim: DIM }));
  const directories = await made(folder, histories);
  const rows: Row[] = [];
  for (const isResident of [true, false]) {
    const lookups = histories.map((history, at) =>
      peerOf({ directory: directories[at]!, history }, isResident),
    );
    const contenders = lookups.map((peer, at) => ({
      peer,
      name: entitiesText(sizes[at]!),
      group: isResident ? 'resident' : 'in the page cache',
      asked: 'latest',
    }));
    rows.push(...(await measured(contenders)));
  }
  const [directory, history] = [directories.at(-1)!, histories.at(-1)!];
  return canLimit() ? [...rows, ...(await limited(directory, history))] : rows;
}

/** Longer and longer histories of a few entities. */
async function byRevisions(folder: string): Promise<Row[]> {
  const histories = lengths.map((revisions): History => ({ entities: FEW, revisions, dim: DIM }));
  const directories = await made(folder, histories);
  const lookups = histories.map((history, at) =>
    peerOf({ directory: directories[at]!, history }, true),
  );
  return measured(
    ['latest', 'as-of'].flatMap((asked) =>
      lookups.map((peer, at) => ({
        peer,
        name: revisionsText(lengths[at]!),
        group: asked === 'latest' ? 'latest' : 'as of any moment',
        asked,
      })),
    ),
  );
}

/** The largest once more, with memory for more than it, and for less. */
async function limited(directory: string, history: History): Promise<Row[]> {
  const file = dataFile(directory);
  const { size } = statSync(file);
  const rows: Row[] = [];
  for (const multiple of LIMITS) {
    const bytes = Math.floor(size * multiple);
    const group = new MemoryGroup(`tidemark-bench-${process.pid}`, bytes + PROGRAM_BYTES);
    // Pages that are there already are not the group's.
    dropFromCache(file);
    const residentBytes = Math.floor(bytes / 4);
    const words = peerWords({ directory, history, ids: IDS, residentBytes });
    const peer = new Peer(...group.within(process.execPath, words));
    try {
      await peer.run('read');
      const name = `memory for ${multiple} × the file`;
      const title = `${entitiesText(history.entities)}, limited`;
      rows.push(...(await measured([{ peer, name, group: title, asked: 'latest' }])));
    } finally {
      await peer.close();
      group.remove();
    }
  }
  return rows;
}

async function made(folder: string, histories: readonly History[]): Promise<string[]> {
  const directories: string[] = [];
  for (const history of histories) {
    const directory = join(folder, `${history.entities}x${history.revisions}`);
    console.error(`making ${directory}`);
    await makeHistory(directory, history);
    directories.push(directory);
  }
  return directories;
}

function peerOf(of: Pick<LookupPeer, 'directory' | 'history'>, isResident: boolean): Peer {
  const { entities } = of.history;
  const residentBytes = isResident ? RESIDENT_BASE + entities * RESIDENT_AN_ENTITY : 0;
  return new Peer(process.execPath, peerWords({ ...of, ids: IDS, residentBytes }));
}

function peerWords(of: LookupPeer): string[] {
  return [PEER, JSON.stringify(of)];
}

interface Asking {
  peer: Peer;
  name: string;
  group: string;
  /** See lookup-peer.ts. */
  asked: string;
}

/** Lets them take turns, and ends them. */
async function measured(asking: readonly Asking[]): Promise<Row[]> {
  const peers = new Set(asking.map(({ peer }) => peer));
  for (const peer of peers) await peer.run('warm');
  const contenders = asking.map(({ peer, name, group, asked }): Contender => ({
    name,
    group,
    async turn() {
      const { p50, p99 } = await peer.run<{ p50: number; p99: number }>(`${asked} ${seconds}`);
      return { p50, p99 };
    },
  }));
  const rows = await measureInTurns(contenders, rounds);
  for (const peer of peers) await peer.close();
  return rows;
}

function entitiesText(entities: number): string {
  return `${entities.toLocaleString('en')} entities`;
}

function revisionsText(revisions: number): string {
  return revisions === 1 ? '1 revision' : `${revisions.toLocaleString('en')} revisions`;
}
