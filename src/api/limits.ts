import { z } from 'zod';

const MIB = 2 ** 20;

/**
 * What a stranger may send, may ask of one answer, and may hold; of each process. Each is far above any legitimate use and far
 * below what would take the process down; over it, the answer names the limit and its value.
 */
export const limitsSchema = z.strictObject({
  body_bytes: z
    .int()
    .min(1_024)
    .default(64 * MIB)
    .describe('Bytes of a body that is read whole: it stands in memory twice while it is parsed.'),
  push_records: z
    .int()
    .min(1)
    .default(10_000)
    .describe('Records of one push: they become one transaction, and others wait meanwhile.'),
  lookups: z
    .int()
    .min(1)
    .default(32)
    .describe('Lookups of one request: each is a matrix of the answer.'),
  lookup_ids: z
    .int()
    .min(1)
    .default(10_000)
    .describe('Entity ids over all lookups of a request: they are answered without a pause.'),
  erase_ids: z
    .int()
    .min(1)
    .default(10_000)
    .describe('Entities of one erasure: their hashes are one entry of the catalogue.'),
  answer_bytes: z
    .int()
    .min(MIB)
    .default(256 * MIB)
    .describe('Bytes of the vectors of one answer: they are gathered into one buffer.'),
  answer_json_numbers: z
    .int()
    .min(1)
    .default(8_000_000)
    .describe(
      'Numbers of the vectors of one JSON answer, about 20 bytes each; the binary answers have no such limit.',
    ),
  text_bytes: z
    .int()
    .min(1)
    .default(65_536)
    .describe('UTF-8 bytes of one text, or of the JSON of one record’s fields: models read less.'),
  embedding_texts: z
    .int()
    .min(1)
    .default(2_048)
    .describe('Texts of one request for embeddings: as many as OpenAI takes.'),
  embedding_chars: z
    .int()
    .min(1)
    .default(4 * MIB)
    .describe('UTF-16 units of all texts of one request for embeddings.'),
  timeline_page: z
    .int()
    .min(1)
    .default(1_000)
    .describe('Revisions of one page of a timeline: the rest is one more request away.'),
  timeline_vectors_page: z
    .int()
    .min(1)
    .default(100)
    .describe('Revisions of one page of a timeline that shows its vectors.'),
  spine_line_bytes: z
    .int()
    .min(1_024)
    .default(MIB)
    .describe('Bytes of one line of a spine: a streamed spine is held a chunk of lines at a time.'),
  spine_refs: z
    .int()
    .min(1)
    .default(16)
    .describe('Feature views of one training join: each adds a vector to every row.'),
  spine_streams: z
    .int()
    .min(1)
    .default(16)
    .describe(
      'Training joins that are streamed at once, each with some windows in memory: beyond, 429.',
    ),
  connections: z
    .int()
    .min(1)
    .default(10_000)
    .describe('Open connections: beyond, new ones are closed at once.'),
  requests: z
    .int()
    .min(1)
    .default(2_000)
    .describe('Requests under way, each with its body or its answer in memory: beyond, 503.'),
  unsent_bytes: z
    .int()
    .min(MIB)
    .default(512 * MIB)
    .describe('Bytes of answers that their clients have not taken yet: beyond, 503.'),
  max_wait_ms: z
    .int()
    .min(0)
    .default(500)
    .describe(
      'Milliseconds that a request may wait for its turn, once requests have waited without a break for twice as long: beyond, 503; 0: any time.',
    ),
  body_seconds: z
    .int()
    .min(1)
    .default(60)
    .describe(
      'Seconds in which the headers of a request must have arrived, and then its body where that is read whole.',
    ),
  request_seconds: z
    .int()
    .min(1)
    .default(3_600)
    .describe('Seconds in which a request must have arrived whole; spines are long.'),
  keep_alive_seconds: z
    .int()
    .min(1)
    .default(75)
    .describe(
      'Seconds an idle connection is kept: longer than the 60 s of common load balancers, which would otherwise send into a closed one.',
    ),
  stalled_seconds: z
    .int()
    .min(1)
    .default(30)
    .describe(
      'Seconds after which the client of an answer is cut off that takes nothing more of it; of a large one the kernel takes a megabyte or so at a time.',
    ),
  stalled_stream_seconds: z
    .int()
    .min(1)
    .default(600)
    .describe(
      'The same for answers that are streamed as they are made, which hold less: a training run may pause to store its state.',
    ),
  drain_seconds: z
    .number()
    .min(0)
    .default(0)
    .describe(
      'Seconds from the signal to stop, when `/readyz` turns to 503, to the last request that is still taken: as long as load balancers take to notice.',
    ),
  stop_seconds: z
    .number()
    .min(0)
    .default(20)
    .describe(
      'Seconds after that in which what is under way may end, before it is cut off: less than whoever stops the server waits before it kills it.',
    ),
});

export type Limits = z.output<typeof limitsSchema>;
