import { expect, test } from 'vitest';

import { negotiate } from '../../src/api/media.ts';

const OFFERED = ['application/json', 'application/vnd.safetensors', 'application/vnd.msgpack'];

test.each([
  [undefined, 'application/json'],
  ['', 'application/json'],
  ['*/*', 'application/json'],
  ['application/vnd.msgpack', 'application/vnd.msgpack'],
  ['Application/VND.msgpack; q=1', 'application/vnd.msgpack'],
  ['application/json;q=0.5, application/vnd.safetensors', 'application/vnd.safetensors'],
  ['application/vnd.msgpack, application/vnd.safetensors', 'application/vnd.safetensors'],
  ['application/json;q=0, */*', 'application/vnd.safetensors'],
  ['application/*;q=0.2, application/vnd.msgpack;q=0.3', 'application/vnd.msgpack'],
  ['text/html, application/xhtml+xml, */*;q=0.8', 'application/json'],
  ['text/html', undefined],
  ['*/*;q=0', undefined],
  ['application/json;q=x', undefined],
])('an Accept of %s is answered with %s', (accept, type) => {
  expect(negotiate(accept, OFFERED)).toBe(type);
});
