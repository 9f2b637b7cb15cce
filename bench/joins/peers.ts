/**
 * The join of `npm run bench -- join` as data frames do it. Run with `npm run bench -- join-peers`.
 */
import { engine, tidemark } from './contenders.ts';
import { withData } from './data.ts';
import { publishJoins } from './pages.ts';
import { inTurns } from './rounds.ts';
import { Server } from './server.ts';
import { askedShape, shapeText } from './shape.ts';

const ROUNDS = 3;

const { shape, isStandard } = askedShape({ rows: 1e6, revisions: 1e6, dim: 128 });
await withData(shape, async (data) => {
  const server = await Server.start(data);
  const peers = [
    engine('Polars, order of time', 'polars', data, false),
    engine('pandas and pyarrow, spine order', 'pandas', data, true),
  ];
  const ours = tidemark('Tidemark, spine order', server, data);
  const measured = await inTurns([ours, ...peers], ROUNDS);
  await server.close();
  for (const peer of peers) await peer.close();
  publishJoins({
    name: 'peers',
    title: `Training join beside data frames, ${shapeText(shape)}`,
    command: 'npm run bench -- join-peers',
    data,
    measured,
    baseline: 'Tidemark, spine order',
    text: [
      'Polars joins with `join_asof`, streams, and leaves its rows in the order of time, which is the least work. pandas joins row numbers with `merge_asof`, and pyarrow takes the vectors by them: pandas would hold each vector as an object.',
    ],
    isStandard,
  });
});
