import { TidemarkError } from '../ground/errors.ts';
import { Pace } from '../ground/pace.ts';
import type { DeadLetter } from '../store/batch.ts';
import type { SourcePosition } from '../store/keys.ts';
import { isAboutErased } from '../store/naming.ts';
import type { Store } from '../store/store.ts';

/** Which dead letters are asked about: those that fit all that is given. */
export interface LetterFilter {
  feature_view?: string | undefined;
  version?: string | undefined;
  source?: string | undefined;
  topic?: string | undefined;
  code?: string | undefined;
  /** These alone. */
  positions?: readonly SourcePosition[] | undefined;
}

export interface FoundLetter {
  view: string;
  version: string;
  letter: DeadLetter;
  /** The offset of its partition's last letter when the first one of them was read. */
  end: number;
}

/** The letter that a page ended with. */
type LetterCursor = Omit<FoundLetter, 'letter'> & { position: SourcePosition };

/** Dead letters are as long as a record may be. */
const PAGE = 16;

/**
 * Dead letters by view, version and position, after those up to the cursor. What was erased and is
 * on its way out is not among them (A8). Nothing is held open between two of them. Of a partition
 * those that came after its first one was read are not among them either: whoever works them off
 * comes to an end, however fast others come.
 * Throws VIEW_NOT_FOUND, VERSION_NOT_FOUND, BAD_REQUEST for a version without its view.
 */
export async function* readLetters(
  store: Store,
  filter: LetterFilter,
  cursor: string | undefined,
): AsyncGenerator<FoundLetter> {
  if (filter.feature_view === undefined && filter.version !== undefined) {
    throw new TidemarkError('BAD_REQUEST', 'a version was named without its feature_view');
  }
  const after = cursor === undefined ? undefined : parseCursor(cursor);
  const pace = new Pace();
  for (const at of store.catalogue.select(filter.feature_view, filter.version)) {
    if (after !== undefined && isBefore(at, after)) continue;
    const isSame = after?.view === at.view && after.version === at.version;
    let last = isSame ? after.position : undefined;
    let end = isSame ? after.end : 0;
    for (;;) {
      const page = readPage(store, at, filter, last);
      for (const letter of page) {
        const { position } = letter;
        if (last === undefined || !isOnePartition(last, position)) {
          end = lastOffset(store, at, position);
        }
        last = position;
        if (position.offset > end) continue;
        if (fits(store, at, letter, filter)) yield { ...at, letter, end };
        await pace.rest();
      }
      if (page.length < PAGE) break;
      // What else the partition has came later.
      if (last!.offset > end) last = { ...last!, offset: Number.MAX_SAFE_INTEGER };
    }
  }
}

export function encodeCursor({ view, version, letter, end }: FoundLetter): string {
  const { source, topic, partition, offset } = letter.position;
  const cells = [view, version, source, topic, partition, offset, end];
  return Buffer.from(JSON.stringify(cells)).toString('base64url');
}

function readPage(
  store: Store,
  { view, version }: { view: string; version: string },
  { positions }: LetterFilter,
  last: SourcePosition | undefined,
): DeadLetter[] {
  if (isGone(store, { view, version })) return [];
  const { deadLetters, environment } = store.version(view, version);
  environment.refresh();
  if (positions === undefined) return deadLetters.list(PAGE, last);
  const found: DeadLetter[] = [];
  let before = last;
  for (const position of positions.toSorted(inOrder)) {
    // One that was named twice is one.
    if (before !== undefined && inOrder(position, before) <= 0) continue;
    if (found.length === PAGE) break;
    before = position;
    const letter = deadLetters.get(position);
    if (letter !== undefined) found.push(letter);
  }
  return found;
}

function lastOffset(
  store: Store,
  { view, version }: { view: string; version: string },
  position: SourcePosition,
): number {
  // It may have been taken out since it was read.
  if (isGone(store, { view, version })) return position.offset;
  return store.version(view, version).deadLetters.lastOffset(position) ?? position.offset;
}

function isOnePartition(a: SourcePosition, b: SourcePosition): boolean {
  return a.source === b.source && a.topic === b.topic && a.partition === b.partition;
}

function fits(
  store: Store,
  { view, version }: { view: string; version: string },
  letter: DeadLetter,
  { source, topic, code }: LetterFilter,
): boolean {
  const { position, reason } = letter;
  if (source !== undefined && position.source !== source) return false;
  if (topic !== undefined && position.topic !== topic) return false;
  if (code !== undefined && reason !== code) return false;
  if (isGone(store, { view, version })) return false;
  const { erasures } = store.version(view, version);
  return erasures.settled || !isAboutErased(letter, erasures);
}

/** What was dropped or retired meanwhile has no letters. */
function isGone({ catalogue }: Store, at: { view: string; version: string }): boolean {
  return catalogue.view(at.view)?.versions[at.version] === undefined;
}

function isBefore(
  at: { view: string; version: string },
  cursor: { view: string; version: string },
): boolean {
  return at.view < cursor.view || (at.view === cursor.view && at.version < cursor.version);
}

function inOrder(a: SourcePosition, b: SourcePosition): number {
  return (
    compare(a.source, b.source) ||
    compare(a.topic, b.topic) ||
    a.partition - b.partition ||
    a.offset - b.offset
  );
}

/** Their characters are ASCII, and so compare as their bytes do. */
function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** Throws BAD_REQUEST for what `encodeCursor` cannot have made. */
function parseCursor(text: string): LetterCursor {
  let cells: unknown;
  try {
    cells = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    throw malformed();
  }
  if (!Array.isArray(cells) || cells.length !== 7) throw malformed();
  const names: unknown[] = cells.slice(0, 4);
  const numbers: unknown[] = cells.slice(4);
  if (!names.every((each) => typeof each === 'string')) throw malformed();
  if (!numbers.every((each) => Number.isSafeInteger(each))) throw malformed();
  const [view, version, source, topic] = names as [string, string, string, string];
  const [partition, offset, end] = numbers as [number, number, number];
  return { view, version, position: { source, topic, partition, offset }, end };
}

function malformed(): TidemarkError {
  return new TidemarkError(
    'BAD_REQUEST',
    'the cursor is none that a page of dead letters came with; start without one',
  );
}
