import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { z } from 'zod';

import { parseInstant } from '../../src/ground/time.ts';
import { BOUNDARIES, KNOWLEDGE } from '../../src/timetravel/question.ts';
import { REASONS, STATUSES } from '../../src/timetravel/status.ts';

/** Cases are written in times of one day, so that a reader need compare no dates. */
const DAY = '2026-03-01';

/** Before all that happens in a case. */
export const MIDNIGHT = parseInstant(`${DAY}T00:00:00Z`);

const time = z
  .string()
  .regex(/^\d\d:\d\d(:\d\d(\.\d{6})?)?$/)
  .transform((text) => parseInstant(`${DAY}T${text.length === 5 ? `${text}:00` : text}Z`));

const row = {
  event: time,
  known: time,
  /** What the clock says when the row is committed: its created time. */
  clock: time,
  entity: z.string().default('1'),
  version: z.string().optional(),
  /** What becomes of the row: an outcome, or the code that it is refused with. */
  outcome: z.string().optional(),
};

const put = z.strictObject({ put: z.number(), ...row });
const remove = z.strictObject({ delete: z.literal(true), ...row });
const erase = z.strictObject({ erase: z.string(), clock: time });
const lift = z.strictObject({ lift: z.string(), clock: time });
const horizon = z.strictObject({ horizon: time, clock: time });
const compact = z.strictObject({ compact: z.literal(true), clock: time });
/** Names the state that the history has come to. */
const snapshot = z.strictObject({ snapshot: z.string() });

const present = z
  .strictObject({ value: z.number(), event: time })
  .transform((answer) => ({ status: 'PRESENT', reason: null, ...answer }));
const absent = z
  .strictObject({
    status: z.enum(STATUSES).exclude(['PRESENT']),
    reason: z
      .enum(REASONS.filter((reason) => reason !== null))
      .nullable()
      .default(null),
  })
  .transform((answer) => ({ ...answer, value: null, event: null }));

const question = z.strictObject({
  /** The latest where it is left out. */
  as_of: time.optional(),
  boundary: z.enum(BOUNDARIES).default('inclusive'),
  knowledge: z.enum(KNOWLEDGE).default('event'),
  known_at: time.optional(),
  max_age: z.string().optional(),
  at_snapshot: z.string().optional(),
  /** What the clock says when it is asked; what it said last where it is left out. */
  now: time.optional(),
  entity: z.string().default('1'),
  version: z.string().optional(),
  answer: z.union([present, absent]),
});

const view = z.strictObject({
  versions: z.array(z.string()).min(1).default(['v1']),
  max_age: z.string().optional(),
  retention: z.string().optional(),
});

const conformanceCase = z.strictObject({
  /** The rule's number times a hundred, and a number in it. */
  number: z.int(),
  title: z.string(),
  view: view.prefault({}),
  history: z.array(z.union([put, remove, erase, lift, horizon, compact, snapshot])),
  questions: z.array(question).min(1),
});

export type Case = z.output<typeof conformanceCase>;
export type Question = Case['questions'][number];

/** What is answered, in the words of the wire; an event time in µs. */
export interface Answer {
  status: string;
  reason: string | null;
  value: number | null;
  event: number | null;
}

/** All cases by number. Throws where a file does not have their shape, or a number comes twice. */
export function readCases(): Case[] {
  const folder = join(import.meta.dirname, 'cases');
  const cases = readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .flatMap((name) =>
      z.array(conformanceCase).parse(JSON.parse(readFileSync(join(folder, name), 'utf8'))),
    )
    .toSorted((a, b) => a.number - b.number);
  const twice = cases.find(({ number }, at) => cases[at + 1]?.number === number);
  if (twice !== undefined) throw new Error(`two cases have the number ${twice.number}`);
  return cases;
}
