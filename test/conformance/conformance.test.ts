import { expect, test } from 'vitest';

import { startApi } from '../api/harness.ts';
import { type Question, readCases } from './cases.ts';
import { askEntity, askJoin, askLookup, askStore, compact, live, type Lived } from './tidemark.ts';

test.each(readCases())('case $number: $title', async (given) => {
  const { history, questions } = given;
  const { outcomes, ...lived } = await live(await startApi(), given);
  const rows = history.filter((event) => 'event' in event);
  expect(outcomes).toEqual(rows.map(({ outcome }, at) => outcome ?? outcomes[at]));
  await expectAnswers(lived, questions);
  await compact(lived.api, given.view.versions);
  // What is on the disk is other files now, and the answers are the same ones (A10).
  await expectAnswers(lived, questions);
});

/** Every door gives every question its answer (A3). A spine has no row for the latest. */
async function expectAnswers(lived: Lived, questions: readonly Question[]): Promise<void> {
  for (const question of questions) {
    const { answer } = question;
    const asked = JSON.stringify(question);
    expect(askStore(lived, question), `the store, asked ${asked}`).toEqual(answer);
    expect(await askLookup(lived, question), `a lookup, asked ${asked}`).toEqual(answer);
    expect(await askEntity(lived, question), `an entity, asked ${asked}`).toEqual(answer);
  }
  const spine = questions.filter(({ as_of }) => as_of !== undefined);
  expect(await askJoin(lived, spine), 'a join').toEqual(spine.map(({ answer }) => answer));
}
