import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { seeded } from '../model/random.ts';
import { damage, FILES, filled, wrongAnswers } from './damage.ts';
import type { Flip } from './damage-child.ts';

const FLIPS = Number(process.env['DAMAGE_FLIPS'] ?? 240);

test(`of ${FLIPS} bytes flipped anywhere none changes an answer that verify does not warn of`, async () => {
  const { directory, asked, answers } = await filled();
  const random = seeded(20_261_122);
  const sizes = FILES.map((file) => readFileSync(join(directory, file)).byteLength);
  const flips = Array.from({ length: FLIPS }, (_, at): Flip => {
    const which = at % FILES.length;
    return { file: FILES[which]!, at: [random(sizes[which]!)], bits: 1 + random(255) };
  });
  const found = await damage(directory, flips, asked);
  const silent: unknown[] = [];
  const counts = { found: 0, refused: 0, crashed: 0, wrong: 0, harmless: 0 };
  for (const one of found) {
    const isFound = (one.problems?.length ?? 0) > 0;
    const wrong = wrongAnswers(one, answers);
    // Verify has the say before anything else: whatever the damage, it lives to tell.
    expect(one.problems, JSON.stringify(one.flip)).toBeDefined();
    if (isFound) counts.found++;
    if (one.refused !== undefined) counts.refused++;
    if (wrong.length > 0) counts.wrong++;
    const isCrash = one.refused === undefined && one.answers === undefined;
    if (isCrash) counts.crashed++;
    if (!isFound && wrong.length === 0 && !isCrash) counts.harmless++;
    const isKnown = isFound || one.refused?.startsWith('STORE_') === true;
    if (!isKnown && (wrong.length > 0 || isCrash)) silent.push([one.flip, wrong.slice(0, 3)]);
  }
  console.log(JSON.stringify(counts));
  expect(silent).toEqual([]);
  expect(counts.found).toBeGreaterThan(FLIPS / 10);
}, 600_000);
