/** What became of one row of a question. Feast's words; the number is the wire's code. */
export const STATUSES = ['PRESENT', 'NOT_FOUND', 'OUTSIDE_MAX_AGE', 'INVALID'] as const;

/** Why a row has no vector. */
export const REASONS = [
  null,
  /** The newest candidate is a delete (A7). */
  'DELETED',
  /** There is a candidate in time, but the question's knowledge does not reach it (A5). */
  'NOT_YET_KNOWN',
  /** The id is none that an entity can have. */
  'BAD_ENTITY_ID',
  /** The row's time is none that Tidemark can hold. */
  'BAD_TIMESTAMP',
  /** The entity was erased (A8). */
  'ERASED',
  /** The moment, what was known, or the snapshot lies before the horizon of retention (A10). */
  'BEFORE_RETENTION',
  /** The version that was `current` at the row's moment, which was asked for, is retired. */
  'VERSION_RETIRED',
] as const;

export const PRESENT = 0;
export const NOT_FOUND = 1;
export const OUTSIDE_MAX_AGE = 2;
export const INVALID = 3;

export const NO_REASON = 0;
export const DELETED = 1;
export const NOT_YET_KNOWN = 2;
export const BAD_ENTITY_ID = 3;
export const BAD_TIMESTAMP = 4;
export const ERASED = 5;
export const BEFORE_RETENTION = 6;
export const VERSION_RETIRED = 7;
