import { TidemarkError } from '../../ground/errors.ts';
import { type Micros, micros, MICROS_PER_SECOND } from '../../ground/time.ts';
import { vectorBytes } from '../../store/dtype.ts';
import type { Store } from '../../store/store.ts';
import { keepsInputs } from '../../store/texts.ts';
import type { Embedder } from '../inference/embedder.ts';
import { hashInput } from '../model-input.ts';
import type { Pipeline } from '../pipeline.ts';
import { Distinct } from './distinct.ts';
import type { HistoryPage } from './history.ts';
import type { BackfillRecord } from './record.ts';
import type { BackfillTarget } from './target.ts';

/** Texts whose tokens are counted. */
const SAMPLE = 2_000;
/** Texts that are embedded to see how long it takes. */
const CALIBRATION = 256;
/** What a revision takes of a file beside its vector: on its timeline, in the log, by its ids. */
const REVISION_BYTES = 230;
/** What the entry of an input takes, in pages that are filled in no order. */
const INPUT_BYTES = 58;
/** Pages of LMDB, what of one holds entries, and the largest entry that is not on pages of its own. */
const PAGE_BYTES = 4_096;
const PAGE_ROOM = 4_080;
const ENTRY_MAX = 2_036;
/** Of a vector beside its numbers: checksum, key and header. */
const ENTRY_BYTES = 22;

/** What a backfill would do. Counts are of the events that it wants, where it does not say otherwise. */
export interface BackfillPlan {
  /** Of the history, whether they are wanted or not. */
  events: number;
  wanted: number;
  deletes: number;
  rejected: number;
  erased: number;
  /** Distinct inputs, and those of them that the version has a vector of already. */
  distinctInputs: number;
  pooledInputs: number;
  /** Of the distinct inputs that are to be embedded. */
  tokens: number;
  /** How many of these were counted. */
  sampledInputs: number;
  tokensPerSecond: number | undefined;
  deviceSeconds: number;
  bytes: number;
  seconds: number;
  ends: Micros;
  /** False where the counts are estimates from a sample of the history. */
  isExact: boolean;
}

export interface PlanNeeds {
  store: Store;
  pipeline: Pick<Pipeline, 'reader'>;
  random: () => number;
  /** µs since any moment, however the clock is set. */
  passed: () => number;
}

/** What is to be looked at: the whole history, or a sample of one that has so many events. */
export interface PlannedPages {
  pages: AsyncGenerator<HistoryPage>;
  total?: number;
}

/** Goes through a history and stores nothing. Throws as the history and the model do. */
export async function planBackfill(
  needs: PlanNeeds,
  record: BackfillRecord,
  target: BackfillTarget,
  { pages, total }: PlannedPages,
  signal: AbortSignal,
): Promise<BackfillPlan> {
  const { store, passed } = needs;
  const began = passed();
  const seen = await look(needs, record, target, pages);
  const scale = total === undefined || seen.events === 0 ? 1 : total / seen.events;
  const lookSeconds = ((passed() - began) / MICROS_PER_SECOND) * scale;
  const fresh = seen.fresh * scale;
  const device = await calibrate(needs, seen, signal);
  const tokens = device.tokensPerText * fresh;
  const deviceSeconds = device.perSecond === undefined ? 0 : tokens / device.perSecond;
  const seconds = deviceSeconds + lookSeconds;
  const { dim, dtype } = target.model;
  const textBytes = keepsInputs(target.model) ? seen.textBytes * scale : 0;
  const each = storedBytes(vectorBytes(dim, dtype));
  const bytes = fresh * (each + INPUT_BYTES) + textBytes;
  return {
    events: Math.round(seen.events * scale),
    wanted: Math.round(seen.wanted * scale),
    deletes: Math.round(seen.deletes * scale),
    rejected: Math.round(seen.rejected * scale),
    erased: Math.round(seen.erased * scale),
    distinctInputs: Math.round(seen.distinct.count * scale),
    pooledInputs: Math.round((seen.distinct.count - seen.fresh) * scale),
    tokens: Math.round(tokens),
    sampledInputs: seen.sample.length,
    tokensPerSecond: device.perSecond,
    deviceSeconds,
    bytes: Math.round(bytes + (seen.vectors * each + seen.rowBytes) * scale),
    seconds,
    ends: micros(store.clock() + Math.round(seconds * MICROS_PER_SECOND)),
    isExact: total === undefined && seen.distinct.isExact,
  };
}

