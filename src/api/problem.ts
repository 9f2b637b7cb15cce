import { STATUS_CODES } from 'node:http';

import { type ErrorCode, TidemarkError } from '../ground/errors.ts';
import type { GateResult } from '../store/catalogue.ts';
import { ReadOnlyReplica } from '../store/leader.ts';

export const PROBLEM_TYPE = 'application/problem+json';

/** The HTTP status of every code, in one place. */
const STATUSES: Record<ErrorCode, number> = {
  BAD_REQUEST: 422,
  BAD_ENTITY_ID: 422,
  BAD_TIMESTAMP: 422,
  BAD_DURATION: 422,
  FUTURE_TIMESTAMP: 422,
  BAD_VECTOR: 422,
  BAD_INPUT: 422,
  EMPTY_TEXT: 422,
  BAD_RECORD: 422,
  VIEW_NOT_FOUND: 404,
  VERSION_NOT_FOUND: 404,
  VIEW_CONFLICT: 409,
  VERSION_REQUIRED: 422,
  VERSION_IN_USE: 409,
  NO_PREVIOUS: 409,
  GATES_FAILED: 409,
  ENTITY_ERASED: 409,
  ERASURE_NOT_FOUND: 404,
  EXPORT_NOT_FOUND: 404,
  EXPORT_NOT_DONE: 409,
  BACKFILL_NOT_FOUND: 404,
  READ_ONLY_REPLICA: 409,
  NOT_A_REPLICA: 409,
  REPLICA_DIVERGED: 409,
  BACKUP_INVALID: 422,
  BACKUP_REFUSED: 422,
  NO_MODEL: 422,
  MODEL_INVALID: 422,
  MODEL_CHANGED: 409,
  MODEL_DRIFTED: 409,
  MODEL_UNAVAILABLE: 503,
  INFERENCE_FAILED: 422,
  SNAPSHOT_UNAVAILABLE: 409,
  BEFORE_RETENTION: 409,
  NAME_COLLISION: 422,
  LIMIT_EXCEEDED: 413,
  OVERLOADED: 429,
  UNDER_PRESSURE: 503,
  DEADLINE_EXCEEDED: 504,
  UNSUPPORTED_MEDIA_TYPE: 415,
  NOT_ACCEPTABLE: 406,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  SHUTTING_DOWN: 503,
  STORE_LOCKED: 503,
  STORE_FORMAT: 500,
  STORE_CORRUPT: 500,
  STORE_UNAVAILABLE: 503,
  WRITER_UNAVAILABLE: 503,
  // Of the settings only a view's own prompt comes with a request.
  BAD_CONFIG: 422,
  INTERNAL: 500,
};

export function statusOf(code: ErrorCode): number {
  return STATUSES[code];
}

/** A record of a push that was not taken. */
export interface Rejection {
  /** Position among the request's records, from 0. */
  index: number;
  code: ErrorCode;
  /** What was expected. */
  message: string;
  /** Of the body, from 1, where the records came as lines. */
  line?: number;
}

/** What keeps an atomic push from being stored: all of its rejected records. */
export class PushRejected extends TidemarkError {
  override name = 'PushRejected';
  readonly rejected: readonly Rejection[];

  readonly records: number;

  constructor(rejected: readonly Rejection[], records: number) {
    super(
      'BAD_RECORD',
      `${rejected.length} of ${records} records were rejected and the push is atomic: nothing was stored`,
    );
    this.rejected = rejected;
    this.records = records;
  }
}

/** What keeps a version from being promoted. */
export class GatesFailed extends TidemarkError {
  override name = 'GatesFailed';
  readonly gates: readonly GateResult[];

  constructor(name: string, gates: readonly GateResult[]) {
    const failed = gates.filter(({ ok }) => !ok).map(({ gate, message }) => `${gate}: ${message}`);
    super(
      'GATES_FAILED',
      `${name} does not pass ${failed.length} of ${gates.length} gates and was not promoted: ` +
        failed.join('; '),
    );
    this.gates = gates;
  }
}

/** What a request's parts had instead of what their schema says. */
export class SchemaMisfit extends TidemarkError {
  override name = 'SchemaMisfit';
  readonly errors: { path: string; message: string }[];

  constructor(code: ErrorCode, errors: { path: string; message: string }[]) {
    super(code, errors.map(({ path, message }) => `${path}: ${message}`).join('; '));
    this.errors = errors;
  }
}

/** RFC 9457, with the members that Tidemark adds: `code`, `errors`, `rejected`, `gates` and `leader`. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: ErrorCode;
  errors?: { path: string; message: string }[];
  rejected?: readonly Rejection[];
  /** All gates, when one was not passed. */
  gates?: readonly GateResult[];
  /** Where a read replica's writes belong. */
  leader?: string;
  /** The request's id, by which the log has it. */
  instance?: string;
}

export function problemOf(error: TidemarkError, instance?: string): Problem {
  const status = statusOf(error.code);
  return {
    type: `urn:tidemark:problem:${error.code}`,
    title: STATUS_CODES[status] ?? 'Error',
    status,
    detail: error.message,
    code: error.code,
    ...(error instanceof SchemaMisfit && { errors: error.errors }),
    ...(error instanceof PushRejected && { rejected: error.rejected }),
    ...(error instanceof GatesFailed && { gates: error.gates }),
    ...(error instanceof ReadOnlyReplica && { leader: error.leader }),
    ...(instance !== undefined && { instance }),
  };
}
