import { expect, test } from 'vitest';

import { micros } from '../../src/ground/time.ts';
import { sourceConfigSchema } from '../../src/ingest/source-config.ts';
import { checkSourceFields } from '../../src/ingest/source-fields.ts';
import type { ModelBinding, ModelVersion } from '../../src/store/catalogue.ts';

const PROMPT = { template: '{{title}} {{place}}', fields: ['title', 'place'] };
const PARTS = { ...PROMPT, parts: { role: ['title'], site: ['place'] } };

function version(prompt?: ModelBinding['prompt']): ModelVersion {
  const model = { name: 'hashing', fingerprint: 'f', ...(prompt && { prompt }) };
  return { version: 'v1', dim: 2, dtype: 'float32', created_timestamp: micros(0), model };
}

function check(settings: object, prompt?: ModelBinding['prompt']): void {
  const config = sourceConfigSchema.parse({
    name: 'jobs',
    feature_view: 'job',
    version: 'v1',
    topics: ['jobs'],
    content: 'fields',
    event_timestamp: 'record',
    known_timestamp: 'record',
    ...settings,
  });
  checkSourceFields(config, version(prompt));
}

test('a source that says what the prompt reads, or all that there is, is in order', () => {
  const inOrder: [object, typeof PROMPT][] = [
    [{}, PROMPT],
    [{ fields: 'after' }, PROMPT],
    [{ fields: { title: 'title', place: 'site.city' } }, PROMPT],
    [{ part: 'role', fields: { title: 'title' } }, PARTS],
  ];
  for (const [settings, prompt] of inOrder) expect(() => check(settings, prompt)).not.toThrow();
});

test.each([
  [{}, undefined, 'the model version has no prompt'],
  [{ fields: { title: 'x' } }, PROMPT, 'fields lacks place'],
  [{ fields: { title: 'x', place: 'y', titel: 'z' } }, PROMPT, 'fields has titel'],
  [{ part: 'role' }, PROMPT, 'the prompt of the model version has no parts'],
  [{}, PARTS, 'got no part, expected one of the prompt’s: role, site'],
  [{ part: 'roles' }, PARTS, 'got the part roles'],
  [{ part: 'role', fields: { title: 'x', place: 'y' } }, PARTS, 'fields has place'],
])(
  'a source whose fields are not the prompt’s is refused at its start: %o',
  (settings, prompt, message) => {
    expect(() => check(settings, prompt)).toThrow(
      expect.objectContaining({ code: 'BAD_CONFIG', message: expect.stringContaining(message) }),
    );
  },
);
