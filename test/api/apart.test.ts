import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { takeApart } from '../../src/api/apart.ts';
import { startWithJob } from './harness.ts';

/** The body as it is read apart, with the ids put back as texts; undefined where it is not. */
function putTogether(body: Buffer): unknown {
  const apart = takeApart(body);
  if (apart === undefined) return undefined;
  const rest = Buffer.from(apart.rest, 'latin1').toString('utf8');
  return JSON.parse(rest, (key, value: unknown) =>
    key === 'entity_ids' ? apart.lists[(value as number[])[0]!]!.texts() : value,
  );
}

/** The body as JSON has it, with whole numbers as the ids that they are. */
function parsed(body: Buffer): unknown {
  return JSON.parse(body.toString('utf8'), function (key, value: unknown) {
    if (key !== 'entity_ids' || !Array.isArray(value)) return value;
    return value.map((id) => (typeof id === 'number' ? String(id) : (id as unknown)));
  });
}

describe('the ids of a body of JSON are read apart', () => {
  test.each([
    [
      'texts and whole numbers',
      '{"lookups":[{"feature_view":"job","entity_ids":["a",7,-3,"é😀"]}]}',
    ],
    ['no ids', '{"lookups":[{"entity_ids":[]}]}'],
    ['space wherever there may be', ' { "entity_ids" :\n[\t"a" ,\r\n1 ] , "x" : 1 } '],
    ['several lists', '{"lookups":[{"entity_ids":["a"]},{"name":"ü","entity_ids":["b","c"]}]}'],
    ['an id that is called as the key is', '{"name":"a","entity_ids":["entity_ids"]}'],
    ['the longest number', '{"entity_ids":[999999999999999,-1]}'],
  ])('%s', (_what, text) => {
    const body = Buffer.from(text);
    expect(putTogether(body)).toEqual(parsed(body));
  });

  test('many lists in one body have memory for their own ids alone', () => {
    const list = { entity_ids: ['a]'.repeat(100), 1] };
    const body = Buffer.from(JSON.stringify(Array.from({ length: 1_000 }, () => list)));
    const { lists } = takeApart(body)!;
    expect(lists.map((ids) => ids.texts())).toEqual(lists.map(() => [list.entity_ids[0], '1']));
    const held = lists.reduce((sum, { bytes, ends }) => sum + bytes.length + ends.byteLength, 0);
    expect(held).toBeLessThan(20 * body.length);
  });

  test('what differs in its ids alone has the same rest', () => {
    const rests = [['a'], ['b', 'c']].map((ids) =>
      takeApart(Buffer.from(JSON.stringify({ name: 'ü', entity_ids: ids, as_of: null }))),
    );
    expect(rests[0]!.rest).toBe(rests[1]!.rest);
  });

  test.each([
    ['an escape in an id', String.raw`{"entity_ids":["a\u0062"]}`],
    ['an escape in a key', String.raw`{"entity\u005fids":[1],"entity_ids":["a"]}`],
    ['an id beyond 1,024 bytes', `{"entity_ids":["${'a'.repeat(1_025)}"]}`],
    ['something that is no id', '{"entity_ids":["a",null]}'],
    ['a list within', '{"entity_ids":[["a"]]}'],
    ['a number with a point', '{"entity_ids":[1.0]}'],
    ['a number with an exponent', '{"entity_ids":[1e2]}'],
    ['a number that begins with 0', '{"entity_ids":[01]}'],
    ['minus zero', '{"entity_ids":[-0]}'],
    ['a number too long to be sure of', '{"entity_ids":[1234567890123456]}'],
    ['more lists than any request has', `[${'{"entity_ids":[]},'.repeat(1_024)}{"entity_ids":[]}]`],
    ['a comma too many', '{"entity_ids":["a",]}'],
    ['no end', '{"entity_ids":["a"'],
    ['a text without an end', '{"entity_ids":["a'],
    ['a control character', '{"entity_ids":["a\u0001"]}'],
    ['no list', '{"entity_ids":"a"}'],
    ['a text that is called as the key is', '{"name":"entity_ids","entity_ids":["a"]}'],
    ['no ids at all', '{"lookups":[]}'],
  ])('not where there is %s', (_what, text) => {
    expect(takeApart(Buffer.from(text))).toBeUndefined();
  });

  test('not where it is not UTF-8', () => {
    expect(takeApart(Buffer.from('{"entity_ids":["\xff"]}', 'latin1'))).toBeUndefined();
  });

  test('and whatever stands in it, and however it is damaged, it is read as JSON is', () => {
    const id = fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.integer(),
      fc.stringMatching(/^job-\d{1,6}$/),
    );
    const lookup = fc.record({
      feature_view: fc.string(),
      entity_ids: fc.array(id, { maxLength: 6 }),
      name: fc.option(fc.string({ unit: 'grapheme' }), { nil: undefined }),
    });
    const damage = fc.option(
      fc.record({ at: fc.nat(400), byte: fc.constantFrom(...Buffer.from('"\\,:[]{}0 5-.eé')) }),
      { nil: undefined },
    );
    fc.assert(
      fc.property(
        fc.record({ lookups: fc.array(lookup, { maxLength: 3 }), as_of: fc.string() }),
        fc.nat(2),
        fc.array(damage, { maxLength: 3 }),
        (value, indent, damages) => {
          const body = Buffer.from(JSON.stringify(value, undefined, indent));
          for (const each of damages)
            if (each !== undefined && each.at < body.length) body[each.at] = each.byte;
          let together: unknown;
          try {
            together = putTogether(body);
          } catch {
            // The rest is JSON exactly when the body is.
            expect(() => parsed(body)).toThrow(SyntaxError);
            return;
          }
          if (together !== undefined) expect(together).toEqual(parsed(body));
        },
      ),
      { numRuns: 500 },
    );
  });
});

test('a lookup is answered the same, whether its ids are read apart or not', async () => {
  const api = await startWithJob();
  const records = ['a', 'é😀', '7'].map((entity_id, at) => ({
    entity_id,
    event_timestamp: '2026-01-01T00:00:00Z',
    vector: [at, 1],
  }));
  await api.send('POST', '/v1/push', { feature_view: 'job', records });
  const ask = async (text: string) => {
    const { status, body } = await api.send('POST', '/v1/lookup', Buffer.from(text), {
      'content-type': 'application/json',
    });
    return { status, body };
  };
  const apart = await ask('{"lookups":[{"feature_view":"job","entity_ids":["a","é😀",7,"","x"]}]}');
  const whole = await ask(
    String.raw`{"lookups":[{"feature_view":"j\u006fb","entity_ids":["a","é😀",7,"","x"]}]}`,
  );
  expect(apart.status).toBe(200);
  expect((apart.body.results as { statuses: string[] }[])[0]!.statuses).toEqual([
    'PRESENT',
    'PRESENT',
    'PRESENT',
    'INVALID',
    'NOT_FOUND',
  ]);
  expect(apart).toEqual(whole);
  // What is wrong is told of the whole body.
  const wrong = await ask('{"lookups":[{"feature_view":7,"entity_ids":["a"]}]}');
  expect([wrong.status, wrong.body.code]).toEqual([422, 'BAD_REQUEST']);
});
