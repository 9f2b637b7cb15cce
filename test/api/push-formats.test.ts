import { pack, Packr } from 'msgpackr';
import { expect, test } from 'vitest';

import { requirePlain } from '../../src/api/plain-msgpack.ts';
import { type Answer, type Api, microsOf, minutesAgo, startWithJob } from './harness.ts';

const AT = minutesAgo(10);
const MSGPACK = 'application/vnd.msgpack';
const NDJSON = 'application/x-ndjson';

const RECORDS = [
  { entity_id: 'a', event_timestamp: AT, vector: [0.1, -2] },
  { entity_id: 2, event_timestamp: AT, vector: [1e-7, 3] },
  { entity_id: 'a', event_timestamp: minutesAgo(20), deleted: true },
  { entity_id: '', event_timestamp: AT, vector: [1, 2] },
];

async function stored(api: Api): Promise<unknown> {
  const entity_ids = ['a', '2'];
  const { body } = await api.send('POST', '/v1/lookup', {
    lookups: [
      { feature_view: 'job', entity_ids },
      { feature_view: 'job', entity_ids, name: 'before' },
    ],
    as_of: AT,
  });
  const timeline = await api.send('GET', '/v1/feature-views/job/entities/a/timeline');
  return [body.results, timeline.body.revisions];
}

function sendPacked(api: Api, body: unknown, type = MSGPACK): Promise<Answer> {
  return api.send('POST', '/v1/push', pack(body), { 'content-type': type });
}

function binary(numbers: number[]): Buffer {
  return Buffer.from(new Float32Array(numbers).buffer);
}

const PUSHES: [string, (api: Api) => Promise<Answer>][] = [
  ['JSON', (api) => api.send('POST', '/v1/push', { feature_view: 'job', records: RECORDS })],
  [
    'NDJSON',
    (api) =>
      api.send(
        'POST',
        '/v1/push?feature_view=job',
        RECORDS.map((record) => JSON.stringify(record)).join('\r\n'),
        { 'content-type': NDJSON },
      ),
  ],
  ['MessagePack', (api) => sendPacked(api, { feature_view: 'job', records: RECORDS })],
  [
    'MessagePack with binary vectors and times in microseconds',
    (api) =>
      sendPacked(
        api,
        {
          feature_view: 'job',
          records: RECORDS.map(({ vector, event_timestamp, ...record }) => ({
            ...record,
            event_timestamp: BigInt(microsOf(event_timestamp)),
            ...(vector && { vector: binary(vector) }),
          })),
        },
        'application/x-msgpack',
      ),
  ],
];

test('JSON, NDJSON and MessagePack store the same and answer the same', async () => {
  const states = await Promise.all(
    PUSHES.map(async ([, send]) => {
      const api = await startWithJob();
      const { status, body } = await send(api);
      expect(status).toBe(200);
      const rejected = (body.rejected as { line?: number }[]).map(
        ({ line: _ofLines, ...rest }) => rest,
      );
      return [{ ...body, rejected }, await stored(api)];
    }),
  );
  expect(states[0]).toMatchObject([
    {
      versions: { v1: { latest: 2, history: 1, duplicate: 0 } },
      rejected: [{ index: 3, code: 'BAD_ENTITY_ID' }],
    },
    [
      [
        {
          statuses: ['PRESENT', 'PRESENT'],
          vectors: [
            [Math.fround(0.1), -2],
            [Math.fround(1e-7), 3],
          ],
        },
        {},
      ],
      [{ deleted: false }, { deleted: true }],
    ],
  ]);
  for (const state of states.slice(1)) expect(state).toEqual(states[0]);
});

function line(entity_id: string): string {
  return JSON.stringify({ entity_id, event_timestamp: AT, vector: [1, 2] });
}

test('a line that is no record is rejected with its index, blank ones are none', async () => {
  const api = await startWithJob();
  const body = `\n${line('a')}\n\nnot json\n[1]\n${line('b')}`;
  const { status, body: answer } = await api.send(
    'POST',
    '/v1/push?feature_view=job&results=true&known=event',
    body,
    { 'content-type': `${NDJSON}; charset=utf-8` },
  );
  expect(status).toBe(200);
  expect(answer).toMatchObject({
    results: [{ v1: 'latest' }, null, null, { v1: 'latest' }],
    rejected: [
      { index: 1, line: 4, code: 'BAD_RECORD' },
      { index: 2, line: 5, code: 'BAD_RECORD' },
    ],
  });
  const atomic = await api.send('POST', '/v1/push?feature_view=job&atomic=true', body, {
    'content-type': NDJSON,
  });
  expect([atomic.status, atomic.body.code]).toEqual([422, 'BAD_RECORD']);
  expect(atomic.body.rejected).toMatchObject([{ line: 4 }, { line: 5 }]);
});

