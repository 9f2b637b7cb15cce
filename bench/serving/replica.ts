/**
 * A read replica beside its leader, each a process of its own on one machine: what it costs the
 * leader, how far it is behind, how fast it comes from nothing, and what a reader that is slow does
 * to the leader's file. Run with `npm run bench -- replica`.
 */
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

import { pack } from 'msgpackr';

import { newFolder } from '../harness/folder.ts';
import { printGround } from '../harness/ground.ts';
import { batches, benchStore } from '../harness/jobs.ts';
import { seeded } from '../harness/random.ts';
import { Server } from '../harness/server.ts';
import { dataFile } from '../store/histories.ts';

const DIM = 768;
const ROWS = 60_000;
const PUSH_ROWS = 500;
const FLIGHT = 4;
const HISTORY = 1_000_000;

/** On a data directory, with words after `serve`. */
async function serve(data: string, ...args: string[]): Promise<Server> {
  return Server.start({ folder: newFolder(), data, args });
}

async function createView(server: Server): Promise<void> {
  const job = { entity: 'job', join_key: 'job_id', version: 'v1', dim: DIM, dtype: 'float32' };
  await server.ask('PUT', '/v1/feature-views/job', job);
}

let sent = 0;
const random = seeded(3);

function nextPush(): Uint8Array<ArrayBuffer> {
  const records = Array.from({ length: PUSH_ROWS }, () => {
    const numbers = new Float32Array(DIM).fill(random());
    numbers[sent % DIM] = random();
    sent++;
    const vector = Buffer.from(numbers.buffer);
    const event_timestamp = new Date(1.7e12 + sent * 1_000).toISOString();
    return { entity_id: `job-${(sent * 7_919) % 20_000}`, event_timestamp, vector };
  });
  return new Uint8Array(pack({ feature_view: 'job', known: 'event', records }));
}

/** Pushes so many revisions, made beforehand; how many a second the leader took. */
async function push(url: string, rows: number): Promise<number> {
  const bodies = Array.from({ length: rows / PUSH_ROWS }, nextPush).values();
  const start = performance.now();
  await Promise.all(
    Array.from({ length: FLIGHT }, async () => {
      for (const body of bodies) {
        const headers = { 'content-type': 'application/vnd.msgpack' };
        const answer = await fetch(`${url}/v1/push`, { method: 'POST', headers, body });
        if (answer.status !== 200) throw new Error(await answer.text());
        await answer.arrayBuffer();
      }
    }),
  );
  return rows / ((performance.now() - start) / 1_000);
}

async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1] ?? Number.NaN);
}

const fileOf = (data: string) => statSync(dataFile(data)).size;
const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(0);

/** Waits until the replica has what the leader has; seconds it took. */
async function catchUp(leader: string, replica: string): Promise<number> {
  const start = performance.now();
  const snapshot = await metric(leader, 'tidemark_store_snapshot');
  while ((await metric(replica, 'tidemark_store_snapshot')) < snapshot) await delay(20);
  return (performance.now() - start) / 1_000;
}

/** Looks at how far a replica is behind, until it is told to end. */
class Watch {
  private ended = new AbortController();
  private rows = 0;
  private seconds = 0;
  private watching: Promise<void>;

  constructor(leader: string, replica: string) {
    this.watching = this.watch(leader, replica);
  }

  async end(): Promise<{ seconds: string; rows: string }> {
    this.ended.abort();
    await this.watching;
    return { seconds: this.seconds.toFixed(2), rows: String(this.rows) };
  }

  private async watch(leader: string, replica: string): Promise<void> {
    while (!this.ended.signal.aborted) {
      const snapshot = await metric(leader, 'tidemark_store_snapshot');
      const rows = snapshot - (await metric(replica, 'tidemark_store_snapshot'));
      const seconds = await metric(replica, 'tidemark_replica_lag_seconds');
      this.rows = Math.max(this.rows, rows);
      this.seconds = Math.max(this.seconds, seconds);
      await delay(500);
    }
  }
}

/** Asks for all changes as a replica does, and takes so many bytes of them a second. */
async function readSlowly(url: string, bytesASecond: number): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  await once(socket, 'connect');
  socket.write(
    'GET /v1/changes?follow=true HTTP/1.1\r\nhost: x\r\naccept: application/vnd.tidemark.changes\r\n\r\n',
  );
  socket.on('error', () => {});
  socket.on('data', (part: Buffer) => {
    socket.pause();
    setTimeout(() => socket.resume(), (part.byteLength / bytesASecond) * 1_000);
  });
  return socket;
}

async function besideLoad(): Promise<void> {
  console.log(
    `Pushes of ${PUSH_ROWS} × ${DIM} float32 over HTTP, ${FLIGHT} in flight, ${ROWS} each.\n`,
  );
  console.log(
    '| with | leader rows/s | behind, most, s | behind, most, rows | caught up after, s | leader’s file, MiB |',
  );
  console.log('|---|---|---|---|---|---|');
  const data = newFolder();
  const leader = await serve(data);
  await createView(leader);
  await push(leader.url, 10_000);
  const measure = async (title: string, replica?: string): Promise<void> => {
    const before = fileOf(data);
    const watch = replica === undefined ? undefined : new Watch(leader.url, replica);
    const rate = await push(leader.url, ROWS);
    const after = replica === undefined ? '' : (await catchUp(leader.url, replica)).toFixed(2);
    const lag = (await watch?.end()) ?? { seconds: '', rows: '' };
    console.log(
      `| ${title} | ${Math.round(rate)} | ${lag.seconds} | ${lag.rows} | ${after} | +${mib(fileOf(data) - before)} |`,
    );
  };
  await measure('nobody');
  const slow = await readSlowly(leader.url, 2 ** 20);
  await measure('a reader of 1 MiB/s');
  slow.destroy();
  const replica = await serve(newFolder(), '--follow', leader.url);
  await catchUp(leader.url, replica.url);
  await measure('a replica', replica.url);
  await measure('a replica, again', replica.url);
  await replica.close();
  await measure('nobody, again');
  await leader.close();
}

async function fromNothing(): Promise<void> {
  const dim = 128;
  const { store, directory } = benchStore(dim);
  for (const rows of batches(HISTORY, 5_000, dim, (at) => `job-${(at * 7_919) % 50_000}`)) {
    await store.commit('job', 'v1', { rows });
  }
  const { snapshot } = store;
  await store.close();
  const leader = await serve(directory);
  const data = newFolder();
  const start = performance.now();
  const replica = await serve(data, '--follow', leader.url);
  while ((await metric(replica.url, 'tidemark_store_snapshot')) < snapshot) await delay(50);
  const seconds = (performance.now() - start) / 1_000;
  console.log(
    `\nFrom nothing: ${HISTORY} revisions × ${dim} float32 in ${seconds.toFixed(1)} s, ` +
      `${Math.round(HISTORY / seconds)} rows/s; the leader’s file ${mib(fileOf(directory))} MiB, ` +
      `the replica’s ${mib(fileOf(data))} MiB.`,
  );
  await replica.close();
  await leader.close();
}

printGround();
await besideLoad();
await fromNothing();
