import type { FastifyInstance } from 'fastify';
import { collectDefaultMetrics, Counter, Gauge, Histogram, type Registry } from 'prom-client';

import type { ReadStore, Store } from '../store/store.ts';
import type { Exports } from '../timetravel/exports/exports.ts';
import type { Resolution } from '../timetravel/resolve.ts';
import type { SkewCheck } from '../timetravel/skew.ts';
import { STATUSES } from '../timetravel/status.ts';
import { countsOf, type VersionCounts } from './counts.ts';

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60];

/** What requests add to the metrics. Labels are names of the catalogue and the code, never ids. */
export interface ApiMetrics {
  pushed(view: string, outcome: string, rows: number): void;
  lookedUp(view: string, resolution: Resolution): void;
}

/** Counts the answers that damage of the store kept from being given. */
export function addCorruptAnswers(registry: Registry): Counter {
  return new Counter({
    name: 'tidemark_store_corrupt_total',
    help: 'Requests that met stored bytes which are not what was written; must stay 0.',
    registers: [registry],
  });
}

/** Adds the API's metrics, what reading has of the store, and Node's own to the registry. */
export function addMetrics(
  registry: Registry,
  store: ReadStore,
  server: FastifyInstance,
): ApiMetrics {
  collectDefaultMetrics({ register: registry });
  addRequests(registry, server);
  addReads(registry, store);
  const registers = [registry];
  const pushRows = new Counter({
    name: 'tidemark_push_rows_total',
    help: 'Records pushed over REST, by what became of them; once for each model version.',
    labelNames: ['feature_view', 'outcome'],
    registers,
  });
  const lookupRows = new Counter({
    name: 'tidemark_lookup_rows_total',
    help: 'Entity ids looked up, by status.',
    labelNames: ['feature_view', 'status'],
    registers,
  });
  return {
    pushed(feature_view, outcome, rows) {
      if (rows > 0) pushRows.inc({ feature_view, outcome }, rows);
    },
    lookedUp(feature_view, { statuses }) {
      const counts = STATUSES.map(() => 0);
      for (const status of statuses) counts[status]!++;
      counts.forEach((count, status) => {
        if (count > 0) lookupRows.inc({ feature_view, status: STATUSES[status]! }, count);
      });
    },
  };
}

/** How the checks of served answers against the join path went. */
export function addSkew(registry: Registry, { counts }: SkewCheck): void {
  for (const [what, help] of [
    ['checked', 'Served answers that were asked again as a training join asks.'],
    ['mismatches', 'Served answers that a training join answers otherwise; must stay 0.'],
    ['dropped', 'Sampled answers that could not be asked again in time.'],
  ] as const) {
    void new Counter({
      name: `tidemark_skew_${what}_total`,
      help,
      registers: [registry],
      collect() {
        this.reset();
        this.inc(counts[what]);
      },
    });
  }
  void new Counter({
    name: 'tidemark_skew_passed_by_total',
    help: 'Sampled answers that could not be asked again, by what had overtaken them.',
    labelNames: ['reason'],
    registers: [registry],
    collect() {
      this.reset();
      for (const [reason, count] of Object.entries(counts.passed_by)) this.inc({ reason }, count);
    },
  });
}

/** What exports there are, and what they have written since the start of the process. */
export function addExports(registry: Registry, exports: Exports): void {
  const registers = [registry];
  for (const [name, help, read] of [
    ['running', 'Exports that run.', () => exports.runningCount],
    ['queued', 'Exports that wait for others to end.', () => exports.waiting],
  ] as const) {
    void new Gauge({
      name: `tidemark_exports_${name}`,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  }
  for (const [what, help] of [
    ['rows', 'Rows of spines that exports have joined.'],
    ['bytes', 'Bytes of the files that exports have written.'],
    ['failed', 'Exports that failed.'],
  ] as const) {
    void new Counter({
      name: `tidemark_exports_${what}_total`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(exports.counts[what]);
      },
    });
  }
}

function addRequests(registry: Registry, server: FastifyInstance): void {
  const duration = new Histogram({
    name: 'tidemark_http_request_duration_seconds',
    help: 'From the request’s headers to the last byte of the answer.',
    labelNames: ['route', 'method', 'status'],
    buckets: SECONDS,
    registers: [registry],
  });
  server.addHook('onResponse', (request, reply, done) => {
    const { url: route = 'none' } = request.routeOptions;
    const labels = { route, method: request.method, status: reply.statusCode };
    duration.observe(labels, reply.elapsedTime / 1_000);
    done();
  });
}

function addGauge(registry: Registry, name: string, help: string, read: () => number): void {
  const registers = [registry];
  void new Gauge({
    name,
    help,
    registers,
    collect: function () {
      this.set(read());
    },
  });
}

function addReads(registry: Registry, store: ReadStore): void {
  addGauge(registry, 'tidemark_store_snapshot', 'The greatest durable seq.', () => store.snapshot);
  addGauge(
    registry,
    'tidemark_store_resident_bytes',
    'Memory that keeps what lookups have read, of serving.resident_bytes.',
    () => store.residentBytes,
  );
}

/** What there is in the store, and what waits to get there. */
export function addStore(registry: Registry, store: Store): void {
  addGauge(
    registry,
    'tidemark_store_waiting_rows',
    'Rows that wait to be stored.',
    () => store.waitingRows,
  );
  const perVersion = (what: keyof VersionCounts, help: string): void => {
    void new Gauge({
      name: `tidemark_store_${what}`,
      help,
      labelNames: ['feature_view', 'version'],
      registers: [registry],
      collect() {
        this.reset();
        for (const { name: feature_view, versions } of store.catalogue.views()) {
          for (const version of Object.keys(versions)) {
            const counts = countsOf(store, feature_view, version);
            if (counts !== undefined) this.set({ feature_view, version }, counts[what]);
          }
        }
      },
    });
  };
  perVersion('revisions', 'Revisions stored, tombstones included.');
  perVersion('entities', 'Entities that have a timeline.');
  perVersion('vectors', 'Vectors in the pool.');
}