test.each([
  ['a record of msgpackr', [0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 0x01], 'without extensions'],
  ['a timestamp', [0xd6, 0xff, 0, 0, 0, 1], 'without extensions'],
  ['200,000 nested arrays', Array.from({ length: 200_000 }, () => 0x91), 'nested deeper than 512'],
])('%s is refused as MessagePack of a request', async (_what, bytes, why) => {
  const api = await startWithJob();
  const { status, body } = await api.send('POST', '/v1/push', Uint8Array.from(bytes), {
    'content-type': 'application/vnd.msgpack',
  });
  expect([status, body.code]).toEqual([422, 'BAD_REQUEST']);
  expect(body.detail).toContain(why);
});

test('MessagePack nested as deep as is allowed, with every size of it, is taken for what it is', () => {
  const nested = Array.from({ length: 512 }, () => 0x91);
  expect(() => requirePlain(Uint8Array.from([...nested, 0xc0]))).not.toThrow();
  const values = [null, true, -1, 300, 70_000, 5e9, -40_000, 1.5, 'x'.repeat(40), 'y'.repeat(300)];
  const more = [
    Buffer.alloc(300),
    Array.from({ length: 20 }, () => 1),
    { a: { b: [{}] } },
    2n ** 60n,
  ];
  const body = new Packr({ useRecords: false }).pack([values, more, values]);
  expect(() => requirePlain(body)).not.toThrow();
  // The last value is what is refused: all before it was passed over whole.
  const last = Buffer.concat([Uint8Array.of(0x92), body, Uint8Array.of(0xd4, 0x72, 0x40)]);
  expect(() => requirePlain(last)).toThrow('0xd4');
});

test('the bytes of a binary and of a text in MessagePack are nobody’s tags, whatever they are', () => {
  for (const length of [40, 300, 70_000]) {
    const body = pack({ vector: Buffer.alloc(length, 0xd8), text: 'Ø'.repeat(length) });
    expect(() => requirePlain(body)).not.toThrow();
  }
});

test('a line that is not UTF-8 is rejected alone, with its number', async () => {
  const api = await startWithJob();
  const broken = Buffer.from(line('x').replace('x', '\xff'), 'latin1');
  const lines = Buffer.concat([
    Buffer.from(`${line('a')}\n\n`),
    broken,
    Buffer.from(`\n${line('b')}`),
  ]);
  const { status, body } = await api.send('POST', '/v1/push?feature_view=job', lines, {
    'content-type': NDJSON,
  });
  expect(status).toBe(200);
  expect(body).toMatchObject({
    versions: { v1: { latest: 2 } },
    rejected: [{ index: 1, code: 'BAD_RECORD', message: 'line 3 is not UTF-8' }],
  });
});

/** MessagePack with the byte in place of every `?`, as a writer that does not check would send it. */
function packedWith(byte: number, value: unknown): Buffer {
  return Buffer.from(pack(value).map((each) => (each === 0x3f ? byte : each)));
}

test('ids of MessagePack that are not UTF-8 are refused, or two entities would be one', async () => {
  const api = await startWithJob();
  const headers = { 'content-type': MSGPACK };
  const records = [
    { entity_id: 'x?', event_timestamp: AT, vector: [1, 2] },
    { entity_id: 'x', event_timestamp: AT, vector: [1, 2] },
  ];
  for (const byte of [0xff, 0xfe]) {
    const push = packedWith(byte, { feature_view: 'job', records });
    const pushed = await api.send('POST', '/v1/push', push, headers);
    expect(pushed.body.rejected).toMatchObject([
      { index: 0, code: 'BAD_ENTITY_ID', message: expect.stringContaining('UTF-8') as string },
    ]);
    const asked = packedWith(byte, { lookups: [{ feature_view: 'job', entity_ids: ['x?', 'x'] }] });
    const found = await api.send('POST', '/v1/lookup', asked, headers);
    expect(found.body.results).toMatchObject([
      { statuses: ['INVALID', 'PRESENT'], reasons: ['BAD_ENTITY_ID', null] },
    ]);
  }
});

test('JSON that is cut or misspelt says where', async () => {
  const api = await startWithJob();
  const { body } = await api.send('POST', '/v1/push', '{"records": [{"a": tru}]}', {
    'content-type': 'application/json',
  });
  expect(body.detail).toMatch(/^the body is not JSON: Unexpected token '}', .*tru}/);
});

