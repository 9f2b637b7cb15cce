import { join } from 'node:path';

import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';

import type { Model } from '../../src/ingest/inference/model.ts';
import { OnnxBackend } from '../../src/ingest/inference/onnx-backend.ts';
import { pullModel } from '../../src/ingest/inference/pull.ts';
import type { TokenizedText } from '../../src/ingest/inference/tokens.ts';
import { pythonWith, runPython } from '../python.ts';
import { startEmbedder, vectorsOf } from '../support/embedder.ts';

// The real model, fetched as a user fetches it, against the same files run by Python's own
// onnxruntime and tokenizers: tokens, truncation, padding, pooling and normalisation must agree.

const MODELS = join(import.meta.dirname, '../../.cache/models');
const BATCH_TEXTS = 8;

// Both sides run the same batches, so that what is left between them is arithmetic alone.
const REFERENCE = `
import json, sys
import numpy, onnxruntime
from tokenizers import Tokenizer

asked = json.load(sys.stdin)
tokenizer = Tokenizer.from_file(asked["folder"] + "/tokenizer.json")
tokenizer.enable_truncation(256)
tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(
    asked["folder"] + "/model.onnx", options, providers=["CPUExecutionProvider"])
vectors = [None] * len(asked["texts"])
for batch in asked["batches"]:
    rows = tokenizer.encode_batch([asked["texts"][index] for index in batch])
    ids = numpy.array([row.ids for row in rows], dtype=numpy.int64)
    mask = numpy.array([row.attention_mask for row in rows], dtype=numpy.int64)
    hidden, = session.run(["last_hidden_state"], {
        "input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)})
    weights = mask[:, :, None].astype(numpy.float64)
    pooled = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
    pooled /= numpy.linalg.norm(pooled, axis=1, keepdims=True)
    for index, row, vector in zip(batch, rows, pooled):
        vectors[index] = {"tokens": sum(row.attention_mask), "vector": vector.tolist()}
json.dump(vectors, sys.stdout)
`;

interface Row {
  tokens: number;
  vector: number[];
}

const SENTENCES = [
  'Senior backend engineer at Northwind',
  'Backend engineer (senior), Northwind Traders, Berlin',
  'Pastry chef wanted',
  'Registered nurse, night shift, cardiology ward',
  'CDL-A truck driver, home every weekend, $1,850/week + benefits!!!',
  'a',
  '?',
  'C++',
  'Node.js / TypeScript / PostgreSQL',
  'résumé: développeuse logiciel à Montréal, dix ans d’expérience',
  'Größe egal: Bäckermeister für Köln gesucht',
  'Ingeniero de datos en Ciudad de México, ¿te animas?',
  '東京で機械学習エンジニアを募集しています',
  '招聘高级后端工程师，地点上海，薪资面议',
  '서울에서 간호사를 모집합니다',
  'مطلوب مهندس برمجيات في دبي',
  'می‌خواهم برنامه‌نویس شوم',
  'דרוש מהנדס תוכנה בתל אביב',
  'नई दिल्ली में डेटा वैज्ञानिक की आवश्यकता है',
  'ต้องการวิศวกรซอฟต์แวร์ในกรุงเทพฯ',
  'Нужен инженер-программист в Алматы',
  'Ζητείται μηχανικός λογισμικού στην Αθήνα',
  '🚀',
  '🚀 We are hiring! 👩‍💻👨🏽‍🔧 Join us 🎉',
  '🇳🇴 Oslo 🏳️‍🌈',
  'Cafe\u0301 with a combining accent',
  'Café with one code point',
  'ﬁne ligatures and ① circled ½ numbers',
  'http://example.com/jobs?id=42&ref=mail#apply',
  'jane.doe+cv@example.com, +47 555 01 234',
  'supercalifragilisticexpialidocious antidisestablishmentarianism',
  'x'.repeat(300),
  '[CLS] [SEP] [MASK] ##ing',
  'line one\nline two\nline three',
  'ALL CAPITALS, NO CALM',
];
const LONG = [
  'We build ledgers for small banks, and we look for someone who likes both. '.repeat(12),
  'The warehouse runs day and night; you plan the shifts and keep the peace. '.repeat(40),
  '機械学習の経験がある方を歓迎します。'.repeat(60),
  'word '.repeat(253),
  'word '.repeat(254),
  'word '.repeat(255),
];
const TEXTS = [...SENTENCES, ...LONG.map((text) => text.trim())];

