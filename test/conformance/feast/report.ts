import { formatInstant, type Micros } from '../../../src/ground/time.ts';
import type { Question } from '../cases.ts';
import type { Asked, Unasked } from './plan.ts';

/** What Feast answered; the names are those that ask.py writes. */
export interface FeastRun {
  versions: Record<'feast' | 'dask' | 'duckdb' | 'pandas', string>;
  answers: Record<'dask' | 'duckdb', FeastAnswers>;
}

interface FeastAnswers {
  /** For each row of each spine the values of the rows that came back for it. */
  spines: (number | null)[][][];
  latest: { value: number | null; status: string }[];
}

/** Why the questions named differ; every one that does stands in exactly one of them. */
export interface Difference {
  why: string;
  questions: string[];
}

const STORES = ['offline, dask', 'offline, duckdb', 'online'] as const;
type StoreName = (typeof STORES)[number];

/** A line of the report: what was asked, and what each store answered that was asked it. */
interface Compared {
  asked: Asked;
  answers: Partial<Record<StoreName, { text: string; differs: boolean }>>;
}

function compare(asked: Asked, { answers }: FeastRun): Compared {
  const { at } = asked;
  const expected = asked.question.answer.value;
  if ('latest' in at) {
    // The online store is the same one, whichever offline store is beside it.
    const { value, status } = answers.dask.latest[at.latest]!;
    const text = value === null ? `none (${status})` : String(value);
    return { asked, answers: { online: { text, differs: value !== expected } } };
  }
  const [dask, duckdb] = [answers.dask, answers.duckdb].map(({ spines }) => {
    const rows = spines[at.spine]![at.row]!;
    return { text: rowsText(rows), differs: rows.length !== 1 || rows[0] !== expected };
  });
  return { asked, answers: { 'offline, dask': dask!, 'offline, duckdb': duckdb! } };
}

function rowsText(rows: readonly (number | null)[]): string {
  if (rows.length === 0) return 'no row';
  const values = rows.map((value) => value ?? 'none').join(', ');
  return rows.length === 1 ? values : `${rows.length} rows: ${values}`;
}

function differsIn({ answers }: Compared, store: StoreName): boolean {
  return answers[store]?.differs === true;
}

/**
 * The comparison as Markdown. Throws where a difference is not explained, or something is that does
 * not differ: then `differences.json` is no longer true.
 */
export function reportOf(
  run: FeastRun,
  all: readonly Asked[],
  unasked: readonly Unasked[],
  differences: readonly Difference[],
): string {
  const lines = all.map((asked) => compare(asked, run));
  const differing = lines.filter((line) => STORES.some((store) => differsIn(line, store)));
  const reasons = new Map(
    differences.flatMap(({ why, questions }) => questions.map((label) => [label, why] as const)),
  );
  requireExplained(differing, [...reasons.keys()]);
  const { versions } = run;
  const cases = new Set(all.map(({ of }) => of.number)).size;
  const differingCases = new Set(differing.map(({ asked }) => asked.of.number)).size;
  const byStore = STORES.map((store) => {
    const put = lines.filter(({ answers }) => store in answers).length;
    return `${store}: ${lines.filter((line) => differsIn(line, store)).length} of ${put}`;
  });
  return [
    '# The conformance cases against Feast',
    '',
    'Made by `npm run conformance:feast`, which gives the cases of `test/conformance/cases/` to Feast itself, asks it their questions, and writes this page. Nothing on it is quoted: every answer of Feast was given by the run. Tidemark’s answers are the expected ones, which its test suite proves in process, over REST and by the bulk join.',
    '',
    `Feast ${versions.feast} with its file offline store (dask ${versions.dask}, pandas ${versions.pandas}), its duckdb offline store (duckdb ${versions.duckdb}) and its sqlite online store.`,
    '',
    'How a case is put to Feast, each time in the way that suits it best:',
    '',
    '- A row is pushed to both stores with `push`, one after another in the order of the history, rows that Tidemark refuses too.',
    '- `created_timestamp` is the known time, so that of one event time what was learnt later can win, and `knowledge=input` is `filter_by_created_timestamp`. With the commit time there, of equal known times the later commit would win, and what was known could not be asked for.',
    '- A model version is a feature view of its own; `max_age` is its `ttl`.',
    '- A delete is a row whose vector is null. Feast does not write a row to the online store when all its features are null, so the view has a second feature beside the vector.',
    '- The questions of a moment go to `get_historical_features`, those of one case as one entity dataframe; the questions of the latest go to `get_online_features` after all was pushed, with no materialization in between. Values are compared: Feast’s offline answer does not tell their event times.',
    '',
    `Feast could be asked ${all.length} questions of ${cases} cases. It answers ${differing.length} of them, of ${differingCases} cases, otherwise than Tidemark in at least one store (${byStore.join('; ')}). ${unasked.length} questions it cannot be asked.`,
    '',
    'An answer in bold differs. “none” is a null; “no row” means that the row of the spine is missing from the answer. A delete and a miss are both a null in Feast, and count as equal to NOT_FOUND, whatever the reason.',
    '',
    '## Where they differ',
    '',
    ...table(differing, reasons),
    '',
    '## What Feast cannot be asked',
    '',
    '| what it lacks | questions | which |',
    '|---|---:|---|',
    ...Map.groupBy(unasked, ({ lacks }) => lacks)
      .entries()
      .map(
        ([lacks, of]) => `| ${lacks} | ${of.length} | ${of.map(({ label }) => label).join(', ')} |`,
      ),
    '',
    '## Where they agree',
    '',
    ...table(lines.filter((line) => !differing.includes(line))),
    '',
  ].join('\n');
}