test('the key __proto__ is a key like any other, and reaches no prototype', async () => {
  const api = await startWithJob();
  const send = (text: string) =>
    api.send('POST', '/v1/push', text, { 'content-type': 'application/json' });
  const inBody = await send(
    '{"feature_view": "job", "records": [], "__proto__": {"atomic": true}}',
  );
  expect([inBody.status, inBody.body.code]).toEqual([422, 'BAD_REQUEST']);
  expect(inBody.body.detail).toContain('"__proto__"');
  const record = `{"event_timestamp": "${AT}", "vector": [1, 2], "__proto__": {"entity_id": "a"}}`;
  const inRecord = await send(`{"feature_view": "job", "records": [${record}]}`);
  expect(inRecord.body.rejected).toMatchObject([{ code: 'BAD_RECORD' }]);
  expect(Object.hasOwn(Object.prototype, 'atomic')).toBe(false);
});

test('JSON may begin with a byte order mark', async () => {
  const api = await startWithJob();
  const text = `\ufeff${JSON.stringify({ feature_view: 'job', records: [] })}`;
  const { status } = await api.send('POST', '/v1/push', text, {
    'content-type': 'application/json',
  });
  expect(status).toBe(200);
});

test('what the body says goes before what the query says', async () => {
  const api = await startWithJob();
  const { body } = await api.send('POST', '/v1/push?feature_view=nobody&atomic=true', {
    feature_view: 'job',
    atomic: false,
    records: [{}],
  });
  expect(body).toMatchObject({ feature_view: 'job', rejected: [{ index: 0 }] });
});

test.each([
  ['atomic=yes', 'query/atomic'],
  ['known=never', 'query/known'],
  ['feature_views=job', 'query'],
])('the query %s is refused', async (query, path) => {
  const api = await startWithJob();
  const { status, body } = await api.send('POST', `/v1/push?${query}`, { records: [] });
  expect(status).toBe(422);
  expect(body).toMatchObject({ errors: [{ path }] });
});

test.each([
  ['JSON that is cut', 'application/json', '{"records": ['],
  ['JSON that is not UTF-8', 'application/json', Buffer.from([0x22, 0xff, 0x22])],
  ['nothing', 'application/json', ''],
  ['MessagePack that is cut', MSGPACK, Buffer.from([0xdd, 0xff])],
  ['MessagePack of a number', MSGPACK, Buffer.from([1])],
  [
    'MessagePack of a promise of 2^32 records',
    MSGPACK,
    Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff]),
  ],
  ['MessagePack of 100,000 lists in each other', MSGPACK, Buffer.alloc(100_000, 0x91)],
])('a body of %s is refused', async (_what, type, bytes) => {
  const api = await startWithJob();
  const { status, body } = await api.send('POST', '/v1/push?feature_view=job', bytes, {
    'content-type': type,
  });
  expect([status, body.code]).toEqual([422, 'BAD_REQUEST']);
});

test('an int64 that a number cannot hold is no id, in MessagePack too', async () => {
  const api = await startWithJob();
  const { body } = await sendPacked(api, {
    feature_view: 'job',
    records: [
      { entity_id: 2n ** 53n + 1n, event_timestamp: AT, vector: [1, 2] },
      { entity_id: 'a', event_timestamp: 2n ** 60n, vector: [1, 2] },
      { entity_id: 'a', event_timestamp: 1.5, vector: [1, 2] },
      { entity_id: BigInt(5), event_timestamp: AT, vector: [1, 2] },
    ],
  });
  expect(body).toMatchObject({
    versions: { v1: { latest: 1 } },
    rejected: [
      { index: 0, code: 'BAD_ENTITY_ID' },
      { index: 1, code: 'BAD_TIMESTAMP' },
      { index: 2, code: 'BAD_TIMESTAMP' },
    ],
  });
});

test.each([
  ['text/plain', 'x'],
  ['application/xml', '<x/>'],
  ['nonsense', 'x'],
])('a body of type %s is not taken', async (type, body) => {
  const api = await startWithJob();
  const answer = await api.send('POST', '/v1/push', body, { 'content-type': type });
  expect([answer.status, answer.body.code]).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE']);
  expect(answer.body.detail).toContain(`only application/json, ${MSGPACK}`);
});

test('a body in a content encoding is not taken, unless that is identity', async () => {
  const api = await startWithJob();
  const body = { feature_view: 'job', records: [] };
  const packed = await api.send('POST', '/v1/push', body, { 'content-encoding': 'gzip' });
  expect([packed.status, packed.body.code]).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE']);
  expect(packed.body.detail).toContain('gzip');
  const plain = await api.send('POST', '/v1/push', body, { 'content-encoding': 'identity' });
  expect(plain.status).toBe(200);
});
