import type { Client } from '../client.ts';
import { type ChangeEvent, readChanges, type Sample, SAMPLES } from './samples.ts';

/** Numbers in a vector of the bundled `hashing` model. */
const DIM = 128;

/** What the models read of each entity: a change of anything else costs no inference. */
const VIEWS: Record<Sample, { view: string; template: string; fields: string[] }> = {
  jobs: {
    view: 'job',
    template: '{{title}}\n{{company}}, {{location}}\n{{requirements}}',
    fields: ['title', 'company', 'location', 'requirements'],
  },
  members: {
    view: 'member',
    template: '{{headline}}\n{{location}}\n{{about}}\n{{skills}}',
    fields: ['headline', 'location', 'about', 'skills'],
  },
  resumes: {
    view: 'resume',
    template: '{{title}}\n{{experience}}\n{{skills}}',
    fields: ['title', 'experience', 'skills'],
  },
};

/** What became of the change events of one view. */
export interface Loaded {
  feature_view: string;
  entities: number;
  events: number;
  deletes: number;
  /** Texts that the model was run for: as many vectors are stored. */
  embedded: number;
  /** Events whose text had been embedded before. */
  shared: number;
  /** Heard of after something newer: history, and not the latest. */
  late: number;
  /** Stored by an earlier run already. */
  duplicate: number;
}

/** Creates the views and pushes the samples, as known at the time that they say. */
export async function loadSamples(client: Client): Promise<Loaded[]> {
  const loaded: Loaded[] = [];
  for (const sample of SAMPLES) {
    const { view, template, fields } = VIEWS[sample];
    await client.putView(view, {
      entity: view,
      join_key: `${view}_id`,
      version: 'v1',
      dim: DIM,
      dtype: 'float32',
      model: { name: 'hashing', prompt: { template, fields } },
    });
    const changes = readChanges(sample);
    const query = new URLSearchParams({ feature_view: view, known: 'event' });
    const answer = await client.push(query, changes.map(recordOf).join('\n'));
    const { history, duplicate } = answer.versions.v1!;
    const deletes = changes.filter(({ op }) => op === 'd').length;
    const embedded = await countVectors(client, view);
    loaded.push({
      feature_view: view,
      entities: new Set(changes.map(({ id }) => id)).size,
      events: changes.length,
      deletes,
      embedded,
      shared: changes.length - deletes - embedded,
      late: history,
      duplicate,
    });
  }
  return loaded;
}

function recordOf({ id, ts, known_ts, after }: ChangeEvent): string {
  return JSON.stringify({
    entity_id: id,
    event_timestamp: ts,
    known_timestamp: known_ts,
    ...(after === null ? { deleted: true } : { fields: after }),
  });
}

async function countVectors(client: Client, view: string): Promise<number> {
  const views = await client.views();
  return views.find(({ feature_view }) => feature_view === view)!.versions.v1!.vectors;
}
