import { shown } from '../harness/bars.ts';
import { isOurs } from '../harness/page.ts';
import { publish } from '../harness/report.ts';
import type { JoinData } from './data.ts';
import { type Measured, requireEqualAnswers, rowsOf, SECONDS_AND_MEMORY } from './rounds.ts';
import { THREADS } from './threads.ts';

const MEBIBYTE = 2 ** 20;

interface Joins {
  name: string;
  title: string;
  command: string;
  data: JoinData;
  measured: readonly Measured[];
  /** The one whose time is 1. */
  baseline: string;
  /** About the peers. */
  text: readonly string[];
  isStandard: boolean;
}

/** Publishes joins of one spine by several, as seconds and memory. */
export function publishJoins(joins: Joins): void {
  const { name, title, command, data, measured, baseline, text, isStandard } = joins;
  const { rows, revisions } = data.shape;
  requireEqualAnswers(measured);
  const { found, digest } = measured[0]!.answer!;
  const base = measured.find((one) => one.name === baseline)!.median;
  const publishedText = [
    `All have the spine as Parquet, and ${THREADS} threads. Tidemark has the history in its store, durable; it took that in within ${shown(data.ingestSeconds)} s (${Math.round(revisions / data.ingestSeconds)} revisions a second). The others have it as uncompressed Parquet in the order of time, read anew each time. All write uncompressed Parquet to the same disk, and nobody waits for it to be flushed there. Tidemark’s time is a client’s, over HTTP, from the request until it says done. All inputs are in the page cache.`,
    ...text,
    `They took turns, after one to warm up, in processes that stay. The answers are the same, row by row and bit by bit (${found} rows with a vector, digest ${digest}). Own memory is what is not pages of files (RssAnon), the most that was seen.`,
  ];
  publish(
    {
      name,
      title,
      command,
      text: publishedText,
      table: [
        [
          '',
          's, median',
          's, all',
          'rows/s',
          'MB written',
          'own memory, MiB',
          `speed, ${baseline} = 1`,
        ],
        ...measured.map((one) => [
          one.name,
          shown(one.median),
          one.seconds.map(shown).join(', '),
          `${Math.round(rows / one.median)}`,
          shown((one.bytes ?? 0) / 1e6),
          shown(one.anonymousBytes / MEBIBYTE),
          shown(base / one.median),
        ]),
      ],
      panels: [
        { title: 'Seconds, less is better', unit: 's', bars: measured.map(secondsBar) },
        { title: 'Own memory at its peak', unit: 'MiB', bars: measured.map(memoryBar) },
      ],
      metrics: SECONDS_AND_MEMORY,
      rows: rowsOf(measured),
      results: { shape: data.shape, ingest_seconds: data.ingestSeconds, measured },
    },
    isStandard,
    new Date(),
  );
}

export function secondsBar({ name, median, seconds }: Measured) {
  const [least, most] = [Math.min(...seconds), Math.max(...seconds)];
  return { name, value: median, least, most, isOurs: isOurs(name) };
}

export function memoryBar({ name, anonymousBytes }: Measured) {
  return { name, value: anonymousBytes / MEBIBYTE, isOurs: isOurs(name) };
}
