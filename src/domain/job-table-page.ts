/** Pages of a table in memory: the same jobs in the same order as the database would give. */
import type { JobFilter } from './job-filter.ts';
import type { JobOrder } from './job-order.ts';
import type { JobColumn, JobTable, TableNeeds } from './job-table.ts';
import { rowsThatPass } from './job-table-filter.ts';
import { leastOf } from './least-of.ts';
import { JOB_STATES, type JobState } from './states.ts';

/** The sort values of a cursor in the order of the terms, null for none, and the id that ends it. */
export interface PlaceInOrder {
  values: readonly (string | null)[];
  id: string;
}

/** What a table must hold for the order; null when only the database can tell it. */
export function needsOfOrder(order: readonly JobOrder[]): TableNeeds | null {
  const columns: JobColumn[] = [];
  const metrics: string[] = [];
  for (const term of order) {
    if (term.field === 'METRIC') { metrics.push(term.key); continue; }
    const column = columnOf(term);
    if (column === null) return null;
    columns.push(column);
  }
  return { columns, metrics };
}

/** The ids of the first `count` jobs after the place; null when their order is not one of numbers, so that only the database can tell it. */
export function pageOfTable(table: JobTable, filter: JobFilter, order: readonly JobOrder[], count: number, after: PlaceInOrder | null): string[] | null {
  const costs: Float64Array[] = [];
  for (const term of order) {
    const cost = costsOf(table, term);
    if (cost === null) return null;
    costs.push(cost);
  }
  const isDescending = order.at(-1)?.descending ?? false;
  const compareIds = (a: string, b: string): number => (a === b ? 0 : (a < b) === isDescending ? 1 : -1);
  const compare = (a: number, b: number): number => {
    for (let index = 0; index < costs.length; index += 1) {
      const [ofA, ofB] = [costs[index]![a]!, costs[index]![b]!];
      if (ofA !== ofB) return ofA < ofB ? -1 : 1;
    }
    return compareIds(table.ids[a]!, table.ids[b]!);
  };
  let rows = rowsThatPass(table, filter);
  if (after !== null) {
    const bounds = order.map((term, index) => costOf(numberOfCursor(term, after.values[index] ?? null), term.descending));
    rows = rows.filter((row) => {
      for (let index = 0; index < costs.length; index += 1) {
        const cost = costs[index]![row]!;
        if (cost !== bounds[index]) return cost > bounds[index]!;
      }
      return compareIds(table.ids[row]!, after.id) > 0;
    });
  }
  // Jobs arrive in the order of their times, so that the wanted end comes first.
  return leastOf(isDescending ? rows.reverse() : rows, count, compare).map((row) => table.ids[row]!);
}

/** Less comes first; no value comes last in both directions. */
function costOf(value: number, isDescending: boolean): number {
  return Number.isNaN(value) ? Infinity : isDescending ? -value : value;
}

/** By row; null where a value is no number. */
function costsOf(table: JobTable, term: JobOrder): Float64Array | null {
  const costs = new Float64Array(table.ids.length);
  if (term.field === 'METRIC') {
    const metric = table.metric(term.key);
    const values = term.at === 'LAST' ? metric.last : term.at === 'MIN' ? metric.min : metric.max;
    for (let row = 0; row < costs.length; row += 1) costs[row] = costOf(values[row]!, term.descending);
    return costs;
  }
  const column = columnOf(term);
  if (column === null) return null;
  const { codes, values } = table.column(column);
  const costOfCode: number[] = [];
  for (const value of values) {
    const number = value === undefined ? NaN : term.field === 'STATE' ? JOB_STATES.indexOf(value as JobState) + 1 : value;
    if (typeof number !== 'number') return null;
    costOfCode.push(costOf(number, term.descending));
  }
  for (let row = 0; row < costs.length; row += 1) costs[row] = costOfCode[codes[row]!]!;
  return costs;
}

/** Null where only the database can tell the order. */
function columnOf(term: Exclude<JobOrder, { field: 'METRIC' }>): JobColumn | null {
  switch (term.field) {
    case 'CREATED_AT': return 'createdAt';
    case 'CONFIG': return `config:${term.key}`;
    case 'STATE': return 'state';
    case 'PRIORITY': return 'priority';
    case 'NAME':
    // These may be amended without a word in the log.
    case 'STARTED_AT':
    case 'FINISHED_AT': return null;
  }
}

const TIME = /^(\d{4,6})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?$/;

function numberOfCursor(term: JobOrder, text: string | null): number {
  if (text === null) return NaN;
  if (term.field !== 'CREATED_AT') return Number(text);
  const [, year, month, day, hour, minute, second, fraction = '', sign, zoneHour, zoneMinute = '0', zoneSecond = '0'] = TIME.exec(text) ?? [];
  const offsetSeconds = (sign === '-' ? -1 : 1) * (Number(zoneHour) * 3600 + Number(zoneMinute) * 60 + Number(zoneSecond));
  const seconds = Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second)) / 1000 - offsetSeconds;
  return seconds * 1_000_000 + Number(fraction.padEnd(6, '0'));
}
