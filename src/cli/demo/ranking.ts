import type { LookupAnswer } from '../../api/schemas/lookup.ts';
import type { Client } from '../client.ts';
import { changeAt, readChanges } from './samples.ts';

/** How well a job fits a member by their vectors. */
interface RankedJob {
  job_id: string;
  title: string;
  /** Cosine, −1 to 1. */
  score: number;
}

/** The jobs for one member, the best first, at two moments. */
export interface Ranking {
  member_id: string;
  as_of: string;
  earlier: { headline: string; jobs: RankedJob[] };
  latest: { headline: string; jobs: RankedJob[] };
}

/** Ranks all jobs for the member as a ranker would: their vectors are one lookup. */
export async function rankJobs(client: Client, memberId: string, asOf: string): Promise<Ranking> {
  const jobs = readChanges('jobs');
  const members = readChanges('members');
  const jobIds = [...new Set(jobs.map(({ id }) => id))];
  const lookups = [
    { feature_view: 'member', entity_ids: [memberId] },
    { feature_view: 'job', entity_ids: jobIds },
  ];

  function ranked({ results }: LookupAnswer): Ranking['latest'] {
    const [member, job] = results as [Result, Result];
    const profile = changeAt(members, memberId, member.event_timestamps[0]!);
    const rows = jobIds.flatMap((job_id, row): RankedJob[] => {
      const vector = job.vectors[row]!;
      if (vector === null) return [];
      const posting = changeAt(jobs, job_id, job.event_timestamps[row]!);
      const score = cosine(member.vectors[0]!, vector);
      return [{ job_id, title: String(posting?.after?.title), score }];
    });
    return {
      headline: String(profile?.after?.headline),
      jobs: rows.toSorted((a, b) => b.score - a.score),
    };
  }

  return {
    member_id: memberId,
    as_of: asOf,
    earlier: ranked(await client.lookup({ lookups, as_of: asOf })),
    latest: ranked(await client.lookup({ lookups })),
  };
}

type Result = LookupAnswer['results'][number];

/** The cosine of the angle between two vectors. */
export function cosine(a: readonly number[], b: readonly number[]): number {
  let dot = 0;
  let squaresA = 0;
  let squaresB = 0;
  for (const [i, x] of a.entries()) {
    const y = b[i]!;
    dot += x * y;
    squaresA += x * x;
    squaresB += y * y;
  }
  return dot / Math.sqrt(squaresA * squaresB);
}
