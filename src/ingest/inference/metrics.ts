import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

import type { CircuitState } from './circuit.ts';
import { type LaneName, LANES } from './embedder.ts';
import type { RemoteOutcome } from './remote-backend.ts';
import type { Provider } from './session.ts';

const SECONDS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30];
const ROWS = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const TOKENS = [16, 64, 256, 1_024, 4_096, 16_384, 65_536];
const CIRCUITS = ['closed', 'open', 'half_open'] as const;
const RATIO = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1];

type Named = 'model';

/** What waits in a lane now. */
export type Waiting = Record<LaneName, { texts: number; tokens: number }>;

/** What there is to know of the models at work. One a process; `of` gives each model its part. */
export class EmbedMetrics {
  private waiting = new Map<string, () => Waiting>();
  private circuits = new Map<string, () => CircuitState>();
  private queueSeconds: Histogram<Named | 'lane'>;
  private tokeniseSeconds: Histogram<Named>;
  private inferenceSeconds: Histogram<Named>;
  private batchRows: Histogram<Named>;
  private batchTokens: Histogram<Named>;
  private paddingRatio: Histogram<Named>;
  private tokens: Counter<Named>;
  private truncated: Counter<Named>;
  private errors: Counter<Named | 'code'>;
  private restarts: Counter<Named>;
  private remoteRequests: Counter<Named | 'outcome'>;
  private providers: Gauge<Named | 'provider'>;
  private goldenCosines: Gauge<Named>;

  constructor(registry: Registry) {
    const { waiting, circuits } = this;
    const registers = [registry];
    const labelNames = ['model'] as const;
    const gauge = (name: string, help: string, key: 'texts' | 'tokens') =>
      new Gauge({
        name,
        help,
        labelNames: ['model', 'lane'],
        registers,
        collect() {
          this.reset();
          for (const [model, lanes] of waiting) {
            for (const [lane, counts] of Object.entries(lanes())) {
              this.set({ model, lane }, counts[key]);
            }
          }
        },
      });
    gauge('tidemark_embed_queue_items', 'Texts that wait for their run.', 'texts');
    gauge('tidemark_embed_queue_tokens', 'Tokens of the texts that wait for their run.', 'tokens');
    this.queueSeconds = new Histogram({
      name: 'tidemark_embed_queue_seconds',
      help: 'From the arrival of a text until its batch is given to a worker.',
      labelNames: ['model', 'lane'],
      buckets: SECONDS,
      registers,
    });
    const histogram = (name: string, help: string, buckets: number[]) =>
      new Histogram({ name, help, labelNames, buckets, registers });
    this.tokeniseSeconds = histogram(
      'tidemark_embed_tokenise_seconds',
      'To count the tokens of some texts.',
      SECONDS,
    );
    this.inferenceSeconds = histogram(
      'tidemark_embed_inference_seconds',
      'To run a batch, without its wait.',
      SECONDS,
    );
    this.batchRows = histogram('tidemark_embed_batch_rows', 'Texts of a batch.', ROWS);
    this.batchTokens = histogram(
      'tidemark_embed_batch_tokens',
      'Tokens of a batch, without padding.',
      TOKENS,
    );
    this.paddingRatio = histogram(
      'tidemark_embed_padding_ratio',
      'Tokens of a batch by what runs of it with padding: 1 is none.',
      RATIO,
    );
    const counter = (name: string, help: string) =>
      new Counter({ name, help, labelNames, registers });
    this.tokens = counter('tidemark_embed_tokens_total', 'Tokens that ran, without padding.');
    this.truncated = counter(
      'tidemark_embed_truncated_total',
      'Texts of which a model read only the beginning.',
    );
    this.restarts = counter(
      'tidemark_embed_worker_restarts_total',
      'Workers that were started in the place of one that died.',
    );
    this.remoteRequests = new Counter({
      name: 'tidemark_embed_remote_requests_total',
      help: 'Requests to the servers of remote models, by how they ended.',
      labelNames: ['model', 'outcome'],
      registers,
    });
    void new Gauge({
      name: 'tidemark_embed_remote_circuit',
      help: '1 for the state that the circuit breaker of a remote model is in.',
      labelNames: ['model', 'state'],
      registers,
      collect() {
        for (const [model, circuit] of circuits) {
          for (const state of CIRCUITS) this.set({ model, state }, circuit() === state ? 1 : 0);
        }
      },
    });
    this.providers = new Gauge({
      name: 'tidemark_embed_provider_info',
      help: '1 for what runs a model: cpu, cuda, or remote.',
      labelNames: ['model', 'provider'],
      registers,
    });
    this.goldenCosines = new Gauge({
      name: 'tidemark_embed_golden_cosine',
      help: 'The least cosine between vectors of golden texts that a model makes now and made once.',
      labelNames,
      registers,
    });
    this.errors = new Counter({
      name: 'tidemark_embed_errors_total',
      help: 'Texts without a vector (by their own code) and asks that failed, by code.',
      labelNames: ['model', 'code'],
      registers,
    });
  }

  /** Notes how near a model is to what it was. */
  golden(model: string, cosine: number): void {
    this.goldenCosines.set({ model }, cosine);
  }

  /** Notes what runs a model. */
  runsOn(model: string, provider: Provider | 'remote'): void {
    this.providers.set({ model, provider }, 1);
  }

  /** The part of a model that another server runs; `circuit` is asked when somebody looks. */
  remote(model: string, circuit: () => CircuitState): void {
    this.circuits.set(model, circuit);
  }

  /** Counts a request for such a model. */
  asked(model: string, outcome: RemoteOutcome): void {
    this.remoteRequests.inc({ model, outcome });
  }

  /** The part of one model. */
  of(model: string): ModelMetrics {
    const queue = Object.fromEntries(
      LANES.map((lane) => [lane, this.queueSeconds.labels(model, lane)]),
    ) as Record<LaneName, Histogram.Internal<Named | 'lane'>>;
    const tokeniseSeconds = this.tokeniseSeconds.labels(model);
    const inferenceSeconds = this.inferenceSeconds.labels(model);
    const batchRows = this.batchRows.labels(model);
    const batchTokens = this.batchTokens.labels(model);
    const paddingRatio = this.paddingRatio.labels(model);
    const tokensTotal = this.tokens.labels(model);
    const truncated = this.truncated.labels(model);
    const restarts = this.restarts.labels(model);
    restarts.inc(0);
    return {
      waited: (lane, seconds) => queue[lane].observe(seconds),
      tokenised: (seconds, cut) => {
        tokeniseSeconds.observe(seconds);
        truncated.inc(cut);
      },
      ran: (seconds, rows, tokens, padded) => {
        inferenceSeconds.observe(seconds);
        batchRows.observe(rows);
        batchTokens.observe(tokens);
        paddingRatio.observe(tokens / padded);
        tokensTotal.inc(tokens);
      },
      failed: (code) => this.errors.inc({ model, code }),
      restarted: () => restarts.inc(),
      watch: (waiting) => void this.waiting.set(model, waiting),
      forget: () => void this.waiting.delete(model),
    };
  }
}

/** What a batcher notes of its model. */
export interface ModelMetrics {
  waited(lane: LaneName, seconds: number): void;
  tokenised(seconds: number, truncated: number): void;
  ran(seconds: number, rows: number, tokens: number, padded: number): void;
  failed(code: string): void;
  restarted(): void;
  /** `waiting` is asked when somebody looks. */
  watch(waiting: () => Waiting): void;
  /** The model is closed: nothing waits for it any more. */
  forget(): void;
}
