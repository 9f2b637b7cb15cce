import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { loadConfig } from '../../src/config.ts';
import { tempDirectory } from '../support/temp.ts';

function file(text: string): string {
  const path = join(tempDirectory(), 'tidemark.yaml');
  writeFileSync(path, text);
  return path;
}

test('without any setting the defaults serve on loopback from ./data', () => {
  expect(loadConfig({}, {})).toMatchObject({
    data: resolve('data'),
    models: resolve('data/models'),
    host: '127.0.0.1',
    port: 8_080,
    sources: [],
    max_future_skew_seconds: 300,
    inference: { provider: 'cpu' },
  });
});

test('the command line goes over the environment, and that over the file', () => {
  const path = file(
    'port: 1\nhost: 0.0.0.0\nlog_level: warn\nlimits: {lookups: 3, lookup_ids: 4}\n',
  );
  const environment = {
    TIDEMARK_PORT: '2',
    TIDEMARK_LOG_LEVEL: 'error',
    TIDEMARK_LIMITS__LOOKUPS: '5',
    TIDEMARK_URL: 'for the command line',
  };
  expect(loadConfig({ port: 9, data: undefined }, environment, path)).toMatchObject({
    port: 9,
    host: '0.0.0.0',
    log_level: 'error',
    limits: { lookups: 5, lookup_ids: 4 },
  });
});

test.each([
  ['port: eighty', 'port: got "eighty"'],
  ['prot: 80', 'prot: there is no such setting'],
  ['limits: {body_bites: 1}', 'limits.body_bites: there is no such setting'],
  ['max_future_skew_seconds: -1', 'max_future_skew_seconds: got -1'],
  ['[1, 2]', 'expected a mapping'],
  ['a: [', 'is not YAML'],
  [
    'sources: [{name: jobs, content: vector, encoding: bytes, topics: [t], feature_view: job, version: v1, known_timestamp: record}]',
    'expected the brokers',
  ],
  [
    'follow: "http://leader:8080"\nserving: {workers: 2}',
    'serving.workers: got 2; expected 0 where follow is set',
  ],
  ['sources: [{name: jobs, encoding: row}]', 'sources.0.encoding: got "row"'],
  [
    'kafka: {brokers: ["127.0.0.1:9092"]}\nsources: [{name: jobs, content: vector, encoding: avro, topics: [t], feature_view: job, version: v1, known_timestamp: record}]',
    'expected the url of the registry',
  ],
  [
    'kafka: {brokers: ["127.0.0.1:9092"]}\nsources: [{name: jobs, content: fields, topics: [{topic: t, envelope: debezium}, u], feature_view: job, version: v1, known_timestamp: record}]',
    'sources.0.event_timestamp: got nothing; expected record, {path, unit}',
  ],
  [
    'kafka: {brokers: ["127.0.0.1:9092"], ssl: {cert: /a}}',
    'kafka.ssl.key: got {"cert":"/a"}; expected cert and key together',
  ],
])('the setting %s is refused with its key, its value and what was expected', (text, message) => {
  expect(() => loadConfig({}, {}, file(text))).toThrow(message);
});

test('a file that is named must be there', () => {
  expect(() => loadConfig({}, {}, '/nowhere/tidemark.yaml')).toThrow('cannot be read');
});

test('a file in the working directory that cannot be read is not passed over', () => {
  const directory = tempDirectory();
  const before = process.cwd();
  onTestFinished(() => process.chdir(before));
  process.chdir(directory);
  expect(loadConfig({}, {}).port).toBe(8_080);
  mkdirSync(join(directory, 'tidemark.yaml'));
  expect(() => loadConfig({}, {})).toThrow('cannot be read');
});

test('two sources of one name are refused: offsets are kept by it (A12)', () => {
  const source =
    'content: vector, encoding: bytes, topics: [t], feature_view: job, version: v1, known_timestamp: record';
  const text = `kafka: {brokers: ["127.0.0.1:9092"]}\nsources: [{name: a, ${source}}, {name: a, ${source}}]`;
  expect(() => loadConfig({}, {}, file(text))).toThrow('another name for each source');
});

test('what stands where a password belongs is never shown', () => {
  const kafka = { TIDEMARK_KAFKA__BROKERS: '["127.0.0.1:9092"]' };
  const message = (environment: Record<string, string>): string => {
    try {
      loadConfig({}, { ...kafka, ...environment });
      return '';
    } catch (error) {
      return String(error);
    }
  };
  expect(message({ TIDEMARK_KAFKA__SASL: 'plain:hunter2' })).toMatch(
    /kafka\.sasl: got another value/,
  );
  const wrong = message({ TIDEMARK_KAFKA__SASL__MECHANISM: 'hunter2' });
  expect(wrong).toContain('kafka.sasl.mechanism');
  expect(wrong).not.toContain('hunter2');
  const twice = 'name: a, content: vector, topics: [t], feature_view: job, version: v1';
  const both = message({
    TIDEMARK_KAFKA__SASL: '{mechanism: plain, username: me, password: hunter2}',
    TIDEMARK_KAFKA__REGISTRY: '{url: "http://r", username: me, password: hunter2}',
    TIDEMARK_SOURCES: `[{${twice}, known_timestamp: record}, {${twice}, known_timestamp: event}]`,
  });
  expect(both).toContain('another name for each source');
  expect(both).not.toContain('hunter2');
  const registry = message({ TIDEMARK_KAFKA__REGISTRY: '{url: "ftp://me:hunter2@r"}' });
  expect(registry).toContain('kafka.registry.url: got another value; expected a URL');
  expect(registry).not.toContain('hunter2');
});

test('a variable of digits is a text where a text is wanted', () => {
  const config = loadConfig(
    {},
    {
      TIDEMARK_DATA: '5',
      TIDEMARK_KAFKA: '{brokers: ["127.0.0.1:9092"], sasl: {mechanism: plain, username: me}}',
      TIDEMARK_KAFKA__SASL__PASSWORD: '0042',
    },
  );
  expect(config.data).toBe(resolve('5'));
  expect(config.kafka?.sasl).toMatchObject({ password: '0042' });
});
