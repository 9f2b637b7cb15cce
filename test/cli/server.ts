import { join } from 'node:path';

import { onTestFinished } from 'vitest';

import { configSchema } from '../../src/config.ts';
import { startTidemark } from '../../src/main.ts';
import { tempDirectory } from '../support/temp.ts';

/** A server on a new directory with the view `job` of two numbers; stopped when the test is done. */
export async function startServer(more: object = {}): Promise<{ url: string; data: string }> {
  const data = tempDirectory();
  const settings = configSchema.parse({ data, port: 0, log_level: 'silent', ...more });
  const server = await startTidemark({ ...settings, models: join(data, 'models') });
  onTestFinished(async () => server.stop());
  const { url } = server;
  const response = await fetch(`${url}/v1/feature-views/job`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      entity: 'job',
      join_key: 'job_id',
      version: 'v1',
      dim: 2,
      dtype: 'float32',
    }),
  });
  if (!response.ok) throw new Error(await response.text());
  return { url, data };
}

/** A record of the view `job` as a line. */
export function line(entityId: string, event: string, vector: number[] | null): string {
  return `${JSON.stringify({ entity_id: entityId, event_timestamp: event, vector })}\n`;
}