function requireExplained(differing: readonly Compared[], explained: readonly string[]): void {
  const labels = differing.map(({ asked }) => asked.label);
  const missing = labels.filter((label) => !explained.includes(label));
  const idle = explained.filter(
    (label, at) => !labels.includes(label) || explained.indexOf(label) !== at,
  );
  if (missing.length + idle.length === 0) return;
  const shown = differing.filter(({ asked }) => missing.includes(asked.label)).map(cellsOf);
  throw new Error(
    `differences.json does not explain ${missing.join(', ') || 'nothing'} ` +
      `and explains without a difference, or twice, ${idle.join(', ') || 'nothing'}\n` +
      shown.map((cells) => cells.join(' | ')).join('\n'),
  );
}

/** One line a question; the title stands at the first of its case. With reasons: the differences. */
function table(lines: readonly Compared[], reasons?: ReadonlyMap<string, string>): string[] {
  const heads = ['case', 'title', 'asked', 'Tidemark', ...STORES];
  if (reasons !== undefined) heads.push('why');
  const rows = lines.map((line, at) => {
    const isFirst = lines[at - 1]?.asked.of !== line.asked.of;
    const [label, title, ...cells] = cellsOf(line);
    const why = reasons === undefined ? [] : [reasons.get(line.asked.label)!];
    return [label, isFirst ? title : '', ...cells, ...why];
  });
  return [heads, heads.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`);
}

function cellsOf({ asked, answers }: Compared): string[] {
  const { label, of, question } = asked;
  const { status, reason, value } = question.answer;
  const tidemark = value ?? [status, reason].filter((word) => word !== null).join(', ');
  const feast = STORES.map((store) => {
    const { text = '', differs = false } = answers[store] ?? {};
    return differs ? `**${text}**` : text;
  });
  return [label, of.title, askedText(question), String(tidemark), ...feast];
}

function askedText({ as_of, knowledge, entity, version }: Question): string {
  return [
    as_of === undefined ? 'latest' : `as of ${timeText(as_of)}`,
    ...(as_of !== undefined && knowledge === 'input' ? ['known by then'] : []),
    ...(entity === '1' ? [] : [`entity ${entity}`]),
    ...(version === undefined ? [] : [version]),
  ].join(', ');
}

function timeText(moment: Micros): string {
  return formatInstant(moment).slice(11, -1).replace(/:00$/, '');
}
