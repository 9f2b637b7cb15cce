import { isUtf8 } from 'node:buffer';

import { isMicros, formatInstant } from '../ground/time.ts';
import { type HeaderValue, RevisionBatch } from '../store/batch.ts';
import type { Store } from '../store/store.ts';
import { encodeCursor, type FoundLetter, type LetterFilter, readLetters } from './letter-pages.ts';
import { JSON_TYPE } from './media.ts';
import type { ApiServer, Context } from './route.ts';
import { answer, problems } from './schemas/common.ts';
import {
  type DeadLetterAnswer,
  deadLettersAnswer,
  deadLettersBody,
  deadLettersQuery,
  dropAnswer,
  replayAnswer,
} from './schemas/dead-letters.ts';

const config = { produces: [JSON_TYPE] };
const tags = ['operations'];
/** A page ends when the values in it come to so many bytes. */
const PAGE_BYTES = 4 * 1_048_576;
/** Letters that are tried again, or dropped, at once. */
const GROUP_LETTERS = 100;
const refusals = ['BAD_REQUEST', 'VIEW_NOT_FOUND', 'VERSION_NOT_FOUND', 'STORE_CORRUPT'] as const;
const writeRefusals = [
  ...refusals,
  'READ_ONLY_REPLICA',
  'LIMIT_EXCEEDED',
  'UNSUPPORTED_MEDIA_TYPE',
  'STORE_UNAVAILABLE',
] as const;

export async function deadLetterRoutes(server: ApiServer, context: Context): Promise<void> {
  const { store, replayLetters } = context;

  server.get(
    '/v1/dead-letters',
    {
      config,
      schema: {
        tags,
        summary: 'List dead letters',
        description:
          'Records of Kafka that could not become revisions, as they came, with the reason; by view, version, source, topic, partition and offset. ' +
          'A page may end before its limit, where values are long.',
        querystring: deadLettersQuery,
        response: { 200: answer('A page of them.', deadLettersAnswer), ...problems(...refusals) },
      },
    },
    async ({ query: { limit, cursor, ...filter } }) => {
      for await (const { letters, next } of groups(store, filter, cursor, limit)) {
        return { dead_letters: letters.map(show), next };
      }
      return { dead_letters: [], next: null };
    },
  );

  server.post(
    '/v1/dead-letters/replay',
    {
      config: { ...config, writes: true },
      schema: {
        tags,
        summary: 'Try dead letters again',
        description:
          'Takes the original bytes through their source’s settings of now, in the order of their positions. What succeeds is committed and is a dead letter no more, in one commit; what fails again stays, with its new reason. The source may run meanwhile, or be halted.',
        body: deadLettersBody,
        response: {
          200: answer('What became of them.', replayAnswer),
          ...problems(
            ...writeRefusals,
            'NO_MODEL',
            'MODEL_INVALID',
            'MODEL_CHANGED',
            'MODEL_DRIFTED',
            'OVERLOADED',
          ),
        },
      },
    },
    async ({ body: { limit, cursor, ...filter } }) => {
      const total = {
        tried: 0,
        latest: 0,
        history: 0,
        duplicate: 0,
        skipped: 0,
        erased: 0,
        failed: 0,
        unconfigured: 0,
      };
      let next: string | null = null;
      for await (const group of groups(store, filter, cursor, GROUP_LETTERS)) {
        const letters = group.letters.slice(0, limit - total.tried);
        for (const run of versionsOf(letters)) {
          const done = await replayLetters(
            run[0]!,
            run.map(({ letter }) => letter),
          );
          for (const [what, count] of Object.entries(done))
            total[what as keyof typeof done] += count;
        }
        total.tried += letters.length;
        next = letters.length < group.letters.length ? encodeCursor(letters.at(-1)!) : group.next;
        if (total.tried >= limit) break;
      }
      return { ...total, next };
    },
  );

  server.post(
    '/v1/dead-letters/drop',
    {
      config: { ...config, writes: true },
      schema: {
        tags,
        summary: 'Drop dead letters',
        description:
          'Removes records that nobody wants. They are gone from here for good; Kafka may still have them.',
        body: deadLettersBody,
        response: {
          200: answer('How many were removed.', dropAnswer),
          ...problems(...writeRefusals),
        },
      },
    },
    async ({ body: { limit, cursor, ...filter } }) => {
      let dropped = 0;
      let next: string | null = null;
      for await (const group of groups(store, filter, cursor, GROUP_LETTERS)) {
        const letters = group.letters.slice(0, limit - dropped);
        for (const run of versionsOf(letters)) dropped += await drop(store, run);
        next = letters.length < group.letters.length ? encodeCursor(letters.at(-1)!) : group.next;
        if (dropped >= limit) break;
      }
      return { dropped, next };
    },
  );
}

/** Found letters, so many or so many bytes of them together. */
async function* groups(
  store: Store,
  filter: LetterFilter,
  cursor: string | undefined,
  limit: number,
): AsyncGenerator<{ letters: FoundLetter[]; next: string | null }> {
  let letters: FoundLetter[] = [];
  let bytes = 0;
  for await (const found of readLetters(store, filter, cursor)) {
    letters.push(found);
    bytes += found.letter.value?.byteLength ?? 0;
    if (letters.length < limit && bytes < PAGE_BYTES) continue;
    yield { letters, next: encodeCursor(found) };
    letters = [];
    bytes = 0;
  }
  if (letters.length > 0) yield { letters, next: null };
}

/** In runs of one model version, as they stand. */
function versionsOf(letters: readonly FoundLetter[]): FoundLetter[][] {
  return [...Map.groupBy(letters, ({ view, version }) => `${view}@${version}`).values()];
}

/** One at a time: one that is gone by now must not keep the others. */
async function drop(store: Store, letters: readonly FoundLetter[]): Promise<number> {
  const { view, version } = letters[0]!;
  // A copy of the files must not bring back what is dropped while it is made.
  return store.maintenance.run(view, async () => {
    const { vectorBytes } = store.version(view, version).vectors;
    const results = await Promise.all(
      letters.map(async ({ letter: { position } }) => {
        const rows = new RevisionBatch(vectorBytes, 0);
        return store.commit(view, version, { rows, takenOut: [position] });
      }),
    );
    return results.filter(({ fenced }) => !fenced).length;
  });
}

function show({ view, version, letter }: FoundLetter): DeadLetterAnswer {
  const { position, timestamp, reason, message, key, value, headers } = letter;
  const shown = Object.entries(headers).map(([name, given]) => [name, showHeader(given)] as const);
  return {
    feature_view: view,
    version,
    ...position,
    timestamp: timestamp >= 0 && isMicros(timestamp) ? formatInstant(timestamp) : null,
    code: reason,
    message,
    key: key && showBytes(key),
    value: value && showBytes(value),
    headers: Object.fromEntries(shown),
  };
}

function showHeader(value: HeaderValue): DeadLetterAnswer['headers'][string] {
  if (value === null || value instanceof Uint8Array) return value && showBytes(value);
  return value.map((each) => each && showBytes(each));
}

function showBytes(bytes: Uint8Array): { base64: string; text: string | null } {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { base64: buffer.toString('base64'), text: isUtf8(bytes) ? buffer.toString() : null };
}
