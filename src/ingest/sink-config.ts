import { z } from 'zod';

import { isViewName } from '../store/catalogue.ts';
import { name, topic, versionName } from './source-config.ts';

/** A topic that the committed revisions of a model version go to. */
export const sinkConfigSchema = z.strictObject({
  name,
  feature_view: z.string().refine(isViewName, { error: 'expected the name of a feature view' }),
  version: versionName,
  topic,
  /** Where a sink begins of which no position is stored. */
  from: z.enum(['beginning', 'end']).default('beginning'),
});

export type SinkConfig = z.infer<typeof sinkConfigSchema>;
