import { TidemarkError } from '../ground/errors.ts';

/** How the fields of a record become the text that a model reads. */
export interface PromptConfig {
  /** Text with `{{field}}` in it. There is no logic: no conditions, loops, filters or escapes. */
  template: string;
  /** The names that the template uses; a change in any other field of a record changes nothing. */
  fields: readonly string[];
}

export interface Prompt extends PromptConfig {
  /**
   * The template with the values of `fields` in place of its variables. Strings, finite numbers,
   * booleans, and arrays of those (joined by ", ") are values; a missing or null one is empty;
   * fields that the prompt does not declare are ignored. A value is never read as a template.
   * Throws BAD_INPUT for any other value, and when every declared field is empty.
   */
  render(fields: Record<string, unknown>): string;
}

const FIELD_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Literal texts and field names in turn: `texts[0] names[0] texts[1] … texts[n]`. */
interface Parts {
  texts: string[];
  names: string[];
}

/**
 * Checks a prompt once, when it is configured, so that a misspelt field is found before the first
 * record and not in the vectors.
 * Throws BAD_CONFIG for a variable that is not declared, a declared field that is not used, a
 * field declared twice, a name that is no name, and braces that do not pair up.
 */
export function compilePrompt({ template, fields }: PromptConfig): Prompt {
  const declared = new Set<string>();
  for (const name of fields) {
    if (!FIELD_NAME.test(name)) {
      throw badPrompt(`the field ${JSON.stringify(name)} is no name`, 'letters, digits and _');
    }
    if (declared.has(name)) throw badPrompt(`the field "${name}" is declared twice`, 'it once');
    declared.add(name);
  }
  const parts = parseTemplate(template);
  for (const name of parts.names) {
    if (!declared.has(name)) {
      throw badPrompt(
        `the template uses {{${name}}}`,
        `one of its fields (${fields.join(', ') || 'none are declared'})`,
      );
    }
  }
  for (const name of declared) {
    if (!parts.names.includes(name)) {
      throw badPrompt(`the field "${name}" is declared`, `{{${name}}} in the template`);
    }
  }
  if (parts.names.length === 0) {
    throw badPrompt('the template has no variable', 'at least one {{field}}');
  }
  return { template, fields: [...declared], render: (values) => renderParts(parts, values) };
}

function parseTemplate(template: string): Parts {
  const parts: Parts = { texts: [], names: [] };
  let rest = template;
  for (;;) {
    const open = rest.indexOf('{{');
    const text = open === -1 ? rest : rest.slice(0, open);
    if (text.includes('}}')) {
      throw badPrompt(`the template has a }} that nothing opened: ${excerpt(text)}`, '{{field}}');
    }
    parts.texts.push(text);
    if (open === -1) return parts;
    const close = rest.indexOf('}}', open);
    if (close === -1) {
      throw badPrompt(
        `the template has a {{ that nothing closes: ${excerpt(rest.slice(open))}`,
        '{{field}}',
      );
    }
    const name = rest.slice(open + 2, close).trim();
    if (!FIELD_NAME.test(name)) {
      throw badPrompt(
        `the template has ${excerpt(rest.slice(open, close + 2))}`,
        'the name of a field between {{ and }}',
      );
    }
    parts.names.push(name);
    rest = rest.slice(close + 2);
  }
}

function renderParts({ texts, names }: Parts, fields: Record<string, unknown>): string {
  let rendered = texts[0] ?? '';
  let empty = true;
  for (const [index, name] of names.entries()) {
    // What an object inherits is no field of a record.
    const value = Object.hasOwn(fields, name) ? formatValue(name, fields[name]) : '';
    if (value.trim() !== '') empty = false;
    rendered += value + (texts[index + 1] ?? '');
  }
  if (empty) {
    throw new TidemarkError(
      'BAD_INPUT',
      `every field of the prompt is missing or empty, expected a value for one of ${[...new Set(names)].join(', ')}`,
    );
  }
  return rendered;
}

function formatValue(name: string, value: unknown): string {
  if (!Array.isArray(value)) return formatScalar(name, value);
  return value
    .map((item) => formatScalar(name, item))
    .filter((item) => item !== '')
    .join(', ');
}

function formatScalar(name: string, value: unknown): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  throw new TidemarkError(
    'BAD_INPUT',
    `the field "${name}" holds ${describe(value)}, expected a string, a number, a boolean, or an array of those`,
  );
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return 'an array inside an array';
  return typeof value === 'number' ? String(value) : `a value of type ${typeof value}`;
}

function excerpt(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}

function badPrompt(got: string, expected: string): TidemarkError {
  return new TidemarkError('BAD_CONFIG', `prompt: ${got}, expected ${expected}`);
}
