import { TidemarkError } from '../../ground/errors.ts';
import { MICROS_MAX } from '../../ground/time.ts';
import type { Catalogue, FeatureView, ModelVersion, ViewEvent } from '../../store/catalogue.ts';
import { type JoinRef, liveOf, namesOf, type Reign } from './plan.ts';

/** A column of texts has codes of a byte, and one stands for none. */
const VERSIONS_MAX = 126;

/**
 * The reference with each of its rows answered by the version that was `current` at the row's moment,
 * as of a snapshot: flips above it do not count (A9). `at`: the snapshot that was named, if one was;
 * otherwise a view may have been made so recently that it is not durable yet. Throws BAD_REQUEST where
 * the versions have vectors of different kinds, SNAPSHOT_UNAVAILABLE where none of them is there.
 */
export function withReigns(
  ref: JoinRef,
  catalogue: Catalogue,
  snapshot: number,
  at: number | undefined,
): JoinRef {
  const view = catalogue.mustGetView(ref.view);
  const history = catalogue.history(ref.view);
  const upTo = at ?? Math.max(snapshot, history[0]!.seq);
  const reigns = reignsOf(history, view, upTo);
  const [first, ...others] = liveOf(reigns).map((name) => view.versions[name]!);
  if (first === undefined) {
    throw new TidemarkError(
      'SNAPSHOT_UNAVAILABLE',
      `of the versions of ${view.name} that were current up to the snapshot ${upTo} none is ` +
        'there any more: ask at a later one, or name a version',
    );
  }
  const other = others.find(({ dim, dtype }) => dim !== first.dim || dtype !== first.dtype);
  if (other !== undefined) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `with alias_as_of one column has the vectors of all versions of ${view.name} that were ` +
        `current, and ${shapeOf(first)}, ${shapeOf(other)}: name one version, as in ` +
        `${view.name}@${other.version}, or each as a reference of its own`,
    );
  }
  const names = namesOf(reigns);
  if (names.length > VERSIONS_MAX) {
    throw new TidemarkError(
      'BAD_REQUEST',
      `${names.length} versions of ${view.name} were current, an answer with alias_as_of names ` +
        `${VERSIONS_MAX} at most: name one version`,
    );
  }
  const { dim, dtype } = first;
  return { ...ref, version: reigns.at(-1)!.version, dim, dtype, reigns };
}

/**
 * Which version was `current` from when on, as the view's history up to that seq has it. The first
 * was so from the beginning of time: rows of before the view was made are answered, too. `view`: as
 * it is now.
 */
function reignsOf(history: readonly ViewEvent[], view: FeatureView, upTo: number): Reign[] {
  const reigns: Reign[] = [];
  let before: ModelVersion | undefined;
  for (const { seq, created, view: then } of history) {
    const current = then.versions[then.aliases.current]!;
    if (seq > upTo || isSame(current, before)) continue;
    before = current;
    const { version } = current;
    const now = Object.hasOwn(view.versions, version) ? view.versions[version] : undefined;
    const from = reigns.length === 0 ? -MICROS_MAX : created;
    reigns.push({ from, version, isRetired: !isSame(current, now) });
  }
  return reigns;
}

/** A version that was made anew under the name of a retired one is another. */
function isSame(a: ModelVersion, b: ModelVersion | undefined): boolean {
  return (
    a.version === b?.version &&
    a.created_timestamp === b.created_timestamp &&
    a.created_seq === b.created_seq
  );
}

function shapeOf({ version, dim, dtype }: ModelVersion): string {
  return `${version} has ${dim} of ${dtype}`;
}
