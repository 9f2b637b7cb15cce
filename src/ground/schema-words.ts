import { z } from 'zod';

import { excerpt } from './excerpt.ts';

const KEYS_SHOWN = 5;

/** What zod says less plainly, and with all of what a stranger sent; the rest it says itself. */
z.config({
  customError({ code, input, ...issue }) {
    if (code === 'unrecognized_keys') {
      const keys = issue.keys as string[];
      const shown = keys.slice(0, KEYS_SHOWN).map((key) => excerpt(key));
      const more = keys.length > KEYS_SHOWN ? ` and ${keys.length - KEYS_SHOWN} more` : '';
      return `has ${shown.join(', ')}${more}, which there is not`;
    }
    if (code !== 'invalid_type') return undefined;
    if (input === undefined) return 'is missing';
    if (issue.expected === 'int') return `got ${excerpt(input)}, expected a whole number`;
    return undefined;
  },
});
