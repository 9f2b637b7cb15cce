import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import { zstdCompress, zstdDecompress } from 'node:zlib';

import kafkajs, { type Kafka, logLevel, type SASLOptions } from 'kafkajs';

import { assert } from '../../ground/assert.ts';
import type { KafkaConnection } from '../source-config.ts';

/** Where a source writes what it meets; a pino logger is one. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** The retries of one request. What lasts longer is the business of whoever supervises the client. */
const RETRY = { initialRetryTime: 100, maxRetryTime: 1_000, retries: 5 };

/** A Kafka client; nothing is connected yet. */
export function createClient(connection: KafkaConnection, clientId: string, log: Log): Kafka {
  mendRequestQueue();
  const { CompressionCodecs, CompressionTypes } = kafkajs;
  CompressionCodecs[CompressionTypes.ZSTD] = () => ZSTD;
  return new kafkajs.Kafka({
    brokers: connection.brokers,
    clientId,
    ssl: connection.ssl,
    ...(connection.sasl && { sasl: connection.sasl as SASLOptions }),
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

// Node compresses with zstd itself. Snappy and LZ4 have no codec here.
const ZSTD = {
  async compress(encoder: { buffer: Buffer }): Promise<Buffer> {
    return await promisify(zstdCompress)(encoder.buffer);
  },
  async decompress(buffer: Buffer): Promise<Buffer> {
    return await promisify(zstdDecompress)(buffer);
  },
};

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
