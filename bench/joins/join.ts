/**
 * A training join of a million rows to a million revisions, from a spine on the disk to part files:
 * Tidemark's job beside DuckDB, on the same vectors, with as many threads. Run with
 * `npm run bench -- join`; `node bench/joins/join.ts 100000 100000 128` is a look at a smaller one.
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
    engine('DuckDB', 'duckdb', data, false),
    engine('DuckDB, no order kept', 'duckdb-any-order', data, false),
    engine('DuckDB, vectors by row number', 'duckdb-late', data, false),
    engine('DuckDB, spine order', 'duckdb-spine-order', data, true),
  ];
  const ours = [
    tidemark('Tidemark, spine order', server, data),
    tidemark('Tidemark, any order', server, data, { order: 'entity' }),
    tidemark('Tidemark, vectors once', server, data, { vectors: 'ref', vector_format: 'parquet' }),
  ];
  const measured = await inTurns([...ours, ...peers], ROUNDS);
  await server.close();
  for (const peer of peers) await peer.close();
  publishJoins({
    name: 'join',
    title: `Training join, ${shapeText(shape)}`,
    command: 'npm run bench -- join',
    data,
    measured,
    baseline: 'DuckDB',
    text: [
      'DuckDB joins with ASOF and writes with COPY, which does not leave the rows in the order of the spine; without `preserve_insertion_order` it need not keep any. By row number: it joins rows without vectors first and takes the vectors then. In spine order: it sorts the answer, too.',
    ],
    isStandard,
  });
});
