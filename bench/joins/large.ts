/**
 * A training join whose answer is larger than memory, with as many threads and as much memory of its
 * own as a small one: ten million rows to five million revisions, beside a tenth of it. Run with
 * `npm run bench -- join-large`; it takes 30 GB of disk.
 */
import { rm } from 'node:fs/promises';

import { shown } from '../harness/bars.ts';
import { publish } from '../harness/report.ts';
import { naiveAnswer, tidemark } from './contenders.ts';
import { withData } from './data.ts';
import { memoryBar } from './pages.ts';
import {
  inTurns,
  type Measured,
  requireEqualAnswers,
  rowsOf,
  SECONDS_AND_MEMORY,
} from './rounds.ts';
import { Server } from './server.ts';
import { askedShape, type Shape, shapeText } from './shape.ts';

const ROUNDS = 2;
const MEBIBYTE = 2 ** 20;

const { shape: large, isStandard } = askedShape({ rows: 10e6, revisions: 5e6, dim: 384 }, 100);
const small: Shape = { rows: large.rows / 10, revisions: large.rows / 10, dim: large.dim };
const measured = [await measure(small), await measure(large)];
const [rate, rateLarge] = measured.map(({ bytes = 0, median }) => bytes / median) as [
  number,
  number,
];
publish(
  {
    name: 'large',
    title: `Training join, ${shapeText(large)}`,
    command: 'npm run bench -- join-large',
    text: [
      `Tidemark alone, inline vectors in spine order, uncompressed Parquet. The large one writes ${shown((rateLarge / rate) * 100)} % of the bytes a second of the small one. Own memory is what is not pages of files (RssAnon), the most that was seen of the whole server. The answers are those of bisection, row by row and bit by bit.`,
    ],
    table: [
      ['', 's, median', 's, all', 'GB written', 'MB/s', 'rows/s', 'own memory, MiB'],
      ...measured.map((one) => [
        one.name,
        shown(one.median),
        one.seconds.map(shown).join(', '),
        shown(one.bytes! / 1e9),
        shown(one.bytes! / one.median / 1e6),
        `${Math.round(one.rows / one.median)}`,
        shown(one.anonymousBytes / MEBIBYTE),
      ]),
    ],
    panels: [
      {
        title: 'MB a second',
        unit: 'MB/s',
        bars: measured.map(({ name, bytes = 0, median }) => ({
          name,
          value: bytes / median / 1e6,
          isOurs: true,
        })),
      },
      { title: 'Own memory at its peak', unit: 'MiB', bars: measured.map(memoryBar) },
    ],
    metrics: SECONDS_AND_MEMORY,
    rows: rowsOf(measured),
    results: { measured },
  },
  isStandard,
  new Date(),
);

async function measure(shape: Shape): Promise<Measured & { rows: number }> {
  let found: Measured | undefined;
  await withData(shape, async (data) => {
    const naive = await naiveAnswer(data);
    // It is as large as the store, and has been read for the last time.
    await rm(data.history);
    const server = await Server.start(data);
    const [one] = await inTurns([tidemark(shapeText(shape), server, data)], ROUNDS);
    await server.close();
    requireEqualAnswers([one!, { ...one!, name: 'bisection', answer: naive }]);
    found = one;
    console.error(`taken in within ${data.ingestSeconds.toFixed(1)} s`);
  });
  return { ...found!, rows: shape.rows };
}
