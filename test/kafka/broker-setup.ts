import type { TestProject } from 'vitest/node';

import { Broker, missingForBroker } from './broker.ts';

/** What the tests are told about Kafka: an address, or why there is none. */
export interface KafkaProvided {
  address: string;
  missing: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    kafka: KafkaProvided;
  }
}

/**
 * One broker for every Kafka test: the one that KAFKA_BROKERS names, or one of our own for the time
 * of the run. Where neither can be had the tests are skipped, and fail where CI is `true`.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env['KAFKA_BROKERS'];
  if (given) {
    project.provide('kafka', { address: given, missing: '' });
    return async () => {};
  }
  const missing = missingForBroker();
  if (missing !== undefined) {
    if (process.env['CI'] === 'true') throw new Error(`no Kafka for the tests: ${missing}`);
    process.stderr.write(`the Kafka tests are skipped: ${missing}\n`);
    project.provide('kafka', { address: '', missing });
    return async () => {};
  }
  const broker = await Broker.launch();
  project.provide('kafka', { address: broker.address, missing: '' });
  return () => broker.remove();
}
