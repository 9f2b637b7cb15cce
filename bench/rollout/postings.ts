import { writeFileSync } from 'node:fs';

import { compilePrompt } from '../../src/ingest/prompt.ts';
import { changeLogLines, type PostingChange, PROMPT } from '../../test/support/change-log.ts';

/** What the first version reads, and what the next one shall read: when a job was posted, too. */
export const PROMPTS = {
  v1: PROMPT,
  v2: {
    template:
      '{{title}}, {{terms}}\n{{company}}, {{locations}}\nPosted {{date_posted}}. {{sponsorship}}',
    fields: ['title', 'terms', 'company', 'locations', 'date_posted', 'sponsorship'],
  },
};

/** The columns of the rows, beside those of the fields. */
export const COLUMNS = {
  entity_id: 'job_id',
  event_timestamp: 'at',
  deleted: 'deleted',
};

/** A job posting, as the prompts name its fields. */
export type Fields = Record<string, unknown>;

export interface Postings {
  events: number;
  /** Those that are there at the end, by id. */
  live: Map<string, Fields>;
  /** What the model reads of all of them under the second prompt, each once. */
  texts: string[];
}

/** Writes the real change log as the rows of a file. */
export function writePostings(path: string): Postings {
  const prompt = compilePrompt(PROMPTS.v2);
  const live = new Map<string, Fields>();
  const texts = new Set<string>();
  const rows = changeLogLines().map((line) => {
    const { ts_ms, id, after } = JSON.parse(line) as PostingChange;
    const row = { job_id: id, at: new Date(ts_ms).toISOString(), deleted: after === null };
    if (after === null) {
      live.delete(id);
      return JSON.stringify(row);
    }
    const fields = { ...after, company: after['company_name'] };
    live.set(id, fields);
    texts.add(prompt.render(fields));
    return JSON.stringify({ ...row, ...fields });
  });
  writeFileSync(path, `${rows.join('\n')}\n`);
  return { events: rows.length, live, texts: [...texts] };
}
