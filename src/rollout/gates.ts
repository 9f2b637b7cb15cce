import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';

import { TidemarkError } from '../ground/errors.ts';
import { excerpt } from '../ground/excerpt.ts';
import { Pace } from '../ground/pace.ts';
import type { GateResult, ModelVersion } from '../store/catalogue.ts';
import type { Store } from '../store/store.ts';
import type { Resolution } from '../timetravel/resolve.ts';
import { PRESENT } from '../timetravel/status.ts';
import { cosine } from './cosine.ts';
import { coverageOf, latestOf, type Opened, openedIn } from './coverage.ts';
import { neighbourOverlap } from './neighbours.ts';
import { HealthSum, type VectorHealth } from './vector-health.ts';

/** Two texts, and how near to each other a version must put them. */
interface Canary {
  feature_view: string;
  texts: [string, string];
  /** Bounds of their cosine. */
  cosine_min: number;
  cosine_max: number;
}

/** What a version is held against; as in the settings. */
export interface GateBounds {
  dim_may_change: boolean;
  coverage_min: number;
  neighbour_overlap_min: number;
  duplicates_more_max: number;
  norm_spread_max: number;
  canaries: readonly Canary[];
  /** A program and its arguments; empty: none. */
  command: readonly string[];
  command_seconds: number;
}

/** What is still to come for a version. */
export interface Backlog {
  /** Records and texts that wait; undefined where that is not known. */
  waiting: number | undefined;
  /** Who is behind, or does not say. */
  message: string;
}

interface Settings {
  store: Store;
  bounds: GateBounds;
  backlogOf: (view: string, version: string) => Backlog;
  /** The vectors of texts by the version's model, one after another. */
  embed: (
    view: string,
    version: ModelVersion,
    texts: readonly string[],
    signal: AbortSignal,
  ) => Promise<Float32Array>;
  /** From 0 up to 1. */
  random: () => number;
  /** Resolves after so many milliseconds; rejects when the signal is aborted. */
  sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

const SAMPLE = 1_000;
/** Vectors measured in one turn, at most. */
const PAGE_IDS = 32;
const QUERIES = 100;
const NEIGHBOURS = 10;
const MESSAGE_CHARS_MAX = 500;
/** How often, and how many times, a backlog is looked at: that of live traffic comes and goes. */
const BACKLOG_MS = 20;
const BACKLOG_LOOKS = 100;

/** Holds a version that is to be promoted against the one that is current, gate by gate. */
export class Gates {
  private settings: Settings;

  constructor(settings: Settings) {
    this.settings = settings;
  }

  /**
   * Every gate, passed or not. Rejects with VIEW_NOT_FOUND, VERSION_NOT_FOUND, and when `signal` is
   * aborted.
   */
  async check(viewName: string, versionName: string, signal: AbortSignal): Promise<GateResult[]> {
    const { store, bounds, random } = this.settings;
    const view = store.catalogue.mustGetView(viewName);
    const [base, version] = [view.aliases.current, versionName].map((name) =>
      store.catalogue.mustGetVersion(view, name),
    ) as [ModelVersion, ModelVersion];
    const [ofBase, ofVersion] = [base, version].map((each) => openedIn(store, viewName, each)) as [
      Opened,
      Opened,
    ];
    const at = { now: store.clock(), snapshot: store.snapshot };
    const coverage = await coverageOf(ofBase, ofVersion, at, SAMPLE, random, signal);
    const { live, covered, sample } = coverage;
    const share = live === 0 ? 1 : covered / live;
    const before = await healthOf(base, ofBase, sample, at, signal);
    const health = await healthOf(version, ofVersion, sample, at, signal);
    // What was erased since is not among those that are compared.
    const left = stillIn(latestOf(ofBase(), sample, at), sample);
    const rows = stillIn(latestOf(ofVersion(), left, at), left);
    const overlap = await neighbourOverlap(
      { version: base, opened: ofBase, resolution: latestOf(ofBase(), rows, at) },
      { version, opened: ofVersion, resolution: latestOf(ofVersion(), rows, at) },
      NEIGHBOURS,
      QUERIES,
      signal,
    );
    return [
      atLeast(
        'coverage',
        share,
        bounds.coverage_min,
        `${covered} of ${live} entities that ${base.version} answers have a vector`,
      ),
      await this.backlogGate(viewName, versionName, signal),
      dimGate(base, version, bounds.dim_may_change),
      atMost('not_finite', health.notFinite, 0, `of ${health.vectors} vectors looked at`),
      atMost('zero_vectors', health.zeros, 0, `of ${health.vectors} vectors looked at`),
      atMost(
        'norm_spread',
        health.normSpread,
        bounds.norm_spread_max,
        `the lengths of ${health.vectors} vectors are ${rounded(health.normMean)} in the mean; ` +
          `those of ${base.version}: ${rounded(before.normMean)}, spread ${rounded(before.normSpread)}`,
      ),
      atMost(
        'duplicates',
        health.duplicates - before.duplicates,
        bounds.duplicates_more_max,
        `${percent(health.duplicates)} of ${health.vectors} entities have another one's vector, ` +
          `${percent(before.duplicates)} under ${base.version}`,
      ),
      overlapGate(overlap, rows.length, bounds.neighbour_overlap_min),
      ...(await this.canaryGates(viewName, version, signal)),
      ...(await this.commandGate(viewName, base.version, versionName, signal)),
    ];
  }

