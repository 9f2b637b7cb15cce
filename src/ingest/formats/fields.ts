import { TidemarkError } from '../../ground/errors.ts';
import { fieldPath, lookupField } from '../field-path.ts';
import { badRecord, type TextFields, UNSAID } from '../source-record.ts';
import type { MappingConfig } from './settings.ts';

/** The fields of a row. What it does not tell is UNSAID. Throws BAD_INPUT, BAD_RECORD. */
export function fieldsReader(
  { fields: config }: MappingConfig,
  isUnsaid: ((value: unknown) => boolean) | undefined,
): (row: unknown) => TextFields {
  if (config === undefined) return (row) => told(mustBeFields(row), isUnsaid);
  if (typeof config === 'string') {
    const path = fieldPath(config);
    return (row) => {
      const fields = lookupField(mustBeFields(row), path);
      if (isFields(fields)) return told(fields, isUnsaid);
      throw new TidemarkError('BAD_INPUT', `the value has no object ${config}, expected one`);
    };
  }
  const paths = Object.entries(config).map(([name, text]) => ({ name, path: fieldPath(text) }));
  return (row) => {
    const whole = mustBeFields(row);
    const fields: TextFields = {};
    for (const { name, path } of paths) {
      const value = lookupField(whole, path);
      fields[name] = isUnsaid?.(value) === true ? UNSAID : value;
    }
    return fields;
  };
}

function mustBeFields(row: unknown): TextFields {
  if (isFields(row)) return row;
  throw badRecord('the value is bytes', 'fields');
}

function isFields(value: unknown): value is TextFields {
  if (typeof value !== 'object' || value === null) return false;
  return !Array.isArray(value) && !(value instanceof Uint8Array);
}

/** The same fields, where all of them are told. */
function told(fields: TextFields, isUnsaid: ((value: unknown) => boolean) | undefined): TextFields {
  if (isUnsaid === undefined || !Object.values(fields).some((value) => isUnsaid(value))) {
    return fields;
  }
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, isUnsaid(value) ? UNSAID : value]),
  );
}
