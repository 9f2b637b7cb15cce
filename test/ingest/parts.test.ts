import fc from 'fast-check';
import { expect, test } from 'vitest';

import { EntityRows, type FieldSource, type Said } from '../../src/ingest/parts.ts';
import type { FieldRow } from '../../src/store/fields.ts';

const PARTS = { profile: ['headline', 'skills'], resume: ['text'] };

function row(
  part: string,
  event: number,
  known: number,
  fields: Record<string, unknown> | null,
): FieldRow {
  return { entityId: 'ada', part, event, known, fields };
}

const NOTHING: FieldSource = { newest: () => [] };

/** As the store keeps them. */
function sourceOf(rows: readonly FieldRow[]): FieldSource {
  return {
    newest(_id, part, limit, before) {
      const ofPart = rows
        .filter((each) => each.part === part)
        .toSorted((a, b) => b.event - a.event || b.known - a.known);
      const from = before === undefined ? 0 : ofPart.indexOf(before) + 1;
      return ofPart.slice(from, from + limit);
    },
  };
}

function say(rows: readonly FieldRow[]): Said[] {
  const entity = new EntityRows(NOTHING, 'ada', PARTS, { event: 0, known: 0 });
  return rows.flatMap((each) => entity.say(each));
}

const profile = { headline: 'Baker', skills: ['bread'] };

test('a record of one part becomes a revision with what the other part last said', () => {
  const said = say([row('profile', 1, 1, profile), row('resume', 5, 5, { text: 'I bake' })]);
  expect(said).toEqual([
    { event: 1, known: 1, fields: profile },
    { event: 5, known: 5, fields: { ...profile, text: 'I bake' } },
  ]);
});

test('a late record of one part corrects what was said of the moments after it (A2)', () => {
  const said = say([
    row('profile', 1, 1, profile),
    row('profile', 7, 7, { headline: 'Chef', skills: [] }),
    row('resume', 3, 9, { text: 'I bake' }),
  ]);
  expect(said.slice(2)).toEqual([
    { event: 3, known: 9, fields: { ...profile, text: 'I bake' } },
    { event: 7, known: 9, fields: { headline: 'Chef', skills: [], text: 'I bake' } },
  ]);
});

test('a late record changes nothing at moments for which its part has said something newer', () => {
  const said = say([
    row('profile', 1, 1, profile),
    row('resume', 5, 5, { text: 'new' }),
    row('resume', 3, 9, { text: 'old' }),
  ]);
  expect(said.at(-1)).toEqual({ event: 3, known: 9, fields: { ...profile, text: 'old' } });
  expect(said).toHaveLength(3);
});

test('a field that a record does not speak of keeps its value', () => {
  const said = say([row('profile', 1, 1, profile), row('profile', 2, 2, { headline: 'Chef' })]);
  expect(said.at(-1)!.fields).toEqual({ headline: 'Chef', skills: ['bread'] });
});

test('what is deleted of one part leaves the other; with the last part the entity is gone (A7)', () => {
  const said = say([
    row('profile', 1, 1, profile),
    row('resume', 2, 2, { text: 'I bake' }),
    row('profile', 3, 3, null),
    row('resume', 4, 4, null),
    row('profile', 5, 5, { headline: 'Back' }),
  ]);
  expect(said.map(({ fields }) => fields).slice(2)).toEqual([
    { text: 'I bake' },
    null,
    { headline: 'Back' },
  ]);
});

test('a field is untold where nothing before said it, or the part was deleted since', () => {
  const entity = new EntityRows(NOTHING, 'ada', PARTS, { event: 0, known: 0 });
  expect(entity.untold(row('profile', 1, 1, { headline: 'Baker' }))).toEqual(['skills']);
  entity.say(row('profile', 1, 1, profile));
  expect(entity.untold(row('profile', 2, 2, { headline: 'Chef' }))).toEqual([]);
  expect(entity.untold(row('profile', 0, 2, { headline: 'Chef' }))).toEqual(['skills']);
});

const values = fc.record({ fields: fc.constantFrom('full', 'headline', 'gone'), value: fc.nat(2) });
const anyRow = fc
  .tuple(fc.constantFrom('profile', 'resume'), fc.nat(5), fc.nat(5), values)
  .map(([part, event, known, { fields, value }]) => {
    const headline = `h${value}`;
    const said = part === 'resume' ? { text: headline } : { headline, skills: [value] };
    if (fields === 'gone') return row(part, event, known, null);
    return row(part, event, known, fields === 'full' || part === 'resume' ? said : { headline });
  });

/** What the rows say, looked up in all of them. */
function naive(
  rows: readonly FieldRow[],
  event: number,
  known: number,
): Said['fields'] | undefined {
  const within = rows.filter((each) => each.event <= event && each.known <= known);
  if (within.length === 0) return undefined;
  const fields: Record<string, unknown> = {};
  let isThere = false;
  for (const part of Object.keys(PARTS)) {
    const ofPart = within
      .filter((each) => each.part === part)
      .toSorted((a, b) => a.event - b.event || a.known - b.known);
    const from = ofPart.findLastIndex((each) => each.fields === null);
    for (const each of ofPart.slice(from + 1)) {
      Object.assign(fields, each.fields);
      isThere = true;
    }
  }
  return isThere ? fields : null;
}

test('in whatever order records come, any question is answered by all that was known (A2, A5)', () => {
  fc.assert(
    fc.property(fc.array(anyRow, { maxLength: 8 }), fc.nat(8), (all, split) => {
      // Of one moment of one part the last one counts, so there is but one of each.
      const rows = [...new Map(all.map((each) => [keyOf(each), each])).values()];
      // Some were kept by the store before, the rest come now.
      const kept = rows.slice(0, split);
      const revisions = say(kept);
      const stored = [...kept];
      for (const each of rows.slice(split)) {
        revisions.push(...new EntityRows(sourceOf(stored), 'ada', PARTS, each).say(each));
        stored.push(each);
      }
      for (let event = 0; event <= 5; event++) {
        for (let known = 0; known <= 5; known++) {
          const winner = revisions
            .filter((each) => each.event <= event && each.known <= known)
            .toSorted((a, b) => a.event - b.event || a.known - b.known)
            .at(-1);
          expect(winner?.fields, `${event}, ${known}`).toEqual(naive(rows, event, known));
        }
      }
    }),
    { numRuns: 2_000 },
  );
});

function keyOf({ part, event, known }: FieldRow): string {
  return `${part} ${event} ${known}`;
}
