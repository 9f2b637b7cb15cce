import type { LookupRequest } from '../../src/client/index.ts';
import { type DataSet, idOf, Vectors } from '../harness/data-set.ts';
import { type Choice, distinct, uniform, zipf, ZIPF_EXPONENT } from '../harness/keys.ts';
import { seeded } from '../harness/random.ts';

/** What a ranking service wants to know for one answer of its own: a member and candidates. */
export interface Ranking {
  member: string;
  jobs: string[];
  /** Sum of the first and the last numbers of all its vectors, in order: who has read them has it. */
  sum: number;
}

export const JOBS = 500;
/** As many are asked in turn. */
export const RANKINGS = 128;

/** Which entities are asked for. */
export type Keys = 'uniform' | 'Zipf';

export const KEYS_TEXT = `The 500 candidates of a request are different ones, all as likely (uniform) or by a Zipf law with an exponent of ${ZIPF_EXPONENT}; ${RANKINGS} prepared requests are asked in turn.`;

/** Of a data set with the views job and member; the same for the same seed. */
export function rankingsOf({ dim, views }: DataSet, keys: Keys, seed = 5): Ranking[] {
  const { job: jobs, member: members } = views as { job: number; member: number };
  const random = seeded(seed);
  const choose: Choice = keys === 'Zipf' ? zipf(jobs) : uniform(jobs);
  const member = uniform(members);
  const vectors = new Vectors(dim);
  const numbers = new Float32Array(dim);
  const bytes = new Uint8Array(numbers.buffer);
  const ends = (entity: number) => {
    vectors.write(entity, 0, bytes);
    return numbers[0]! + numbers[dim - 1]!;
  };
  return Array.from({ length: RANKINGS }, () => {
    const one = member(random);
    const candidates = distinct(choose, random, JOBS);
    return {
      member: idOf('member', one),
      jobs: candidates.map((entity) => idOf('job', entity)),
      sum: candidates.reduce((sum, entity) => sum + ends(entity), ends(one)),
    };
  });
}

export function lookupOf({ member, jobs }: Ranking): LookupRequest {
  return {
    lookups: [
      { feature_view: 'member', entity_ids: [member] },
      { feature_view: 'job', entity_ids: jobs },
    ],
  };
}
