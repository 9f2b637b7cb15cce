/**
 * The errors a caller can act on. Each code is stable: scripts and clients may switch on it.
 * The comment says what to do about it.
 */
export type ErrorCode =
  /** The request does not fit its schema: read `errors`, mend the named fields. */
  | 'BAD_REQUEST'
  /** The id is empty, longer than 1,024 bytes of UTF-8, not well-formed, or holds a NUL. */
  | 'BAD_ENTITY_ID'
  /** The time is not RFC 3339 with an offset, is finer than a microsecond, or out of range. */
  | 'BAD_TIMESTAMP'
  /** The duration is not ISO 8601 of weeks, days, hours, minutes and seconds, as P30D or PT1H. */
  | 'BAD_DURATION'
  /** The time is further ahead of the clock than `max_future_skew` allows: mend the clock. */
  | 'FUTURE_TIMESTAMP'
  /** The vector has another dim, is not finite, does not fit the version's dtype, or lacks a scale. */
  | 'BAD_VECTOR'
  /** The text or the fields cannot be turned into a model input. */
  | 'BAD_INPUT'
  /** Of the text or the fields nothing is left to embed, and the model version refuses that. */
  | 'EMPTY_TEXT'
  /** A record must have exactly one of vector, deleted, text and fields. */
  | 'BAD_RECORD'
  /** No such feature view: create it with PUT. */
  | 'VIEW_NOT_FOUND'
  /** The view has no such model version. */
  | 'VERSION_NOT_FOUND'
  /** What is asked differs from what the view or the version is, or they have changed meanwhile. */
  | 'VIEW_CONFLICT'
  /** It is the view's current version: promote another one, or roll back, before it goes. */
  | 'VERSION_IN_USE'
  /** There is no previous version to roll back to. */
  | 'NO_PREVIOUS'
  /** The version does not pass all gates: `gates` says which, and what was measured. */
  | 'GATES_FAILED'
  /** The entity was erased: nothing about it is stored until that is lifted. */
  | 'ENTITY_ERASED'
  /** There is no receipt of that name. */
  | 'ERASURE_NOT_FOUND'
  /** There is no export of that id, or its files are gone: ask for it anew. */
  | 'EXPORT_NOT_FOUND'
  /** The export has not ended: its state and its progress are told, its files later. */
  | 'EXPORT_NOT_DONE'
  /** There is no backfill of that id. */
  | 'BACKFILL_NOT_FOUND'
  /** This is a read replica: write to its leader, which the answer names. */
  | 'READ_ONLY_REPLICA'
  /** What is asked for is only possible on a read replica. */
  | 'NOT_A_REPLICA'
  /** The leader and this replica do not share their past: bootstrap the replica anew. */
  | 'REPLICA_DIVERGED'
  /** The backup is not whole, or not one: take another. */
  | 'BACKUP_INVALID'
  /** What is asked would not be a backup, or a restored store, that can be relied upon. */
  | 'BACKUP_REFUSED'
  /** The view has several model versions: say which one the vectors belong to. */
  | 'VERSION_REQUIRED'
  /** Text was sent to a view none of whose versions has a model. */
  | 'NO_MODEL'
  /** There is no such model in the models folder, or its folder is not in order. */
  | 'MODEL_INVALID'
  /** The model on disk is not the one that made the version's vectors. */
  | 'MODEL_CHANGED'
  /** The model makes other vectors than it made for the version: the message says since when and where. */
  | 'MODEL_DRIFTED'
  /** The version's model cannot run now: `/readyz` says why; try again after a moment. */
  | 'MODEL_UNAVAILABLE'
  /** The model dies of this text, whenever it runs: mend the text, or the model. */
  | 'INFERENCE_FAILED'
  /** The asked snapshot is above what is durable here, or older than what retention keeps. */
  | 'SNAPSHOT_UNAVAILABLE'
  /** A moment lies before what retention keeps, whose answer is gone: ask about later ones. */
  | 'BEFORE_RETENTION'
  /** Two columns of an answer would have the same name: give one of them another. */
  | 'NAME_COLLISION'
  /** A limit of the server's configuration was passed: send less at once. */
  | 'LIMIT_EXCEEDED'
  /** The server cannot take more work now: try again after a moment. */
  | 'OVERLOADED'
  /** The server is behind, or holds too much: try again after `Retry-After`, or ask another. */
  | 'UNDER_PRESSURE'
  /** The time that the request gives for its answer was over: a push may have been stored. */
  | 'DEADLINE_EXCEEDED'
  /** The body's content type, or the asked answer's, is not one this route speaks. */
  | 'UNSUPPORTED_MEDIA_TYPE'
  | 'NOT_ACCEPTABLE'
  /** There is no such route. */
  | 'NOT_FOUND'
  /** The route does not have this method: the message names those it has. */
  | 'METHOD_NOT_ALLOWED'
  /** The server is stopping: ask another. */
  | 'SHUTTING_DOWN'
  /** Another process writes to this data directory: stop it, or use another directory. */
  | 'STORE_LOCKED'
  /** The directory holds something else, or data of another format version. */
  | 'STORE_FORMAT'
  /** Stored bytes fail their checksum or their order: run `tidemark verify`, restore a backup. */
  | 'STORE_CORRUPT'
  /** The disk or the database refused the write; nothing of it was stored. */
  | 'STORE_UNAVAILABLE'
  /** The process that writes is being started again: reads go on; try again after `Retry-After`. */
  | 'WRITER_UNAVAILABLE'
  /** A setting is wrong: the message names the key, the value and what was expected. */
  | 'BAD_CONFIG'
  /** Tidemark is wrong. The log has the details under the request's id. */
  | 'INTERNAL';

/** An error the caller can act on: a stable code, and a message that says what was expected. */
export class TidemarkError extends Error {
  override name = 'TidemarkError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** What may go through after so many seconds. */
export class TryLater extends TidemarkError {
  override name = 'TryLater';
  readonly retryAfterSeconds: number;

  constructor(code: ErrorCode, message: string, retryAfterSeconds: number, options?: ErrorOptions) {
    super(code, message, options);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}
