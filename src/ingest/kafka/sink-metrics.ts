import { Counter, Gauge, type Registry } from 'prom-client';

import type { Sink } from './sink.ts';

const STATES = ['starting', 'running', 'degraded', 'stopped'] as const;

/** Adds what the sinks count, and what waits for them; read when the metrics are asked for. */
export function addSinkMetrics(registry: Registry, sinks: readonly Sink[]): void {
  const labelNames = ['sink'];
  const registers = [registry];
  for (const [what, name, help] of [
    ['published', 'published', 'Records published to a topic and acknowledged.'],
    ['errors', 'errors', 'Times that publishing failed and was tried again.'],
    ['tooLarge', 'too_large', 'Dead letters that are larger than their topic takes.'],
  ] as const) {
    void new Counter({
      name: `tidemark_sink_${name}_total`,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        for (const { name: sink, counters } of sinks) this.inc({ sink }, counters[what]);
      },
    });
  }
  for (const [what, name, help] of [
    ['records', 'lag_records', 'Records that wait to be published.'],
    ['seconds', 'lag_seconds', 'For how long the oldest of them has been stored.'],
  ] as const) {
    void new Gauge({
      name: `tidemark_sink_${name}`,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        for (const sink of sinks) {
          const waiting = sink.waiting()?.[what];
          if (waiting !== undefined) this.set({ sink: sink.name }, waiting);
        }
      },
    });
  }
  void new Gauge({
    name: 'tidemark_sink_state',
    help: '1 for the state that a sink is in, 0 for the others.',
    labelNames: ['sink', 'state'],
    registers,
    collect() {
      for (const sink of sinks) {
        const { state: current } = sink.status();
        for (const state of STATES) {
          this.set({ sink: sink.name, state }, state === current ? 1 : 0);
        }
      }
    },
  });
}
