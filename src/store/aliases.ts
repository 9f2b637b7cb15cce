import { TidemarkError } from '../ground/errors.ts';
import type { Micros } from '../ground/time.ts';
import type { FeatureView, ModelVersion } from './catalogue.ts';

/**
 * What the model versions of a view are to each other. `current` answers where none is named,
 * `candidate` is the one that was added last and is being filled, `previous` the one that answered
 * before, for as long as the view can be rolled back to it.
 */
export interface Aliases {
  current: string;
  candidate?: string;
  previous?: string;
}

const NAMES = new Set<string>(['current', 'candidate', 'previous'] satisfies (keyof Aliases)[]);

export function isAlias(name: string): name is keyof Aliases {
  return NAMES.has(name);
}

/** The view with one more version, which is its candidate from now on. */
export function withVersion(view: FeatureView, added: ModelVersion): FeatureView {
  return {
    ...view,
    versions: { ...view.versions, [added.version]: added },
    aliases: { ...view.aliases, candidate: added.version },
  };
}

/**
 * The view with that version as its current one. `keptUntil`: when the one that was it may be
 * retired; undefined: not before somebody says so.
 */
export function promoted(
  view: FeatureView,
  version: string,
  keptUntil: Micros | undefined,
): FeatureView {
  const { current, candidate } = view.aliases;
  const versions = { ...view.versions };
  versions[version] = keptFor(versions[version]!, undefined);
  versions[current] = keptFor(versions[current]!, keptUntil);
  const isCandidate = candidate === undefined || candidate === version;
  return {
    ...view,
    versions,
    aliases: { current: version, ...(!isCandidate && { candidate }), previous: current },
  };
}

/**
 * The view with its previous version as the current one again; the one that was it is the candidate.
 * Throws NO_PREVIOUS.
 */
export function rolledBack(view: FeatureView): FeatureView {
  const { current, previous } = view.aliases;
  if (previous === undefined) {
    throw new TidemarkError(
      'NO_PREVIOUS',
      `the feature view ${view.name} has no previous version to roll back to: ` +
        'nothing was promoted since it was made or rolled back, or that version was retired',
    );
  }
  const versions = { ...view.versions };
  versions[previous] = keptFor(versions[previous]!, undefined);
  return { ...view, versions, aliases: { current: previous, candidate: current } };
}

/** The view without that version. Throws VERSION_IN_USE for its current one. */
export function withoutVersion(view: FeatureView, version: string): FeatureView {
  const { current, candidate, previous } = view.aliases;
  if (version === current) {
    throw new TidemarkError(
      'VERSION_IN_USE',
      `${view.name}@${version} is the view's current version: promote another one, or roll back, first`,
    );
  }
  const { [version]: _gone, ...versions } = view.versions;
  return {
    ...view,
    versions,
    aliases: {
      current,
      ...(candidate !== undefined && candidate !== version && { candidate }),
      ...(previous !== undefined && previous !== version && { previous }),
    },
  };
}

/** A version that was current, or is again, with the moment from which on it may be retired. */
function keptFor(version: ModelVersion, until: Micros | undefined): ModelVersion {
  const { kept_until: _before, ...rest } = version;
  return until === undefined ? rest : { ...rest, kept_until: until };
}
