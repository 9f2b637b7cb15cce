import { randomUUID } from 'node:crypto';

import type { IHeaders } from 'kafkajs';
import { expect, onTestFinished } from 'vitest';

import { createClient } from '../../src/ingest/kafka/client.ts';
import { connection, SILENT } from './cluster.ts';

/** A record as it stands in a topic. */
export interface Written {
  partition: number;
  offset: number;
  key: string | null;
  value: Buffer | null;
  headers: Record<string, string>;
}

/** Reads a topic from its beginning and goes on with what comes, until the test is done. */
export async function readTopic(topic: string, address?: string): Promise<Written[]> {
  const client = createClient(connection(address), 'tidemark-test', SILENT);
  const consumer = client.consumer({
    groupId: randomUUID(),
    maxWaitTimeInMs: 100,
    // What the test is about may be a broker that goes away.
    retry: { retries: 20, restartOnFailure: async () => true },
  });
  onTestFinished(() => consumer.disconnect());
  const written: Written[] = [];
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      const { key, value, headers = {}, offset } = message;
      written.push({
        partition,
        offset: Number(offset),
        key: key && key.toString(),
        value,
        headers: textsOf(headers),
      });
    },
  });
  return written;
}

function textsOf(headers: IHeaders): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, String(value)] as const),
  );
}

export function seqOf({ headers }: Written): number {
  return Number(headers['tidemark-seq']);
}

/**
 * Expects that the topic has each of these seqs, that a partition's come in order, but for such as
 * are told again, and that what is told again is told alike.
 */
export function expectAllOf(written: readonly Written[], seqs: readonly number[]): void {
  expect([...new Set(written.map(seqOf))].toSorted((a, b) => a - b)).toEqual(seqs);
  const firsts = new Map<number, Written>();
  const newest = new Map<number, number>();
  for (const one of written.toSorted((a, b) => a.offset - b.offset)) {
    const seq = seqOf(one);
    const first = firsts.get(seq);
    if (first === undefined) {
      expect(seq).toBeGreaterThan(newest.get(one.partition) ?? 0);
      newest.set(one.partition, seq);
      firsts.set(seq, one);
    } else {
      expect({ ...one, offset: 0 }).toEqual({ ...first, offset: 0 });
    }
  }
}
