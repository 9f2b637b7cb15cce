import { TidemarkError } from '../ground/errors.ts';

/** How the fields of a record become the text that a model reads. */
export interface PromptConfig {
  /** Text with `{{field}}` in it. There is no logic: no conditions, loops, filters or escapes. */
  template: string;
  /** The names that the template uses; a change in any other field of a record changes nothing. */
  fields: readonly string[];
  /** The longest value of a field, in UTF-16 units; the rest of a longer one is left out. */
  chars_max?: Readonly<Record<string, number>>;
  /**
   * Where the fields come in several records, which records say which of them: by part. What was
   * said is kept, and the text is made of the last word on every field.
   */
  parts?: Readonly<Record<string, readonly string[]>>;
}

export interface Prompt extends PromptConfig {
  /**
   * The template with the values of `fields` in place of its variables. Strings, finite numbers,
   * booleans, and arrays of those (joined by ", ") are values; a missing or null one is empty;
   * fields that the prompt does not declare are ignored. A value is never read as a template.
   * Throws BAD_INPUT for any other value, EMPTY_TEXT when every declared field is empty.
   */
  render(fields: Record<string, unknown>): string;
}

const FIELD_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const PART_NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

/** Literal texts and field names in turn: `texts[0] names[0] texts[1] … texts[n]`. */
interface Template {
  texts: string[];
  names: string[];
}

/**
 * Checks a prompt once, when it is configured, so that a misspelt field is found before the first
 * record and not in the vectors.
 * Throws BAD_CONFIG for a variable that is not declared, a declared field that is not used, a
 * field declared twice, a name that is no name, braces that do not pair up, a length of what is no
 * field, and parts that do not share out the fields.
 */
export function compilePrompt(config: PromptConfig): Prompt {
  const { template, fields, chars_max, parts } = config;
  const declared = new Set<string>();
  for (const name of fields) {
    if (!FIELD_NAME.test(name)) {
      throw badPrompt(`the field ${JSON.stringify(name)} is no name`, 'letters, digits and _');
    }
    if (declared.has(name)) throw badPrompt(`the field "${name}" is declared twice`, 'it once');
    declared.add(name);
  }
  const compiled = parseTemplate(template);
  for (const name of compiled.names) {
    if (!declared.has(name)) {
      throw badPrompt(
        `the template uses {{${name}}}`,
        `one of its fields (${fields.join(', ') || 'none are declared'})`,
      );
    }
  }
  for (const name of declared) {
    if (!compiled.names.includes(name)) {
      throw badPrompt(`the field "${name}" is declared`, `{{${name}}} in the template`);
    }
  }
  if (compiled.names.length === 0) {
    throw badPrompt('the template has no variable', 'at least one {{field}}');
  }
  const undeclared = Object.keys(chars_max ?? {}).find((name) => !declared.has(name));
  if (undeclared !== undefined) {
    throw badPrompt(`chars_max names ${JSON.stringify(undeclared)}`, 'one of its fields');
  }
  if (parts !== undefined) checkParts(parts, declared);
  return { ...config, render: (values) => renderTemplate(compiled, chars_max ?? {}, values) };
}

/** Every field is to be in one part, so that it is known whose word on it counts. */
function checkParts(parts: NonNullable<PromptConfig['parts']>, declared: Set<string>): void {
  const unshared = new Set(declared);
  for (const [part, names] of Object.entries(parts)) {
    if (!PART_NAME.test(part)) {
      throw badPrompt(`the part ${JSON.stringify(part)} is no name`, 'letters, digits, _ and -');
    }
    if (names.length === 0) throw badPrompt(`the part ${part} has no field`, 'at least one');
    for (const name of names) {
      if (unshared.delete(name)) continue;
      throw badPrompt(
        `the part ${part} has the field ${JSON.stringify(name)}`,
        declared.has(name) ? 'it in one part' : 'one of the prompt’s fields',
      );
    }
  }
  const [left] = unshared;
  if (left !== undefined) throw badPrompt(`the field "${left}" is in no part`, 'it in one');
}

function parseTemplate(template: string): Template {
  const parts: Template = { texts: [], names: [] };
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

function renderTemplate(
  { texts, names }: Template,
  charsMax: Readonly<Record<string, number>>,
  fields: Record<string, unknown>,
): string {
  let rendered = texts[0] ?? '';
  let empty = true;
  for (const [index, name] of names.entries()) {
    // What an object inherits is no field of a record.
    const whole = Object.hasOwn(fields, name) ? formatValue(name, fields[name]) : '';
    const value = Object.hasOwn(charsMax, name) ? cut(whole, charsMax[name]!) : whole;
    if (value.trim() !== '') empty = false;
    rendered += value + (texts[index + 1] ?? '');
  }
  if (empty) {
    throw new TidemarkError(
      'EMPTY_TEXT',
      `every field of the prompt is missing or empty, expected a value for one of ${[...new Set(names)].join(', ')}`,
    );
  }
  return rendered;
}

/** The first `max` UTF-16 units of a text, and no half of a character. */
function cut(text: string, max: number): string {
  if (text.length <= max) return text;
  const last = text.charCodeAt(max - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? max - 1 : max);
}

/** The text of a field's value. Throws BAD_INPUT for one that has none. */
export function formatValue(name: string, value: unknown): string {
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
  if (typeof value === 'number' && isAsWritten(value)) return String(value);
  throw new TidemarkError(
    'BAD_INPUT',
    `the field "${name}" holds ${describe(value)}, expected a string, a number, a boolean, or an array of those`,
  );
}

/** Of a whole number beyond 2^53 nobody knows any more which digits were sent. */
function isAsWritten(value: number): boolean {
  return Number.isSafeInteger(value) || (Number.isFinite(value) && !Number.isInteger(value));
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
