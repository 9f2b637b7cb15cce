import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

import type { Store } from '../../src/store/store.ts';
import { gather, resolveMany } from '../../src/timetravel/lookup.ts';
import { idOf } from '../harness/data-set.ts';
import { latestOf } from '../harness/latest.ts';
import { Peer } from '../harness/peer.ts';
import { requireTool } from '../harness/tools.ts';

/** Somebody who reads the vectors of every question, in turn. */
export interface Reader {
  name: string;
  /** Asks all questions once. */
  run(): Promise<ReaderRun>;
  close(): Promise<void>;
}

export interface ReaderRun {
  seconds: number;
  /** Of the bytes that the last question was answered with. */
  digest: number;
}

/** Entities by number. */
export type Questions = readonly (readonly number[])[];

/** The program in C, as the compiler of this machine makes it. */
export function compileReader(folder: string): string {
  requireTool('gcc', 'gcc libc6-dev');
  const program = join(folder, 'reader');
  const source = join(import.meta.dirname, 'reader.c');
  try {
    execFileSync('gcc', ['-O2', '-o', program, source, '-llmdb']);
  } catch (cause) {
    throw new Error('LMDB’s library was not to be had: apt-get install liblmdb-dev', { cause });
  }
  return program;
}

export function inC(name: string, program: string, words: readonly string[]): Reader {
  const peer = new Peer(program, words);
  return {
    name,
    run: async () => peer.run<ReaderRun>(''),
    close: async () => peer.close(),
  };
}

/** Copies out of one buffer that has all vectors. */
export function copying(pool: Float32Array, questions: Questions, vectorBytes: number): Reader {
  const all = new Uint8Array(pool.buffer);
  const out = new Uint8Array(questions[0]!.length * vectorBytes);
  return inJs('copies in JavaScript', out, () => {
    for (const entities of questions) {
      for (let row = 0; row < entities.length; row++) {
        const from = entities[row]! * vectorBytes;
        out.set(all.subarray(from, from + vectorBytes), row * vectorBytes);
      }
    }
  });
}

/** Tidemark’s lookups, without HTTP. */
export function lookups(name: string, store: Store, questions: Questions): Reader {
  const version = store.version('job', 'v1');
  const question = latestOf(store);
  const ids = questions.map((entities) => entities.map((entity) => idOf('job', entity)));
  const out = new Uint8Array(ids[0]!.length * version.vectors.vectorBytes);
  const reader = inJs(name, out, () => {
    for (const asked of ids) gather(version.vectors, resolveMany(version, asked, question), out);
  });
  return { ...reader, close: async () => store.close() };
}

function inJs(name: string, out: Uint8Array, ask: () => void): Reader {
  return {
    name,
    async run() {
      const start = performance.now();
      ask();
      return { seconds: (performance.now() - start) / 1_000, digest: digestOf(out) };
    },
    close: async () => {},
  };
}

/** As reader.c sums it up. */
function digestOf(bytes: Uint8Array): number {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
  let sum = 2_166_136_261;
  for (const word of words) sum = Math.imul(sum ^ word, 16_777_619);
  return sum >>> 0;
}
