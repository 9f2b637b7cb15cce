import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

/** One change of a job posting, as the real change log has it. */
export interface PostingChange {
  op: 'c' | 'u' | 'd';
  ts_ms: number;
  id: string;
  after: Record<string, unknown> | null;
}

/** A real change log of job postings, gzipped lines of JSON; it is not part of the project. */
export const CHANGE_LOG =
  process.env['JOB_POSTINGS_PATH'] ??
  join(import.meta.dirname, '../../../shared/data/job-postings.jsonl.gz');

/** Why there is no change log to test with, undefined when there is one. Where CI is true, it must. */
export function changeLogMissing(): string | undefined {
  if (existsSync(CHANGE_LOG)) return undefined;
  const why = `${CHANGE_LOG} is not there; JOB_POSTINGS_PATH says where it is`;
  if (process.env['CI'] === 'true') throw new Error(why);
  return why;
}

/** The lines as they stand, in the order of the file. */
export function changeLogLines(): string[] {
  return gunzipSync(readFileSync(CHANGE_LOG)).toString('utf8').trimEnd().split('\n');
}

export const PROMPT = {
  template: '{{title}} at {{company}}. {{locations}}. {{terms}}. {{sponsorship}}',
  fields: ['title', 'company', 'locations', 'terms', 'sponsorship'],
};

/** The prompt's text of a posting, written out by hand: what the model must have read. */
export function textOf(after: Record<string, unknown>): string {
  const text = (name: string): string => {
    const value = (after[name] ?? '') as string | string[];
    return Array.isArray(value) ? value.filter((item) => item !== '').join(', ') : value;
  };
  return `${text('title')} at ${text('company_name')}. ${text('locations')}. ${text('terms')}. ${text('sponsorship')}`
    .normalize('NFC')
    .replaceAll(/[\u200b\u2060\ufeff]/g, '')
    .replaceAll(/\s+/g, ' ')
    .trim();
}
