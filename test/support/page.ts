import { readFileSync } from 'node:fs';

/** A block of code of a page of the docs. */
export interface Block {
  /** The heading that it stands under. */
  section: string;
  /** What it is, as the page says behind the fence: `sh`, `text`. */
  kind: string;
  code: string;
  /** Where it begins. */
  line: number;
}

/** In their order. */
export function blocksOf(path: string): Block[] {
  const blocks: Block[] = [];
  let section = '';
  let open: Block | undefined;
  for (const [at, line] of readFileSync(path, 'utf8').split('\n').entries()) {
    if (open === undefined) {
      if (line.startsWith('#')) section = line.replace(/^#+ /, '');
      if (line.startsWith('```')) open = { section, kind: line.slice(3), code: '', line: at + 1 };
    } else if (line === '```') {
      blocks.push(open);
      open = undefined;
    } else open.code += `${line}\n`;
  }
  return blocks;
}
