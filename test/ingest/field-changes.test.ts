import { expect, test } from 'vitest';

import { FieldChanges } from '../../src/ingest/field-changes.ts';

test('a field that is another one at every event of its entity is told from those that stay', () => {
  const changes = new FieldChanges(['title', 'updated_at', 'views']);
  for (let event = 0; event < 1_100; event++) {
    const title = event % 100 === 0 ? `Baker ${event}` : 'Baker';
    changes.note(`job-${event % 10}`, { title, updated_at: event, views: event >> 5 });
  }
  expect(changes.events).toBe(1_090);
  expect(changes.volatile()).toEqual(['updated_at']);
  expect(changes.changes['title']).toBeLessThan(50);
});

test('nothing is said of a field before a thousand events of entities that were seen before', () => {
  const changes = new FieldChanges(['at']);
  for (let event = 0; event <= 1_000; event++) changes.note('ada', { at: event });
  expect(changes.volatile()).toEqual(['at']);
  const fresh = new FieldChanges(['at']);
  for (let event = 0; event <= 5_000; event++) fresh.note(`job-${event}`, { at: event });
  expect(fresh.volatile()).toEqual([]);
});

test('the entities not heard of for longest are forgotten, so memory is bounded', () => {
  const changes = new FieldChanges(['at']);
  for (let event = 0; event < 5_000; event++) changes.note(`job-${event}`, { at: 1 });
  changes.note('job-0', { at: 2 });
  changes.note('job-4999', { at: 2 });
  expect([changes.events, changes.changes['at']]).toEqual([1, 1]);
});
