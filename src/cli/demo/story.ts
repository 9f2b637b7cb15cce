import type { Cell, Output } from '../output.ts';
import type { HistoryRow } from './history.ts';
import type { Loaded } from './load.ts';
import type { Ranking } from './ranking.ts';
import type { TrainingRow } from './training.ts';

/** All that the demo finds out. */
export interface Findings {
  loaded: Loaded[];
  ranking: Ranking;
  history: { job_id: string; revisions: HistoryRow[] };
  training: TrainingRow[];
}

const RANKS_SHOWN = 5;

/** Tells the findings to someone who has never seen a feature store. */
export function tellStory(output: Output, findings: Findings): void {
  tellLoaded(output, findings.loaded);
  tellRanking(output, findings.ranking);
  tellHistory(output, findings.history);
  tellTraining(output, findings.training);
}

/** Before the server is asked anything, so that there is something to read meanwhile. */
export function tellBeginning(output: Output): void {
  output.print(`${output.style('bold', 'Tidemark')}

A ranker compares vectors (embeddings): of a member, and of the jobs that could be shown. A feature
store keeps those vectors, and every earlier one, so that the next ranker can be trained on what
was true when something happened. Here are six months of a small, invented job market.`);
}

function tellLoaded(output: Output, loaded: readonly Loaded[]): void {
  chapter(output, 1, 'Every change goes in');
  output.print(`Jobs, members and résumés change, and each change is pushed with the time at which it became true.
A model turns the text into a vector, but only when the text is one it has not seen.
`);
  output.printTable(
    ['VIEW', 'ENTITIES', 'EVENTS', 'EMBEDDED', 'SHARED', 'DELETED', 'LATE'],
    loaded.map((view): Cell[] => [
      view.feature_view,
      view.entities,
      view.events,
      view.embedded,
      view.shared,
      view.deletes,
      view.late,
    ]),
  );
  output.print(`
shared: another salary, a paused advert, a posting put up again. The model would read what it read
        before, so the change is stored, shares the vector, and costs no inference.
late:   heard of after something newer. It is put where it belongs in the past; the latest stays.`);
  const duplicates = loaded.reduce((sum, { duplicate }) => sum + duplicate, 0);
  if (duplicates > 0) {
    output.print(
      `Of these, ${duplicates} were in this directory already: sent twice, stored once.`,
    );
  }
}

function tellRanking(output: Output, { member_id, as_of, earlier, latest }: Ranking): void {
  chapter(output, 2, 'One question, two moments');
  output.print(`Which jobs fit ${member_id}? One request brings the member's vector and those of all jobs; the cosine of
two vectors is their score. The same request with "as_of" brings the vectors in force then.

  ${day(as_of)}: ${earlier.headline}
  latest:     ${latest.headline}
`);
  const ranks = new Map(earlier.jobs.map(({ job_id }, at) => [job_id, at + 1]));
  output.printTable(
    ['#', 'SCORE', `AS OF ${day(as_of)}`, 'SCORE', 'LATEST', 'WAS #'],
    latest.jobs.slice(0, RANKS_SHOWN).map((job, at): Cell[] => {
      const then = earlier.jobs[at]!;
      const was = ranks.get(job.job_id) ?? 'not there';
      return [at + 1, score(then.score), then.title, score(job.score), job.title, was];
    }),
  );
}

function tellHistory(output: Output, { job_id, revisions }: Findings['history']): void {
  chapter(output, 3, 'Nothing is overwritten');
  output.print(`All that ${job_id} has been, in the order in which it was true. Equal vectors have one number.
`);
  output.printTable(
    ['TRUE SINCE', 'HEARD OF', 'VECTOR', 'WHAT'],
    revisions.map((row): Cell[] => {
      const heard = minute(row.known_timestamp);
      return [
        minute(row.event_timestamp),
        isLate(row) ? { text: heard, style: 'yellow' } : heard,
        row.vector_id ?? 'none',
        row.what,
      ];
    }),
  );
  const late = revisions.find(isLate);
  if (late === undefined) return;
  output.print(`
What is true since ${day(late.event_timestamp)} was heard of on ${day(late.known_timestamp)}. Whoever asks today gets it for the days
from then to the next change; a training row of those days does not, since nobody could have known.`);
}

function isLate(row: HistoryRow): boolean {
  return row.known_timestamp > row.event_timestamp;
}

function tellTraining(output: Output, rows: readonly TrainingRow[]): void {
  chapter(output, 4, 'Training rows without the future');
  output.print(`Each row is a job that a member was shown, and whether they applied. The point-in-time join gives
each row the vectors that were in force, and known, at its moment. The latest vectors instead would
bring postings that were rewritten later, and profiles that name the job which came of it.
`);
  output.printTable(
    ['SHOWN ON', 'MEMBER', 'JOB, AS IT WAS', 'APPLIED', 'AS OF', 'LATEST', ''],
    rows.map((row): Cell[] => [
      day(row.event_timestamp),
      row.member_id,
      `${row.job_id} ${row.title}`,
      row.label === 1 ? 'yes' : 'no',
      score(row.as_of_score),
      score(row.latest_score),
      { text: verdict(row), style: row.job_deleted === null ? 'red' : 'yellow' },
    ]),
  );
  const leaking = rows.filter(({ leaks }) => leaks.length > 0).length;
  const lost = rows.filter(({ job_deleted }) => job_deleted !== null).length;
  output.print(`
${leaking} of ${rows.length} rows would leak: their latest score is made of a text of a later day, which is named.
${lost} would be lost, its job deleted since. The join has neither.`);
}

function verdict({ leaks, job_deleted }: TrainingRow): string {
  if (job_deleted !== null) return `LOST: job deleted ${day(job_deleted)}`;
  const [first, second] = leaks;
  if (first === undefined) return '';
  const more = second === undefined ? '' : `, and ${second.feature_view}`;
  return `LEAK: ${first.feature_view} of ${day(first.since)}${more}`;
}

function chapter(output: Output, number: number, title: string): void {
  output.print(`\n${output.style('bold', `${number}. ${title}`)}\n`);
}

function score(value: number | null): string {
  return value === null ? 'none' : value.toFixed(3);
}

function day(time: string): string {
  return time.slice(0, 10);
}

function minute(time: string): string {
  return time.slice(0, 16).replace('T', ' ');
}
