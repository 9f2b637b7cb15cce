import { z } from 'zod';

import { snapshot } from './common.ts';

export const promoteAnswer = z.strictObject({ snapshot }).meta({ id: 'Promoted' });
