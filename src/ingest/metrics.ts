import { Counter, Gauge, type Registry } from 'prom-client';

import { delaysMetric } from './delays.ts';
import type { Sources } from './kafka/source-set.ts';
import type { KafkaSource } from './kafka/source.ts';
import type { Pipeline } from './pipeline.ts';

const VISIBLE = 'tidemark_ingest_event_to_visible_seconds';
const STATES = ['starting', 'running', 'degraded', 'halted', 'stopped'] as const;

/** Adds what the sources and the pipeline count; read when the metrics are asked for. */
export function addIngestMetrics(
  registry: Registry,
  sources: Pick<Sources, 'readers'>,
  pipeline: Pipeline,
): void {
  const eachSource = (set: (name: string, source: KafkaSource) => void) => {
    for (const reader of sources.readers) set(reader.name, reader);
  };
  counter(
    registry,
    'tidemark_ingest_inputs_total',
    'Model inputs, by what became of them.',
    'result',
    (put) => {
      for (const [result, count] of Object.entries(pipeline.counts)) put({ result }, count);
    },
  );
  counter(
    registry,
    'tidemark_ingest_events_total',
    'Records read from Kafka, by what became of them.',
    'result',
    (put) => {
      eachSource((source, { counters }) => {
        for (const [result, count] of Object.entries(counters.events))
          put({ source, result }, count);
      });
    },
  );
  counter(
    registry,
    'tidemark_ingest_confirmations_total',
    'Revisions whose vector is that of the one before: nothing that a model reads had changed.',
    undefined,
    (put) => {
      eachSource((source, { counters }) => put({ source }, counters.confirmations));
    },
  );
  registry.registerMetric(
    delaysMetric(
      VISIBLE,
      'From the timestamp of a record until what it led to could be read.',
      () => sources.readers.map(({ name, counters }) => [{ source: name }, counters.visible]),
    ),
  );
  addFieldMetrics(registry, pipeline);
  counter(
    registry,
    'tidemark_ingest_incidents_total',
    'What went wrong with sources and was dealt with.',
    'kind',
    (put) => {
      eachSource((source, { counters }) => {
        put({ source, kind: 'fenced' }, counters.fenced);
        put({ source, kind: 'retry' }, counters.retries);
        put({ source, kind: 'crash' }, counters.crashes);
        put({ source, kind: 'offset_reset' }, counters.offsetResets);
        put({ source, kind: 'record_lost' }, counters.recordsLost);
      });
    },
  );
  const states = new Gauge({
    name: 'tidemark_ingest_source_state',
    help: '1 for the state that a source is in, 0 for the others.',
    labelNames: ['source', 'state'],
    registers: [],
    collect() {
      this.reset();
      eachSource((source, each) => {
        const { state: current } = each.status();
        for (const state of STATES) this.set({ source, state }, state === current ? 1 : 0);
      });
    },
  });
  registry.registerMetric(states);
  for (const [name, help, key] of [
    ['tidemark_ingest_lag_records', 'Records to read up to the high watermark.', 'lag'],
    [
      'tidemark_ingest_lag_seconds',
      'Age of the last committed record while there is a lag.',
      'lag_seconds',
    ],
  ] as const) {
    const lag = new Gauge({
      name,
      help,
      labelNames: ['source', 'topic', 'partition'],
      registers: [],
      collect() {
        this.reset();
        eachSource((source, each) => {
          for (const { topic, partition, ...status } of each.status().partitions) {
            this.set({ source, topic, partition: String(partition) }, status[key]);
          }
        });
      },
    });
    registry.registerMetric(lag);
  }
}

/** A counter over numbers that are kept elsewhere. */
function counter(
  registry: Registry,
  name: string,
  help: string,
  label: string | undefined,
  read: (put: (labels: Record<string, string>, count: number) => void) => void,
): void {
  const metric = new Counter({
    name,
    help,
    labelNames: label === undefined ? ['source'] : ['source', label],
    registers: [],
    collect() {
      this.reset();
      read((labels, count) => this.inc(labels, count));
    },
  });
  registry.registerMetric(metric);
}

/** How often the fields of prompts change: see `FieldChanges`. */
function addFieldMetrics(registry: Registry, { fieldChanges }: Pipeline): void {
  const labelNames = ['model_version', 'field'];
  const changes = new Counter({
    name: 'tidemark_prompt_field_changes_total',
    help: 'Events in which a field of the prompt was another one than at the entity’s event before.',
    labelNames,
    registers: [],
    collect() {
      this.reset();
      for (const [model_version, of] of fieldChanges) {
        for (const [field, count] of Object.entries(of.changes)) {
          this.inc({ model_version, field }, count);
        }
      }
    },
  });
  const volatile = new Gauge({
    name: 'tidemark_prompt_volatile_field',
    help: '1 for a field that changes with nearly every event: it makes every text a new one, and each costs an inference.',
    labelNames,
    registers: [],
    collect() {
      this.reset();
      for (const [model_version, of] of fieldChanges) {
        for (const field of of.volatile()) this.set({ model_version, field }, 1);
      }
    },
  });
  registry.registerMetric(changes);
  registry.registerMetric(volatile);
}
