import { z } from 'zod';

import '../../ground/schema-words.ts';
import { parseDuration } from '../../ground/duration.ts';
import { type ErrorCode, TidemarkError } from '../../ground/errors.ts';
import { parseInstant } from '../../ground/time.ts';
import { isAlias } from '../../store/aliases.ts';
import { isVersionName, isViewName } from '../../store/catalogue.ts';
import { parseEntityId } from '../../store/entity-id.ts';
import { ANY_AGE, BOUNDARIES, KNOWLEDGE } from '../../timetravel/question.ts';
import { JSON_TYPE } from '../media.ts';
import { PROBLEM_TYPE, statusOf } from '../problem.ts';

/** A transform that hands the messages and codes of one of our parsers to zod. */
function parsed<T>(parse: (text: string) => T): (text: string, context: z.RefinementCtx) => T {
  return (text, context) => {
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error;
      context.addIssue({ code: 'custom', message: error.message, params: { code: error.code } });
      return z.NEVER;
    }
  };
}

export const viewName = z
  .string()
  .refine(isViewName, 'expected letters, digits, _ and -, at most 63, the first no sign')
  .meta({
    description: 'Letters, digits, `_` and `-`, at most 63; the first is a letter or a digit.',
    examples: ['job'],
  });

export const versionName = z
  .string()
  .refine(isVersionName, 'expected letters, digits, _, - and ., at most 63, the first no sign')
  .refine((name) => !isAlias(name), 'expected a name, current, candidate and previous are aliases')
  .meta({
    description: 'Letters, digits, `_`, `-` and `.`, at most 63; the first is a letter or a digit.',
    examples: ['v1'],
  });

/** A reference to a view or a version that need not exist. */
export const viewRef = z.string().meta({ description: 'A feature view.', examples: ['job'] });
export const versionRef = z.string().meta({
  description:
    'A model version of the view, by its name, or as `current`, `candidate` or `previous`; the one that `current` names where it is left out.',
  examples: ['v1'],
});

/** A moment that a caller sends, as microseconds. */
export const instant = z
  .string()
  .transform(parsed(parseInstant))
  .meta({
    format: 'date-time',
    description:
      'RFC 3339 with an offset; at most six digits of a second; 1684 to 2255. One without an offset is refused.',
    examples: ['2026-03-01T12:00:00Z'],
  });

/** A moment that Tidemark answers. */
export const instantText = z.string().meta({
  format: 'date-time',
  description: 'RFC 3339, UTC, exact to the microsecond.',
  examples: ['2026-03-01T12:00:00Z'],
});

/** A length of time that a caller sends, as microseconds. */
export const duration = z
  .string()
  .transform(parsed(parseDuration))
  .meta({
    format: 'duration',
    description: 'ISO 8601 of weeks, days, hours, minutes and seconds.',
    examples: ['P30D'],
  });

/** A length of time that Tidemark answers. */
export const durationText = z.string().meta({ format: 'duration', examples: ['P30D'] });

/** A limit of age that a question brings; `none` where the view has one that is not to hold. */
const askedMaxAge = z
  .string()
  .transform(parsed((text) => (text === 'none' ? ANY_AGE : parseDuration(text))))
  .meta({
    description:
      'How long before `as_of` (or before `now`, for the latest) the answer’s event time may lie, inclusive (A6): an ISO 8601 duration, or `none`. The view’s own where it is left out. An older answer is OUTSIDE_MAX_AGE; nothing older takes its place.',
    examples: ['PT1H'],
  });

export const pathEntityId = z.string().transform(parsed(parseEntityId)).meta({
  description:
    'The entity, percent-encoded: 1 to 1,024 bytes of UTF-8 without NUL. A path cannot carry `.` and `..`; ask for those with POST.',
});

/** The same in a body, where it may be a whole number. */
export const entityIdMeta = {
  anyOf: [{ type: 'string' as const }, { type: 'integer' as const }],
  description:
    '1 to 1,024 bytes of well-formed UTF-8 without NUL, or a whole number within ±2^53, which equals its decimal text.',
};

