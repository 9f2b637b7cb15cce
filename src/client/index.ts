export { type ClientOptions, TidemarkClient } from './client.ts';
export { TidemarkRefused, TidemarkUnreachable } from './errors.ts';
export type { LookupAnswer, LookupResult, QuestionEcho } from './lookup-answer.ts';
export type {
  CallOptions,
  EntityId,
  Lookup,
  LookupRequest,
  PushAnswer,
  PushRecord,
  PushRequest,
  Question,
  ScoreRequest,
} from './requests.ts';
export type { Reason, Status } from './rows.ts';
export type { ScoreAnswer } from './score-answer.ts';
export type { EntityVector, SingleQuestion } from './single-lookups.ts';
