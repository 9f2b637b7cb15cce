import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

import { pages } from '../../docs/generate.ts';

test('the pages of settings, codes and metrics say what the code says; `npm run docs` writes them', async () => {
  for (const [name, text] of Object.entries(await pages())) {
    const written = readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8');
    expect(written, `docs/${name}`).toBe(text);
    expect(text.match(/^\| `/gm)!.length).toBeGreaterThan(20);
  }
});
