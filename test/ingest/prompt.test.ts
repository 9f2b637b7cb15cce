import fc from 'fast-check';
import { expect, test } from 'vitest';

import { compilePrompt, type PromptConfig } from '../../src/ingest/prompt.ts';

const job = compilePrompt({
  template: '{{title}} at {{company_name}}',
  fields: ['title', 'company_name'],
});

test('the values of a record take the place of the variables', () => {
  expect(job.render({ title: 'Baker', company_name: 'Rose' })).toBe('Baker at Rose');
});

test('numbers, booleans and lists of them are values', () => {
  const prompt = compilePrompt({
    template: '{{ skills }} / {{years}} / {{remote}} / {{id}}',
    fields: ['skills', 'years', 'remote', 'id'],
  });
  const fields = { skills: ['SQL', 3, true, null, ''], years: 0, remote: false, id: 12n };
  expect(prompt.render(fields)).toBe('SQL, 3, true / 0 / false / 12');
});

test('a missing or null field is empty', () => {
  expect(job.render({ title: 'Baker' })).toBe('Baker at ');
  expect(job.render({ title: 'Baker', company_name: null })).toBe('Baker at ');
});

test('a field that the prompt does not declare changes nothing', () => {
  expect(job.render({ title: 'Baker', views: { today: 3 } })).toBe('Baker at ');
});

test('what an object inherits is no field', () => {
  const prompt = compilePrompt({
    template: '{{toString}}{{title}}',
    fields: ['toString', 'title'],
  });
  expect(prompt.render({ title: 'Baker' })).toBe('Baker');
});

test('a variable may come more than once', () => {
  const prompt = compilePrompt({ template: '{{a}}-{{a}}', fields: ['a'] });
  expect(prompt.render({ a: 'x' })).toBe('x-x');
});

test('single braces are text', () => {
  const prompt = compilePrompt({ template: '{ "t": {{a}} }', fields: ['a'] });
  expect(prompt.render({ a: 1 })).toBe('{ "t": 1 }');
});

test.each([
  [{ title: { en: 'Baker' } }, '"title" holds a value of type object'],
  [{ title: [['a']] }, '"title" holds an array inside an array'],
  [{ title: Number.NaN }, '"title" holds NaN'],
  [{ title: 2 ** 53 }, '"title" holds 9007199254740992'],
  [{ company_name: Symbol('x') }, '"company_name" holds a value of type symbol'],
])('a field that is no text is refused by name: %o', (fields, message) => {
  expect(() => job.render(fields)).toThrow(
    expect.objectContaining({ code: 'BAD_INPUT', message: expect.stringContaining(message) }),
  );
});

test.each([{}, { title: ' ', company_name: null }, { title: [], company_name: [''] }, { x: 'y' }])(
  'a record with nothing in the declared fields is no input: %o',
  (fields) => {
    expect(() => job.render(fields)).toThrow(
      expect.objectContaining({
        code: 'EMPTY_TEXT',
        message: expect.stringContaining('title, company_name'),
      }),
    );
  },
);

test.each([
  ['{{titel}}', ['title'], '{{titel}}'],
  ['{{title}}', ['title', 'company'], '"company" is declared'],
  ['{{title}}', ['title', 'title'], 'declared twice'],
  ['{{title}}', ['the title'], '"the title" is no name'],
  ['{{title', ['title'], 'nothing closes'],
  ['{{title}} at }}', ['title'], 'nothing opened'],
  ['{{{title}}}', ['title'], 'the name of a field'],
  ['{{}}', ['title'], 'the name of a field'],
  ['{{#if title}}', ['title'], 'the name of a field'],
  ['no variables', [], 'no variable'],
])(
  'a prompt that is wrong is refused when it is configured: %s with %j',
  (template, fields, why) => {
    expect(() => compilePrompt({ template, fields })).toThrow(
      expect.objectContaining({ code: 'BAD_CONFIG', message: expect.stringContaining(why) }),
    );
  },
);

test('a value is never read as a template', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (title, company_name) => {
      const values = [`{{company_name}}${title}`, `$&${company_name}`] as const;
      const rendered = job.render({ title: values[0], company_name: values[1] });
      expect(rendered).toBe(`${values[0]} at ${values[1]}`);
    }),
  );
});

test('a value longer than its field may be is cut, and no character in two', () => {
  const prompt = compilePrompt({
    template: '{{a}}|{{b}}',
    fields: ['a', 'b'],
    chars_max: { a: 3 },
  });
  expect(prompt.render({ a: 'abcdef', b: 'abcdef' })).toBe('abc|abcdef');
  expect(prompt.render({ a: 'ab🌊f', b: '' })).toBe('ab|');
  expect(prompt.render({ a: ['ab', 'cd'], b: '' })).toBe('ab,|');
});

test.each([
  [{ chars_max: { c: 3 } }, 'chars_max names "c"'],
  [{ parts: { one: ['a'] } }, 'the field "b" is in no part'],
  [{ parts: { one: ['a', 'b'], two: ['b'] } }, 'the part two has the field "b"'],
  [{ parts: { one: ['a', 'b', 'c'] } }, 'the part one has the field "c"'],
  [{ parts: { 'the one': ['a', 'b'] } }, '"the one" is no name'],
  [{ parts: { one: ['a', 'b'], two: [] } }, 'the part two has no field'],
])('lengths and parts are of the fields that the prompt has: %o', (more, message) => {
  const config = { template: '{{a}} {{b}}', fields: ['a', 'b'], ...more };
  expect(() => compilePrompt(config as PromptConfig)).toThrow(
    expect.objectContaining({ code: 'BAD_CONFIG', message: expect.stringContaining(message) }),
  );
});
