import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import {
  type ChangeEvent,
  readApplications,
  readChanges,
  SAMPLES,
} from '../../src/cli/demo/samples.ts';
import { formatInstant, parseInstant } from '../../src/ground/time.ts';

const FOLDER = new URL('../../samples', import.meta.url).pathname;
const jobs = readChanges('jobs');

const knownOf = ({ ts, known_ts = ts }: ChangeEvent): number => parseInstant(known_ts);

test.each(SAMPLES)(
  '%s come in the order in which they were heard of, in whole images',
  (sample) => {
    const changes = readChanges(sample);
    const fields = Object.keys(changes[0]!.after!);
    const living = new Set<string>();
    let last = 0;
    for (const change of changes) {
      expect(formatInstant(parseInstant(change.ts))).toBe(change.ts);
      expect(knownOf(change)).toBeGreaterThanOrEqual(Math.max(last, parseInstant(change.ts)));
      last = knownOf(change);
      expect(change.op === 'c').toBe(!living.has(change.id));
      if (change.op === 'd') {
        expect(change.after).toBeNull();
        living.delete(change.id);
      } else {
        expect(Object.keys(change.after!)).toEqual(fields);
        living.add(change.id);
      }
    }
  },
);

test('the jobs have what change streams have: deletes, a posting put up again, late corrections', () => {
  expect(new Set(jobs.map(({ id }) => id)).size).toBeGreaterThanOrEqual(40);
  const deleted = jobs.filter(({ op }) => op === 'd').map(({ id }) => id);
  expect(deleted.length).toBeGreaterThan(1);
  const created = jobs.filter(({ op }) => op === 'c').map(({ id }) => id);
  const again = created.filter((id, at) => created.indexOf(id) < at);
  expect(again.length).toBeGreaterThan(0);
  for (const id of again) expect(deleted).toContain(id);
  expect(jobs.filter(({ known_ts }) => known_ts !== undefined).length).toBeGreaterThan(2);
});

function wasThere(changes: ChangeEvent[], id: string, moment: string): boolean {
  const change = changes.findLast((each) => each.id === id && each.ts <= moment);
  return change !== undefined && change.after !== null;
}

test('every application is of a member and a job that were there', () => {
  const members = readChanges('members');
  for (const { member_id, job_id, event_timestamp } of readApplications()) {
    expect(wasThere(members, member_id, event_timestamp)).toBe(true);
    expect(wasThere(jobs, job_id, event_timestamp)).toBe(true);
  }
});

test('the samples are small', () => {
  const sizes = readdirSync(FOLDER).map((name) => statSync(join(FOLDER, name)).size);
  expect(sizes.reduce((sum, size) => sum + size)).toBeLessThan(150_000);
});
