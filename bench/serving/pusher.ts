/**
 * Pushes batches of new vectors as MessagePack at a steady pace, once for each line on standard
 * input: what it pushes is made when the line says `prepare <seconds>`, and sent when it says
 * `push`. Each line is answered by one of JSON.
 *
 *     node bench/serving/pusher.ts <url> <view> <dim> <entities> <batches a second> <batch>
 */
import { createInterface } from 'node:readline';

import { Packr } from 'msgpackr';

import { Transport } from '../../src/client/transport.ts';
import { DAY, FIRST_EVENT, idOf, Vectors } from '../harness/data-set.ts';
import { askAtPace, type Load } from '../harness/load.ts';

/** What a turn of pushing came to: `load` counts batches. */
export interface Pushed {
  load: Load;
  vectors: number;
}

const [url, view, ...numbers] = process.argv.slice(2) as [string, string, ...string[]];
const [dim, entities, aSecond, batch] = numbers.map(Number) as [number, number, number, number];
const transport = new Transport(url, 64);
const packr = new Packr({ useRecords: false });
const vectors = new Vectors(dim);
let revision = 1;
let next = 0;
let bodies: Buffer[] = [];

for await (const line of createInterface({ input: process.stdin })) {
  const [word, seconds] = line.split(' ');
  if (word === 'prepare') {
    bodies = Array.from({ length: Number(seconds) * aSecond }, nextBody);
    console.log('{}');
  } else {
    const load = await askAtPace(aSecond, bodies.length / aSecond, async (at) => send(bodies[at]!));
    const pushed: Pushed = { load, vectors: bodies.length * batch };
    console.log(JSON.stringify(pushed));
  }
}
transport.close();

/** One revision of each entity after the other, a day later each time all had one. */
function nextBody(): Buffer {
  const records = Array.from({ length: batch }, () => {
    const vector = Buffer.alloc(dim * 4);
    vectors.write(next, revision, vector);
    const record = {
      entity_id: idOf(view, next),
      event_timestamp: FIRST_EVENT + revision * DAY,
      vector,
    };
    next = (next + 1) % entities;
    if (next === 0) revision++;
    return record;
  });
  return packr.pack({ feature_view: view, records });
}

async function send(body: Buffer): Promise<void> {
  const { status, body: answer } = await transport.post({
    path: '/v1/push',
    headers: { 'content-type': 'application/vnd.msgpack', accept: 'application/json' },
    body,
    signal: AbortSignal.timeout(60_000),
    room: (bytes) => Buffer.allocUnsafeSlow(bytes),
  });
  const { rejected } = JSON.parse(answer.toString()) as { rejected?: object[] };
  if (status !== 200 || rejected?.length !== 0) throw new Error(`${status} ${answer.toString()}`);
}