function isDigits(text: string): boolean {
  return /^\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text));
}

/** A whole number in a query string. */
export const queryInteger = z
  .string()
  .refine(isDigits, 'expected a whole number from 0')
  .transform(Number)
  .meta({ type: 'integer', minimum: 0 });

/** What is asked of a list, page after page; `what` it lists, in words. */
export function pageQuery(what: string) {
  return z.strictObject({
    limit: queryInteger
      .refine((limit) => limit >= 1 && limit <= 1_000, 'expected 1 to 1,000')
      .default(100)
      .describe(`${what} of one page, 1 to 1,000.`),
    cursor: z.string().max(64).optional().describe('The `next` of the page before.'),
  });
}

/** A yes or no in a query string. */
export const queryBoolean = z
  .string()
  .refine((text) => text === 'true' || text === 'false', 'expected true or false')
  .transform((text) => text === 'true')
  .meta({ type: 'boolean' });

const snapshotNumber = z.int().min(0);

const BOUNDARY_TEXT =
  'Whether a revision at exactly `as_of` counts. `inclusive` by default; it touches no other bound (A1).';
const KNOWLEDGE_TEXT =
  'Which revisions count beside their event time (A5): `event`, all; `input`, those known by `as_of`; `served`, those stored by `as_of`.';
const AT_SNAPSHOT_TEXT =
  'Answers from the state at this snapshot, as an earlier answer named it: the same question at the same snapshot has the same answer (A9). 409 above what is durable, before the model version was made, and for one of a leader that this server took the place of without what it had written by then.';
const MIN_SNAPSHOT_TEXT =
  'Answers only from a state that holds this snapshot, such as that of a push just made; otherwise 409, also where that push was lost with the leader that this server took the place of.';
const AS_OF_TEXT = 'The moment that is asked about; the latest where it is left out.';
const NOW_TEXT =
  'What the age of a latest answer is measured from; the clock by default. An answer repeats it, so that it can be asked again.';
const KNOWN_AT_TEXT = 'Revisions known later than this do not count.';

/** The parameters of a question in a body. Null is as good as leaving out, so that an echo fits. */
export const questionFields = {
  as_of: instant.nullish().describe(AS_OF_TEXT),
  boundary: z.enum(BOUNDARIES).default('inclusive').describe(BOUNDARY_TEXT),
  knowledge: z.enum(KNOWLEDGE).default('event').describe(`${KNOWLEDGE_TEXT} \`event\` by default.`),
  known_at: instant.nullish().describe(KNOWN_AT_TEXT),
  max_age: askedMaxAge.nullish(),
  now: instant.nullish().describe(NOW_TEXT),
  at_snapshot: snapshotNumber.optional().describe(AT_SNAPSHOT_TEXT),
  min_snapshot: snapshotNumber.optional().describe(MIN_SNAPSHOT_TEXT),
};

export const atSnapshotField = questionFields.at_snapshot;

/** The same in a query string. */
export const questionQuery = {
  as_of: instant.optional().describe(AS_OF_TEXT),
  boundary: questionFields.boundary,
  knowledge: questionFields.knowledge,
  known_at: instant.optional().describe(KNOWN_AT_TEXT),
  max_age: askedMaxAge.optional(),
  now: instant.optional().describe(NOW_TEXT),
  at_snapshot: queryInteger.optional().describe(AT_SNAPSHOT_TEXT),
  min_snapshot: queryInteger.optional().describe(MIN_SNAPSHOT_TEXT),
};

/** A training join's: each row has its own `as_of`, and leakage is what it must not have. */
export const joinQuestionQuery = {
  boundary: questionQuery.boundary,
  knowledge: z.enum(KNOWLEDGE).default('input').describe(`${KNOWLEDGE_TEXT} \`input\` by default.`),
  known_at: questionQuery.known_at,
  max_age: questionQuery.max_age,
  at_snapshot: questionQuery.at_snapshot,
  min_snapshot: questionQuery.min_snapshot,
};

