import { TidemarkError } from '../ground/errors.ts';
import type { ModelVersion } from '../store/catalogue.ts';
import type { MappingConfig } from './formats/settings.ts';
import type { SourceConfig } from './source-config.ts';

/**
 * Whether what a source's records say is what the prompt of its model version reads, so that a
 * misspelt field is found before the first record and not in the vectors. Throws BAD_CONFIG.
 */
export function checkSourceFields(source: SourceConfig, target: ModelVersion): void {
  const misfit = misfitOf(source, target);
  if (misfit !== undefined) throw new TidemarkError('BAD_CONFIG', misfit);
}

/** In which way they are not; undefined where they are. */
export function misfitOf(
  { name, content, feature_view, mappings }: SourceConfig,
  { version, model }: ModelVersion,
): string | undefined {
  if (content !== 'fields' || model === undefined) return undefined;
  for (const [topic, mapping] of Object.entries(mappings)) {
    const wrong = wrongIn(mapping, model.prompt);
    if (wrong === undefined) continue;
    return `the source ${name} of ${feature_view}@${version}, topic ${topic}: ${wrong}`;
  }
  return undefined;
}

function wrongIn(
  { part, fields }: MappingConfig,
  prompt: NonNullable<ModelVersion['model']>['prompt'],
): string | undefined {
  if (prompt === undefined) return 'its records have fields, and the model version has no prompt';
  const { parts } = prompt;
  if (parts === undefined && part !== undefined) {
    return `got the part ${part}, expected none: the prompt of the model version has no parts`;
  }
  const names = Object.keys(parts ?? {}).join(', ');
  if (parts !== undefined && (part === undefined || !Object.hasOwn(parts, part))) {
    return `got ${part === undefined ? 'no part' : `the part ${part}`}, expected one of the prompt’s: ${names}`;
  }
  if (typeof fields !== 'object') return undefined;
  const wanted = part === undefined ? prompt.fields : parts![part]!;
  const unknown = Object.keys(fields).find((field) => !wanted.includes(field));
  if (unknown !== undefined) {
    return `fields has ${unknown}, expected what the prompt reads: ${wanted.join(', ')}`;
  }
  const missing = wanted.find((field) => !Object.hasOwn(fields, field));
  return missing === undefined ? undefined : `fields lacks ${missing}, which the prompt reads`;
}