/** What the tests need from outside; where there is no package index they are skipped. */
async function prepare(): Promise<{ model: Model; python: string } | { missing: string }> {
  try {
    const python = await pythonWith(['numpy==2.4.6', 'onnxruntime==1.29.0', 'tokenizers==0.23.2']);
    return { python, model: await pullModel(MODELS, 'minilm') };
  } catch (error) {
    if (process.env['CI'] === 'true') throw error;
    return { missing: error instanceof Error ? error.message : String(error) };
  }
}

const prepared = await prepare();
if ('missing' in prepared) process.stderr.write(`MiniLM is skipped: ${prepared.missing}\n`);

describe.skipIf('missing' in prepared)('MiniLM', () => {
  let vectors: Float32Array[];
  let reference: Row[];
  let lengths: number[];

  beforeAll(async () => {
    if ('missing' in prepared) return;
    const { model, python } = prepared;
    const backend = await OnnxBackend.start(model);
    const encoded = (await backend.encode(TEXTS)) as TokenizedText[];
    lengths = encoded.map(({ tokens }) => tokens);
    const order = [...lengths.keys()].toSorted((a, b) => lengths[b]! - lengths[a]!);
    const batches = Array.from({ length: Math.ceil(order.length / BATCH_TEXTS) }, (_, at) =>
      order.slice(at * BATCH_TEXTS, (at + 1) * BATCH_TEXTS),
    );
    const ask = JSON.stringify({ folder: model.folder, texts: TEXTS, batches });
    reference = JSON.parse(await runPython(python, ['-c', REFERENCE], ask)) as Row[];
    vectors = [];
    for (const batch of batches) {
      const ran = await backend.runners[0]!.run(batch.map((index) => encoded[index]!));
      for (const [row, index] of batch.entries()) {
        vectors[index] = ran.vectors.subarray(row * backend.dim, (row + 1) * backend.dim);
      }
    }
    await backend.close();
  });

  test('reads as many tokens of each text as Python does, and 256 of a long one', () => {
    expect(lengths).toEqual(reference.map(({ tokens }) => tokens));
    expect(Math.max(...lengths)).toBe(256);
    expect(Math.min(...lengths)).toBe(3);
  });

  test('gives each text the vector that Python gives it', () => {
    const cosines = vectors.map((vector, row) => cosine(vector, reference[row]?.vector ?? []));
    const apart = TEXTS.filter((_, row) => !((cosines[row] ?? 0) >= 0.999));
    expect(apart).toEqual([]);
  });

  test('puts two wordings of one job closer than another job', () => {
    const [senior, alike, chef] = vectors as [Float32Array, Float32Array, Float32Array];
    expect(cosine(senior, alike)).toBeGreaterThan(0.6);
    expect(cosine(senior, chef)).toBeLessThan(0.3);
  });

  test('gives a text the same vector alone as among others', async () => {
    if ('missing' in prepared) return;
    const embedder = await startEmbedder(prepared.model);
    onTestFinished(() => embedder.close());
    for (const [row, text] of SENTENCES.slice(0, 5).entries()) {
      const [alone] = await vectorsOf(embedder, [text]);
      expect(cosine(alone!, vectors[row] ?? [])).toBeGreaterThan(0.9999);
    }
  });
});

function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [dot, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += (a[i] ?? 0) * (b[i] ?? 0);
    aa += (a[i] ?? 0) ** 2;
    bb += (b[i] ?? 0) ** 2;
  }
  return dot / Math.sqrt(aa * bb);
}