  /** Passed when there is a moment at which nothing waits. */
  private async backlogGate(
    view: string,
    version: string,
    signal: AbortSignal,
  ): Promise<GateResult> {
    const { backlogOf, sleep } = this.settings;
    for (let look = 1; ; look++) {
      const { waiting, message } = backlogOf(view, version);
      const ok = waiting === 0;
      if (ok || look === BACKLOG_LOOKS) {
        return { gate: 'backlog', ok, value: waiting ?? null, bound: 0, message };
      }
      await sleep(BACKLOG_MS, signal);
    }
  }

  private async canaryGates(
    view: string,
    version: ModelVersion,
    signal: AbortSignal,
  ): Promise<GateResult[]> {
    const canaries = this.settings.bounds.canaries.filter((each) => each.feature_view === view);
    if (canaries.length === 0) return [];
    const gate = 'canaries';
    const nothing = { gate, value: null, bound: null };
    if (version.model === undefined) {
      const message =
        'the version has no model: its vectors are made elsewhere, and so are canaries';
      return [{ ...nothing, ok: true, message }];
    }
    let vectors: Float32Array;
    try {
      const texts = canaries.flatMap((each) => each.texts);
      vectors = await this.settings.embed(view, version, texts, signal);
    } catch (error) {
      if (signal.aborted || !(error instanceof TidemarkError)) throw error;
      return [{ ...nothing, ok: false, message: `${error.code}: ${error.message}` }];
    }
    const { dim } = version;
    return canaries.map(({ texts, cosine_min, cosine_max }, at) => {
      const [a, b] = [2 * at, 2 * at + 1].map((row) =>
        vectors.subarray(row * dim, (row + 1) * dim),
      );
      const value = cosine(a!, b!);
      const ok = value >= cosine_min && value <= cosine_max;
      const bound = value > cosine_max ? cosine_max : cosine_min;
      const message = `${excerpt(texts[0])} and ${excerpt(texts[1])}, expected ${cosine_min} to ${cosine_max}`;
      return { gate, ok, value, bound, message };
    });
  }

  /** What the user has for it: passed when it ends with 0. */
  private async commandGate(
    view: string,
    current: string,
    version: string,
    signal: AbortSignal,
  ): Promise<GateResult[]> {
    const { command, command_seconds } = this.settings.bounds;
    const [program, ...args] = command;
    if (program === undefined) return [];
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        TIDEMARK_FEATURE_VIEW: view,
        TIDEMARK_CURRENT: current,
        TIDEMARK_CANDIDATE: version,
      },
      signal: AbortSignal.any([signal, AbortSignal.timeout(command_seconds * 1_000)]),
      killSignal: 'SIGKILL',
    });
    const gate = 'command';
    try {
      const [out, errors, [code]] = await Promise.all([
        endOf(child.stdout),
        endOf(child.stderr),
        once(child, 'close') as Promise<[number | null]>,
      ]);
      const said = `${errors.trim()}\n${out.trim()}`.trim().slice(-MESSAGE_CHARS_MAX);
      return [{ gate, ok: code === 0, value: code, bound: 0, message: said || `${program} ended` }];
    } catch (error) {
      signal.throwIfAborted();
      const message = `${program} did not end within ${command_seconds} s, or could not be run: ${String(error)}`;
      return [{ gate, ok: false, value: null, bound: 0, message }];
    }
  }
}

/** The end of what a program says, however much it is. */
async function endOf(stream: Readable): Promise<string> {
  let said = '';
  stream.setEncoding('utf8');
  for await (const piece of stream) said = (said + String(piece)).slice(-MESSAGE_CHARS_MAX);
  return said;
}

/** What the vectors of the entities look like. Gives others their turn. */
async function healthOf(
  version: ModelVersion,
  opened: Opened,
  ids: readonly string[],
  at: { now: number; snapshot: number },
  signal: AbortSignal,
): Promise<VectorHealth> {
  const sum = new HealthSum(version);
  const pace = new Pace();
  for (let from = 0; from < ids.length; from += PAGE_IDS) {
    signal.throwIfAborted();
    const resolution = latestOf(opened(), ids.slice(from, from + PAGE_IDS), at);
    sum.add(opened().vectors, resolution);
    await pace.rest();
  }
  return sum.health();
}

function stillIn({ statuses }: Resolution, ids: readonly string[]): string[] {
  return ids.filter((_, row) => statuses[row] === PRESENT);
}

/** Who reads vectors of one shape may not be ready for those of another. */
function dimGate(base: ModelVersion, version: ModelVersion, mayChange: boolean): GateResult {
  const { dim, dtype } = version;
  const isSame = dim === base.dim && dtype === base.dtype;
  const message = `${dim} numbers of ${dtype}; ${base.version} has ${base.dim} of ${base.dtype}`;
  return { gate: 'dim', ok: isSame || mayChange, value: dim, bound: base.dim, message };
}

function overlapGate(overlap: number, rows: number, bound: number): GateResult {
  const gate = 'neighbour_overlap';
  if (Number.isNaN(overlap)) {
    const message = `${rows} entities that both have are too few to say who is near whom`;
    return { gate, ok: true, value: null, bound, message };
  }
  const chance = rounded(NEIGHBOURS / (rows - 1));
  return atLeast(
    gate,
    overlap,
    bound,
    `of the ${NEIGHBOURS} nearest of ${rows} entities; by chance alone ${chance}`,
  );
}

function atLeast(gate: string, value: number, bound: number, message: string): GateResult {
  return { gate, ok: value >= bound, value, bound, message };
}

function atMost(gate: string, value: number, bound: number, message: string): GateResult {
  return { gate, ok: value <= bound, value, bound, message };
}

function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

function percent(share: number): string {
  return `${rounded(100 * share)} %`;
}
