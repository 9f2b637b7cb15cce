import { execFile } from 'node:child_process';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

import { inject } from 'vitest';

const LIBS = resolve('.cache/kafka/libs/*');
const PRODUCE = join(import.meta.dirname, 'Produce.java');

/** Writes records to the first partition with Kafka's own Java client: `0 …`, `1 …`, and so on. */
export async function produceWithJava(
  topic: string,
  codec: string,
  { count, padding }: { count: number; padding: number },
): Promise<void> {
  const { address } = inject('kafka');
  const quiet = '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn';
  const told = [address, topic, codec, String(count), String(padding)];
  await promisify(execFile)('java', [quiet, '-cp', LIBS, PRODUCE, ...told]);
}
