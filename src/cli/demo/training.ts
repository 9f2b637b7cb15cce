import type { LookupAnswer } from '../../api/schemas/lookup.ts';
import type { Client, JoinedRow } from '../client.ts';
import { cosine } from './ranking.ts';
import { type Application, changeAt, readApplications, readChanges } from './samples.ts';

/** What the latest vector knows that the row's moment could not. */
interface Leak {
  feature_view: string;
  /** When the text that it was made of came to be: after the row's moment. */
  since: string;
}

/** A training row, scored as its moment saw it and as the latest vectors have it. */
export interface TrainingRow extends Application {
  /** The job's title at that moment. */
  title: string;
  /** Cosine; null where a vector is missing. */
  as_of_score: number | null;
  latest_score: number | null;
  leaks: Leak[];
  /** When the job was deleted, where it was: with the latest vectors the row is lost. */
  job_deleted: string | null;
}

type Vector = number[] | null;
type Result = LookupAnswer['results'][number];

const FEATURE_VIEWS = ['job', 'member'] as const;

/** Joins the applications to the vectors of their moment, and to the latest to compare. */
export async function joinApplications(client: Client): Promise<TrainingRow[]> {
  const applications = readApplications();
  const spine = applications.map((row) => JSON.stringify(row)).join('\n');
  const query = new URLSearchParams({ feature_views: FEATURE_VIEWS.join(',') });
  const joined = await client.join(query, spine);
  const { results } = await client.lookup({
    lookups: [
      { feature_view: 'job', entity_ids: applications.map(({ job_id }) => job_id) },
      { feature_view: 'member', entity_ids: applications.map(({ member_id }) => member_id) },
    ],
  });
  const [jobs, members] = results as [Result, Result];
  const postings = readChanges('jobs');
  const rows: TrainingRow[] = [];
  for (const [row, application] of applications.entries()) {
    const asOf = joined[row]!;
    const latest: JoinedRow = {
      job__vector: jobs.vectors[row],
      member__vector: members.vectors[row],
    };
    const posting = changeAt(postings, application.job_id, String(asOf.job__event_timestamp));
    const isDeleted = jobs.reasons[row] === 'DELETED';
    rows.push({
      ...application,
      title: String(posting?.after?.title),
      as_of_score: scoreOf(asOf),
      latest_score: scoreOf(latest),
      leaks: await findLeaks(client, application, asOf, latest),
      job_deleted: isDeleted ? jobs.event_timestamps[row]! : null,
    });
  }
  return rows;
}

function scoreOf(row: JoinedRow): number | null {
  const job = row.job__vector as Vector;
  const member = row.member__vector as Vector;
  return job === null || member === null ? null : cosine(job, member);
}

async function findLeaks(
  client: Client,
  application: Application,
  asOf: JoinedRow,
  latest: JoinedRow,
): Promise<Leak[]> {
  const leaks: Leak[] = [];
  for (const view of FEATURE_VIEWS) {
    const now = latest[`${view}__vector`] as Vector;
    const then = asOf[`${view}__vector`] as Vector;
    if (now === null || then?.every((number, i) => number === now[i])) continue;
    const since = await textSince(client, view, application[`${view}_id`]);
    leaks.push({ feature_view: view, since });
  }
  return leaks;
}

/** Since when the entity's latest vector has been the same: later revisions only confirm it. */
async function textSince(client: Client, view: string, entityId: string): Promise<string> {
  const { revisions } = await client.timeline({ feature_view: view, entity_id: entityId });
  const [newest] = revisions;
  const before = revisions.findIndex(({ vector_id }) => vector_id !== newest?.vector_id);
  return revisions.at(before < 0 ? -1 : before - 1)!.event_timestamp;
}
