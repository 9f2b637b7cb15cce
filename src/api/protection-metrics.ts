import { Counter, Gauge, type Registry } from 'prom-client';

/** Why a request was not worked on. */
const REFUSALS = ['wait', 'requests', 'unsent', 'deadline', 'gone'] as const;
export type Refusal = (typeof REFUSALS)[number];

/** What a connection was cut off for. */
const CUTS = ['connections', 'body', 'answer', 'stream', 'stop'] as const;
export type Cut = (typeof CUTS)[number];

export interface ProtectionMetrics {
  refused(why: Refusal): void;
  cut(why: Cut): void;
}

/** Counts what was refused and cut off, so that others are answered. */
export function addProtection(
  registry: Registry,
  held: Record<'underWay' | 'waiting' | 'unsentBytes' | 'connections', () => number>,
): ProtectionMetrics {
  const registers = [registry];
  for (const [name, help, read] of [
    ['requests_under_way', 'Requests under way, of limits.requests.', held.underWay],
    ['requests_waiting', 'Of them those that wait for their turn.', held.waiting],
    [
      'unsent_bytes',
      'Bytes of answers that clients have yet to take, of limits.unsent_bytes.',
      held.unsentBytes,
    ],
    ['connections', 'Open connections, of limits.connections.', held.connections],
  ] as const) {
    void new Gauge({
      name: `tidemark_http_${name}`,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  }
  const refused = new Counter({
    name: 'tidemark_http_refused_total',
    help: 'Requests that were not worked on: they waited over limits.max_wait_ms, or would have (wait), too many were under way (requests) or too much unsent (unsent), or nobody waited any more (deadline, gone).',
    labelNames: ['reason'],
    registers,
  });
  const cut = new Counter({
    name: 'tidemark_http_cut_total',
    help: 'Connections that were cut off: of too many (connections), with a body that did not arrive (body), an answer or a stream that was not taken (answer, stream), or at work at the end of a stop (stop).',
    labelNames: ['reason'],
    registers,
  });
  // An alert looks for growth, which has to begin somewhere.
  for (const reason of REFUSALS) refused.inc({ reason }, 0);
  for (const reason of CUTS) cut.inc({ reason }, 0);
  return {
    refused: (reason) => refused.inc({ reason }),
    cut: (reason) => cut.inc({ reason }),
  };
}
