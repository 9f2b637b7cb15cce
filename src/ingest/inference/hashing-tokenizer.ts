import type { HashingTokenizerConfig } from './manifest.ts';

// A word is letters, digits and their marks; whatever else is not white space (an emoji, a sign)
// is a word of its own, so that no text is without features.
const WORD = /[\p{L}\p{N}\p{M}]+|[^\s\p{L}\p{N}\p{M}]/gu;

// What stands before the first and after the last letter of a word: "<" and ">", which no word of
// letters holds, so that the n-grams at its ends are told from those in its middle.
const WORD_START = 0x3c;
const WORD_END = 0x3e;

// Words and n-grams of equal spelling are different features.
const WORD_SALT = 1;
const NGRAM_SALT = 2;

/**
 * Feature hashing: each lower-cased word and each character n-gram of `<word>` is one feature. Its
 * 32-bit hash gives a bucket (the low bits) and a sign (the top bit, so that features that share
 * a bucket cancel out on average instead of adding up). A feature seen n times weighs 1 + ln n of
 * its kind's weight, to the nearest 1/256: sums of such weights are exact in float32, whoever adds
 * them up in whatever order. Returns the distinct buckets in the order of the text, at most `bucketsMax`.
 */
export function hashText(
  text: string,
  config: HashingTokenizerConfig,
  bucketsMax: number,
): { ids: Int32Array; weights: Float32Array; isTruncated: boolean } {
  const words = new Map<number, number>();
  const ngrams = new Map<number, number>();
  for (const [word] of text.toLowerCase().matchAll(WORD)) {
    const points = codePointsOf(word);
    count(words, hashPoints(points, 1, points.length - 1, WORD_SALT));
    for (let length = config.ngram_min; length <= config.ngram_max; length++) {
      for (let start = 0; start + length <= points.length; start++) {
        count(ngrams, hashPoints(points, start, start + length, NGRAM_SALT));
      }
    }
  }
  const buckets = new Map<number, number>();
  addFeatures(buckets, words, config.word_weight, config.buckets);
  addFeatures(buckets, ngrams, config.ngram_weight, config.buckets);
  const length = Math.min(buckets.size, bucketsMax);
  const ids = new Int32Array(length);
  const weights = new Float32Array(length);
  let at = 0;
  for (const [bucket, weight] of buckets) {
    if (at === length) break;
    ids[at] = bucket;
    weights[at] = weight;
    at++;
  }
  return { ids, weights, isTruncated: buckets.size > bucketsMax };
}

function codePointsOf(word: string): number[] {
  const points = [WORD_START];
  for (const letter of word) points.push(letter.codePointAt(0) ?? 0);
  points.push(WORD_END);
  return points;
}

function count(features: Map<number, number>, feature: number): void {
  features.set(feature, (features.get(feature) ?? 0) + 1);
}

function addFeatures(
  buckets: Map<number, number>,
  features: Map<number, number>,
  kindWeight: number,
  bucketCount: number,
): void {
  if (kindWeight === 0) return;
  for (const [feature, times] of features) {
    const bucket = feature & (bucketCount - 1);
    const sign = feature < 0 ? -1 : 1;
    const weight = (sign * Math.round(256 * kindWeight * (1 + Math.log(times)))) / 256;
    buckets.set(bucket, (buckets.get(bucket) ?? 0) + weight);
  }
}

/** FNV-1a over the code points' bytes, with Murmur3's finish to spread the low bits. */
function hashPoints(points: readonly number[], start: number, end: number, salt: number): number {
  let hash = Math.imul(0x811c9dc5 ^ salt, 0x01000193);
  for (let at = start; at < end; at++) {
    const point = points[at] ?? 0;
    hash = Math.imul(hash ^ (point & 0xff), 0x01000193);
    hash = Math.imul(hash ^ ((point >>> 8) & 0xff), 0x01000193);
    hash = Math.imul(hash ^ (point >>> 16), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
