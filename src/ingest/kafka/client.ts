import { createRequire } from 'node:module';

import kafkajs, { type Kafka, type KafkaConfig, logLevel } from 'kafkajs';

import { assert } from '../../ground/assert.ts';
import { readSecret, readSecretFile, readSetting } from '../secret.ts';
import type { KafkaConnection } from '../source-config.ts';
import { registerCodecs } from './codecs.ts';

/** Where a source writes what it meets; a pino logger is one. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** The log of a client; what it says of connections that are being closed is for nobody to act on. */
export function clientLog(log: Log, stopping: AbortSignal): Log {
  return {
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.info(fields, message),
    warn: (fields, message) => log[stopping.aborted ? 'debug' : 'warn'](fields, message),
    error: (fields, message) => log[stopping.aborted ? 'debug' : 'error'](fields, message),
  };
}

/** The retries of one request. What lasts longer is the business of whoever supervises the client. */
const RETRY = { initialRetryTime: 100, maxRetryTime: 1_000, retries: 5 };

/** A Kafka client; nothing is connected yet. Throws BAD_CONFIG for a file that cannot be read. */
export function createClient(connection: KafkaConnection, clientId: string, log: Log): Kafka {
  mendRequestQueue();
  registerCodecs();
  return new kafkajs.Kafka({
    brokers: connection.brokers,
    clientId,
    ssl: tlsOf(connection.ssl),
    ...(connection.sasl && { sasl: saslOf(connection.sasl) }),
    connectionTimeout: 5_000,
    requestTimeout: 30_000,
    // kafkajs has other defaults when NODE_ENV is `test`; a test is to see what production does.
    retry: { ...RETRY, restartOnFailure: async () => false },
    logCreator: () => (entry) => {
      const { message, timestamp: _timestamp, ...fields } = entry.log;
      const line = `kafka: ${message}`;
      // What kafkajs calls an error is one try of several; the last word is its supervisor's.
      if (entry.level === logLevel.ERROR) log.warn(fields, line);
      else if (entry.level === logLevel.WARN) log.info(fields, line);
      else log.debug(fields, line);
    },
  });
}

function tlsOf(config: KafkaConnection['ssl']): NonNullable<KafkaConfig['ssl']> {
  if (typeof config === 'boolean') return config;
  const { server_name, ...files } = config;
  const read = Object.entries(files).flatMap(([name, path]) =>
    path === undefined ? [] : [[name, readSetting(`kafka.ssl.${name}`, path)]],
  );
  return {
    ...(Object.fromEntries(read) as Record<string, string>),
    ...(server_name !== undefined && { servername: server_name }),
  };
}

function saslOf(config: NonNullable<KafkaConnection['sasl']>): NonNullable<KafkaConfig['sasl']> {
  if (config.mechanism === 'oauthbearer') {
    const { mechanism, token_file } = config;
    return {
      mechanism,
      oauthBearerProvider: async () => ({
        value: readSecretFile('kafka.sasl.token_file', token_file),
      }),
    };
  }
  const { mechanism, username } = config;
  return {
    mechanism,
    username,
    password: readSecret('kafka.sasl', config),
  } as NonNullable<KafkaConfig['sasl']>;
}

interface RequestQueue {
  pending: unknown[];
  scheduleCheckPendingRequests: (this: RequestQueue) => void;
}

let mended = false;

/**
 * After every answer kafkajs 2.2.4 sets a timer that looks after waiting requests, also when none
 * wait; it then has a negative time, which Node takes for 1 ms and warns of, and sets itself again
 * for ever. Setting it only while requests wait ends the warning and 3 % of a core.
 */
function mendRequestQueue(): void {
  if (mended) return;
  mended = true;
  const require = createRequire(import.meta.url);
  const { prototype } = require('kafkajs/src/network/requestQueue') as { prototype: RequestQueue };
  const schedule = prototype.scheduleCheckPendingRequests;
  assert(typeof schedule === 'function', 'kafkajs is the version whose request queue is mended');
  prototype.scheduleCheckPendingRequests = function scheduleWhileRequestsWait() {
    if (this.pending.length > 0) schedule.call(this);
  };
}