/** What a vector of so many bytes takes of the file: pages hold whole ones. */
function storedBytes(bytes: number): number {
  const entry = bytes + ENTRY_BYTES;
  if (entry > ENTRY_MAX) return Math.ceil(entry / PAGE_BYTES) * PAGE_BYTES;
  return PAGE_BYTES / Math.floor(PAGE_ROOM / entry);
}

interface Seen {
  embedder: Embedder | undefined;
  events: number;
  wanted: number;
  deletes: number;
  rejected: number;
  erased: number;
  /** Pre-computed ones. */
  vectors: number;
  distinct: Distinct;
  /** Distinct inputs that the version has no vector of. */
  fresh: number;
  textBytes: number;
  rowBytes: number;
  /** Of the fresh ones, each with the same chance. */
  sample: string[];
}

async function look(
  { pipeline, random }: PlanNeeds,
  { view }: BackfillRecord,
  target: BackfillTarget,
  pages: AsyncGenerator<HistoryPage>,
): Promise<Seen> {
  const { model } = target;
  const reader = model.model === undefined ? undefined : await pipeline.reader(view, model);
  const seen: Seen = {
    embedder: reader?.embedder,
    events: 0,
    wanted: 0,
    deletes: 0,
    rejected: 0,
    erased: 0,
    vectors: 0,
    distinct: new Distinct(),
    fresh: 0,
    textBytes: 0,
    rowBytes: 0,
    sample: [],
  };
  let offered = 0;
  const offer = (text: string): void => {
    offered++;
    if (seen.sample.length < SAMPLE) seen.sample.push(text);
    else {
      const at = Math.floor(random() * offered);
      if (at < SAMPLE) seen.sample[at] = text;
    }
  };
  for await (const page of pages) {
    seen.events += page.read;
    seen.rejected += page.rejected.length;
    seen.erased += page.erased;
    for (const said of page.events) {
      if (!target.wants(said)) continue;
      if (target.isErased(said.entityId)) {
        seen.erased++;
        continue;
      }
      seen.wanted++;
      seen.rowBytes += REVISION_BYTES + 2 * Buffer.byteLength(said.entityId);
      if (said.kind === 'delete') seen.deletes++;
      else if (said.kind === 'vector') seen.vectors++;
      else {
        const text = reader!.read(said.input);
        if (text instanceof TidemarkError) {
          seen.rejected++;
          continue;
        }
        const hash = hashInput(text);
        if (!seen.distinct.add(hash)) continue;
        if (target.versionStore().inputs.vectorId(hash) !== undefined) continue;
        seen.fresh += seen.distinct.share;
        seen.textBytes += Buffer.byteLength(text) * seen.distinct.share;
        offer(text);
      }
    }
  }
  return seen;
}

/** How many tokens a text has, and how many of them run in a second. */
async function calibrate(
  { passed }: PlanNeeds,
  { embedder, sample }: Seen,
  signal: AbortSignal,
): Promise<{ tokensPerText: number; perSecond: number | undefined }> {
  if (embedder === undefined || sample.length === 0) {
    return { tokensPerText: 0, perSecond: undefined };
  }
  const tokens = (await embedder.countTokens?.(sample)) ?? 0;
  const texts = sample.slice(0, CALIBRATION);
  const began = passed();
  // Asked of the embedder itself: nobody is to find these vectors, and the next plan measures anew.
  const embedded = await embedder.embed(texts, { lane: 'backfill', signal });
  const seconds = (passed() - began) / MICROS_PER_SECOND;
  const ran = embedded.tokens ?? (tokens * texts.length) / sample.length;
  return {
    tokensPerText: tokens / sample.length,
    perSecond: ran > 0 && seconds > 0 ? ran / seconds : undefined,
  };
}
