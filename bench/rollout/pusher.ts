import { setTimeout as delay } from 'node:timers/promises';

import type { Fields } from './postings.ts';

const PAUSE_MS = 50;

/** Pushes new texts of postings, one after another, as they happen. */
export class Pusher {
  private over = new AbortController();
  private pushed: [began: number, ended: number][] = [];
  private running: Promise<void>;

  private constructor(url: string, postings: readonly (readonly [string, Fields])[]) {
    this.running = this.push(url, postings);
  }

  static start(url: string, postings: readonly (readonly [string, Fields])[]): Pusher {
    return new Pusher(url, postings);
  }

  /** When pushes began and ended, ms since the epoch. Rejects where one was refused. */
  async stop(): Promise<[began: number, ended: number][]> {
    this.over.abort();
    await this.running;
    return this.pushed;
  }

  private async push(url: string, postings: readonly (readonly [string, Fields])[]): Promise<void> {
    for (let count = 0; !this.over.signal.aborted; count++) {
      const [entity_id, fields] = postings[count % postings.length]!;
      const record = {
        entity_id,
        event_timestamp: new Date().toISOString(),
        fields: { ...fields, title: `${String(fields['title'])}, edited ${count}` },
      };
      const began = Date.now();
      const answer = await fetch(`${url}/v1/push`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ feature_view: 'job', records: [record] }),
      });
      if (!answer.ok) throw new Error(`a push: ${answer.status} ${await answer.text()}`);
      await answer.body?.cancel();
      this.pushed.push([began, Date.now()]);
      await delay(PAUSE_MS);
    }
  }
}
