/**
 * Feast's get_historical_features beside Tidemark, at ten thousand rows and ten times as many, and
 * so on, as long as it takes minutes. Run with `npm run bench -- join-feast`.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { FEAST_PACKAGES } from '../../test/conformance/feast/packages.ts';
import { pythonWith } from '../../test/python.ts';
import { shown } from '../harness/bars.ts';
import { askedOptions } from '../harness/options.ts';
import { Peer } from '../harness/peer.ts';
import { publish } from '../harness/report.ts';
import { peerContender, tidemark } from './contenders.ts';
import { type JoinData, withData } from './data.ts';
import {
  inTurns,
  type Measured,
  requireEqualAnswers,
  rowsOf,
  SECONDS_AND_MEMORY,
} from './rounds.ts';
import { Server } from './server.ts';
import { type Shape, shapeText } from './shape.ts';

const ROUNDS = 1;
/** A store that takes longer is not asked for ten times as many rows. */
const PATIENCE_SECONDS = 30;
const SIZES = [1e4, 1e5, 1e6];
const STORES = ['duckdb', 'dask'];
const FEAST = join(import.meta.dirname, 'ask_feast.py');

const { isStandard, words } = askedOptions(['words']);
const askedSizes = words.length > 0 ? words.map(Number) : SIZES.slice(0, 1);
const sizes = isStandard ? SIZES : askedSizes;
const feastPython = await pythonWith(FEAST_PACKAGES);
const results: { shape: Shape; measured: Measured[] }[] = [];
let stores = STORES;
for (const size of sizes) {
  const shape = { rows: size, revisions: size, dim: 128 };
  await withData(shape, async (data) => {
    const server = await Server.start(data);
    const peers = await Promise.all(stores.map(async (store) => feast(store, data)));
    const ours = tidemark('Tidemark', server, data);
    const measured = await inTurns([ours, ...peers], ROUNDS);
    await server.close();
    for (const peer of peers) await peer.close();
    // A Feast store may leave out the rows that have no answer.
    requireEqualAnswers(measured, 'found_digest');
    results.push({ shape, measured });
    stores = stores.filter((_, at) => measured[at + 1]!.median < PATIENCE_SECONDS);
  });
}
publish(
  {
    name: 'feast',
    title: 'Training join beside Feast',
    command: 'npm run bench -- join-feast',
    text: [
      `Feast’s \`get_historical_features\` (${FEAST_PACKAGES[0]}) with its duckdb and its dask offline store over one uncompressed Parquet file, to Arrow and then to uncompressed Parquet; Tidemark’s export of the same spine. 128-d vectors. A store that takes longer than ${PATIENCE_SECONDS} s is not asked for more. The answers of the rows that have one are the same, bit by bit; where Feast’s answer has fewer rows than the spine, it leaves out those without.`,
    ],
    table: [
      [
        'rows × revisions',
        'engine',
        's',
        'rows answered',
        'own memory, MiB',
        'speed, Tidemark = 1',
      ],
      ...results.flatMap(({ shape, measured }) =>
        measured.map((one) => [
          shapeText(shape),
          one.name,
          shown(one.median),
          `${one.answer!.rows}`,
          shown(one.anonymousBytes / 2 ** 20),
          (measured[0]!.median / one.median).toPrecision(2),
        ]),
      ),
    ],
    panels: results.map(({ shape, measured }) => ({
      title: shapeText(shape),
      unit: 's',
      bars: measured.map(({ name, median }) => ({
        name,
        value: median,
        isOurs: name === 'Tidemark',
      })),
    })),
    metrics: SECONDS_AND_MEMORY,
    rows: results.flatMap(({ shape, measured }) => rowsOf(measured, shapeText(shape))),
    results: { results },
  },
  isStandard,
  new Date(),
);

async function feast(store: string, data: JoinData) {
  const folder = join(data.folder, 'feast');
  await mkdir(folder, { recursive: true });
  const peer = new Peer(feastPython, [FEAST, store, data.history, data.spine, folder]);
  return peerContender(`Feast, ${store}`, peer, data, false);
}
