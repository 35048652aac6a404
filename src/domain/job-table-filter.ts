/** A job filter over a table in memory. It means the same as the SQL condition of that filter, where `nameContains` is in small letters as the database writes them. */
import { canonicalJson } from './fingerprint.ts';
import type { ConfigCondition, JobFilter, MetricCondition, TimeRange } from './job-filter.ts';
import type { Json } from './job-spec.ts';
import type { JobColumn, JobTable, MetricColumn, TableNeeds, ValueColumnName } from './job-table.ts';

type ValueTest = (value: Json | undefined) => boolean;

interface Bounds { lt?: number; lte?: number; gt?: number; gte?: number }

/** What each condition reads, or null for one that only the database can judge. */
const COLUMN_OF: Record<keyof JobFilter, JobColumn | 'config' | 'metrics' | null> = {
  ids: null, project: null, experimentIds: null, nameContains: 'lowerName', fingerprint: null, slurmJobId: null,
  sweepIds: 'sweepId', states: 'state', clusters: 'cluster', tagsAll: 'tags', tagsAny: 'tags', tagsNone: 'tags', priorityMin: 'priority', priorityMax: 'priority',
  createdAt: 'createdAt', startedAt: 'startedAt', finishedAt: 'finishedAt', config: 'config', metrics: 'metrics',
};

/** What a table must hold to judge the filter; null when it cannot. */
export function needsOfFilter(filter: JobFilter): TableNeeds | null {
  const columns: JobColumn[] = [];
  for (const name of Object.keys(filter) as (keyof JobFilter)[]) {
    const column = COLUMN_OF[name];
    if (filter[name] === undefined || column === 'metrics' || column === 'config') continue;
    if (column === null) return null;
    columns.push(column);
  }
  const configColumns = (filter.config ?? []).map(({ key }): JobColumn => `config:${key}`);
  return { columns: [...columns, ...configColumns], metrics: (filter.metrics ?? []).map(({ key }) => key) };
}

/** The rows that pass, in the order of the table. */
export function rowsThatPass(table: JobTable, filter: JobFilter): number[] {
  const tests: { codes: readonly number[]; passes: readonly boolean[] }[] = [];
  const test = (name: ValueColumnName, passes: ValueTest | undefined): void => {
    if (passes === undefined) return;
    const { codes, values } = table.column(name);
    tests.push({ codes, passes: values.map(passes) });
  };
  test('state', isOneOf(filter.states));
  test('cluster', isOneOf(filter.clusters));
  test('sweepId', isOneOf(filter.sweepIds?.map((id) => id.toLowerCase())));
  test('tags', tagTest(filter));
  test('priority', numberTest({ gte: filter.priorityMin, lte: filter.priorityMax }));
  for (const condition of filter.config ?? []) test(`config:${condition.key}`, configTest(condition));
  let rows: number[] = [];
  for (let row = 0; row < table.ids.length; row += 1) {
    let passes = true;
    for (let index = 0; index < tests.length && passes; index += 1) passes = tests[index]!.passes[tests[index]!.codes[row]!]!;
    if (passes) rows.push(row);
  }
  for (const name of ['createdAt', 'startedAt', 'finishedAt'] as const) rows = rowsWithin(table, rows, name, filter[name]);
  for (const condition of filter.metrics ?? []) rows = rows.filter(metricTest(table.metric(condition.key), condition));
  const { nameContains } = filter;
  if (nameContains === undefined) return rows;
  const names = table.lowerNames();
  return rows.filter((row) => names[row]!.includes(nameContains));
}

/** Those of the rows whose time lies in the closed-open range; one without a time lies in none that has a bound. */
export function rowsWithin(table: JobTable, rows: number[], name: 'createdAt' | 'startedAt' | 'finishedAt' | 'resultAt', range: TimeRange | undefined): number[] {
  const passes = timeTest(range);
  if (passes === undefined) return rows;
  const times = table.numbers(name);
  return rows.filter((row) => passes(times[row]));
}

function isOneOf(wanted: readonly string[] | undefined): ValueTest | undefined {
  return wanted && ((value) => typeof value === 'string' && wanted.includes(value));
}

function tagTest({ tagsAll, tagsAny, tagsNone }: JobFilter): ValueTest | undefined {
  if (tagsAll === undefined && tagsAny === undefined && tagsNone === undefined) return undefined;
  return (value) => {
    const tags = (value ?? []) as string[];
    const has = (tag: string): boolean => tags.includes(tag);
    return (tagsAll ?? []).every(has) && (tagsAny === undefined || tagsAny.some(has)) && !(tagsNone ?? []).some(has);
  };
}

function timeTest(range: TimeRange | undefined): ValueTest | undefined {
  return range && numberTest({ gte: micros(range.from), lt: micros(range.to) });
}

function micros(time: Date | undefined): number | undefined {
  return time && time.getTime() * 1000;
}

function numberTest(bounds: { [Name in keyof Bounds]: number | undefined }): ValueTest | undefined {
  const { lt, lte, gt, gte } = bounds;
  if (lt === undefined && lte === undefined && gt === undefined && gte === undefined) return undefined;
  return (value) => typeof value === 'number' && isWithin(value, bounds);
}

function isWithin(value: number, { lt, lte, gt, gte }: { [Name in keyof Bounds]: number | undefined }): boolean {
  return (lt === undefined || value < lt) && (lte === undefined || value <= lte) && (gt === undefined || value > gt) && (gte === undefined || value >= gte);
}

function configTest({ eq, ne, in: anyOf, exists, ...bounds }: ConfigCondition): ValueTest {
  const wanted = eq === undefined ? undefined : canonicalJson(eq);
  const unwanted = ne === undefined ? undefined : canonicalJson(ne);
  const among = anyOf && new Set(anyOf.map(canonicalJson));
  const inBounds = numberTest({ lt: bounds.lt, lte: bounds.lte, gt: bounds.gt, gte: bounds.gte });
  return (value) => {
    const text = value === undefined ? undefined : canonicalJson(value);
    return (wanted === undefined || text === wanted) && (unwanted === undefined || text !== unwanted)
      && (among === undefined || (text !== undefined && among.has(text)))
      && (inBounds === undefined || inBounds(value)) && (exists === undefined || (value !== undefined) === exists);
  };
}

/** A value that is not there is NaN, which no comparison holds for. */
function metricTest(metric: MetricColumn, { at, lt, lte, gt, gte }: MetricCondition): (row: number) => boolean {
  const values = at === 'LAST' ? metric.last : at === 'MIN' ? metric.min : metric.max;
  const bounds = { lt, lte, gt, gte };
  return (row) => !Number.isNaN(values[row]) && isWithin(values[row]!, bounds);
}
