import { TidemarkError } from '../../ground/errors.ts';
import type { FeatureView, ModelVersion } from '../../store/catalogue.ts';
import { nameOf } from '../../store/versions.ts';
import type { SourceConfig } from '../source-config.ts';
import { misfitOf } from '../source-fields.ts';
import { requireInputs } from './inputs.ts';
import type { AskedOrigin, FileColumns } from './record.ts';

/**
 * Whether the version can be filled from there. Throws BAD_REQUEST, VERSION_NOT_FOUND, NO_MODEL, each
 * with what would be possible.
 */
export function requirePossible(
  view: FeatureView,
  target: ModelVersion,
  from: AskedOrigin,
  sources: readonly SourceConfig[],
): void {
  const name = nameOf(view.name, target.version);
  if (from.kind === 'file') return requireColumns(name, target, from.columns);
  if (target.model === undefined) throw noModel(name);
  if (from.kind === 'inputs') {
    const source = view.versions[from.version];
    if (source === undefined) {
      const missing = nameOf(view.name, from.version);
      throw new TidemarkError('VERSION_NOT_FOUND', `there is no model version ${missing}`);
    }
    return requireInputs(view, source, target);
  }
  const source = sources.find((each) => each.name === from.name);
  if (source === undefined || source.feature_view !== view.name || source.content !== 'fields') {
    const names = sources
      .filter(({ feature_view, content }) => feature_view === view.name && content === 'fields')
      .map((each) => each.name);
    throw new TidemarkError(
      'BAD_REQUEST',
      `got the source ${from.name}, expected one of the settings that has texts of ${view.name}: ` +
        (names.join(', ') || 'there is none'),
    );
  }
  const misfit = misfitOf(source, target);
  if (misfit !== undefined) throw new TidemarkError('BAD_REQUEST', misfit);
}

function requireColumns(name: string, { model }: ModelVersion, columns: FileColumns): void {
  if (columns.vector !== undefined) return;
  if (model === undefined) throw noModel(name);
  const { prompt } = model;
  if (prompt?.parts !== undefined) {
    const message = `the prompt of ${name} has parts, which a file does not tell: backfill from its source`;
    throw new TidemarkError('BAD_REQUEST', message);
  }
  if (columns.fields === undefined) return;
  if (prompt === undefined) {
    const message = `${name} was made without a prompt, expected a column with the text`;
    throw new TidemarkError('BAD_REQUEST', message);
  }
  const given = Object.keys(columns.fields);
  const misspelt = given.find((field) => !prompt.fields.includes(field));
  const missing = prompt.fields.find((field) => !given.includes(field));
  if (misspelt === undefined && missing === undefined) return;
  const what = misspelt === undefined ? `lack ${missing}` : `have ${misspelt}`;
  throw new TidemarkError(
    'BAD_REQUEST',
    `the fields ${what}, expected a column for each that the prompt of ${name} reads: ${prompt.fields.join(', ')}`,
  );
}

function noModel(name: string): TidemarkError {
  return new TidemarkError(
    'NO_MODEL',
    `the model version ${name} was made without a model: backfill vectors from a file`,
  );
}