export const maxAge = durationText
  .nullable()
  .describe('The limit of age that held; null for any age.');

export const snapshot = snapshotNumber.describe(
  'The state that was answered from: one number for all views, which can be asked again.',
);

export const questionEcho = z
  .strictObject({
    as_of: instantText.nullable(),
    boundary: z.enum(BOUNDARIES),
    knowledge: z.enum(KNOWLEDGE),
    known_at: instantText.nullable(),
    now: instantText
      .nullable()
      .describe('What the ages of latest answers were measured from, where one has a limit.'),
  })
  .meta({ id: 'Question', description: 'The question with its defaults; null for no bound.' });

export const rejection = z
  .strictObject({
    index: z.int().min(0).describe('Position among the records, from 0.'),
    code: z.string().describe('Stable; what scripts switch on.'),
    message: z.string().describe('What was expected.'),
    line: z.int().optional().describe('Of NDJSON: the line that it stands on, from 1.'),
  })
  .meta({ id: 'Rejection' });

export const gateResult = z
  .strictObject({
    gate: z.string(),
    ok: z.boolean(),
    value: z.number().nullable().describe('What was measured; null where that is no number.'),
    bound: z.number().nullable().describe('What it is held against.'),
    message: z.string(),
  })
  .meta({ id: 'Gate', description: 'What was looked at before a version is promoted.' });

const problem = z
  .strictObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string().describe('What was expected, for this request.'),
    code: z.string().describe('Stable; what scripts switch on.'),
    errors: z
      .array(z.strictObject({ path: z.string(), message: z.string() }))
      .optional()
      .describe('The places that do not fit the schema: `body/…`, `query/…`, `path/…`.'),
    rejected: z.array(rejection).optional().describe('Of an atomic push: its bad records.'),
    gates: z.array(gateResult).optional().describe('Of a promotion: what was looked at.'),
    leader: z.string().optional().describe('Of a read replica: where its writes belong.'),
    instance: z.string().optional().describe('The id of the request, by which the log has it.'),
  })
  .meta({ id: 'Problem', description: 'RFC 9457 problem details.' });

/** A route's answer in JSON. */
export function answer<T extends z.ZodType>(description: string, schema: T) {
  return { description, content: { [JSON_TYPE]: { schema } } } as const;
}

interface ProblemAnswer {
  description: string;
  content: { [PROBLEM_TYPE]: { schema: typeof problem } };
}

/** Codes of all routes that are asked for what is in force at a moment. */
export const READ_CODES = [
  'BAD_REQUEST',
  'BAD_TIMESTAMP',
  'BAD_DURATION',
  'VIEW_NOT_FOUND',
  'VERSION_NOT_FOUND',
  'SNAPSHOT_UNAVAILABLE',
  'LIMIT_EXCEEDED',
  'UNSUPPORTED_MEDIA_TYPE',
  'STORE_CORRUPT',
] as const satisfies ErrorCode[];

/** The error answers of a route: each status with the codes that it comes with. */
export function problems(...codes: ErrorCode[]): Record<number, ProblemAnswer> {
  const all = [
    ...codes,
    'NOT_ACCEPTABLE',
    'SHUTTING_DOWN',
    'WRITER_UNAVAILABLE',
    'UNDER_PRESSURE',
    'DEADLINE_EXCEEDED',
    'INTERNAL',
  ] satisfies ErrorCode[];
  const byStatus = Map.groupBy(all, statusOf);
  const answers = [...byStatus].toSorted(([a], [b]) => a - b);
  return Object.fromEntries(
    answers.map(([status, of]) => [
      status,
      {
        description: of.map((code) => `\`${code}\``).join(', '),
        content: { [PROBLEM_TYPE]: { schema: problem } },
      },
    ]),
  );
}
