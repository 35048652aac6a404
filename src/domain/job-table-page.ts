/** Pages of a table in memory: the same jobs in the same order as the database would give. */
import type { ResultOrder } from './job-order.ts';
import { ValueColumn, type JobColumn, type JobTable, type TableNeeds } from './job-table.ts';
import { leastOf } from './least-of.ts';
import { JOB_STATES, type JobState } from './states.ts';

/** The sort values of a cursor in the order of the terms, null for none, and the id that ends it. */
export interface PlaceInOrder {
  values: readonly (string | null)[];
  id: string;
}

/** An order of jobs, or of their results: `RESULT_AT` is when the result says that the job ended. */
export type TableOrder = ResultOrder | { field: 'RESULT_AT'; descending: boolean };

/** What a table must hold for the order. */
export function needsOfOrder(order: readonly TableOrder[]): TableNeeds {
  const columns: JobColumn[] = [];
  const metrics: string[] = [];
  for (const term of order) {
    if (term.field === 'METRIC') metrics.push(term.key);
    else columns.push(columnOf(term));
  }
  return { columns, metrics };
}

/** The ids of the first `count` of the rows after the place; null when their order is not one of numbers, so that only the database can tell it. */
export function pageOfTable(table: JobTable, rows: number[], order: readonly TableOrder[], count: number, after: PlaceInOrder | null): string[] | null {
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
  if (after !== null) {
    const bounds: number[] = [];
    for (const [index, term] of order.entries()) {
      const number = numberOfCursor(table, term, after.values[index] ?? null, after.id);
      if (number === null) return null;
      bounds.push(costOf(number, term.descending));
    }
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
function costsOf(table: JobTable, term: TableOrder): Float64Array | null {
  const costs = new Float64Array(table.ids.length);
  const column = term.field === 'METRIC' ? { values: table.metric(term.key)[SUMMARY_OF[term.at]] } : table.loaded(columnOf(term));
  if (!(column instanceof ValueColumn)) {
    const numbers = column.values;
    for (let row = 0; row < costs.length; row += 1) costs[row] = costOf(numbers[row]!, term.descending);
    return costs;
  }
  const { codes, values } = column;
  const costOfCode: number[] = [];
  for (const value of values) {
    const number = value === undefined ? NaN : term.field === 'STATE' ? JOB_STATES.indexOf(value as JobState) + 1 : value;
    if (typeof number !== 'number') return null;
    costOfCode.push(costOf(number, term.descending));
  }
  for (let row = 0; row < costs.length; row += 1) costs[row] = costOfCode[codes[row]!]!;
  return costs;
}

const SUMMARY_OF = { LAST: 'last', MIN: 'min', MAX: 'max' } as const;

function columnOf(term: Exclude<TableOrder, { field: 'METRIC' }>): Exclude<JobColumn, 'lowerName'> {
  switch (term.field) {
    case 'CREATED_AT': return 'createdAt';
    case 'STARTED_AT': return 'startedAt';
    case 'FINISHED_AT': return 'finishedAt';
    case 'RESULT_AT': return 'resultAt';
    case 'NAME': return 'nameRank';
    case 'STATE': return 'state';
    case 'PRIORITY': return 'priority';
    case 'CONFIG': return `config:${term.key}`;
    case 'RESULT_METRIC': return `result:${term.key}`;
  }
}

const TIME = /^(\d{4,6})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?$/;

/** NaN for no value, null where only the database can tell its place. */
function numberOfCursor(table: JobTable, term: TableOrder, text: string | null, id: string): number | null {
  if (text === null) return NaN;
  if (term.field === 'NAME') {
    // A job keeps its name.
    const row = table.rowOf(id);
    return row === undefined ? null : table.numbers('nameRank')[row]!;
  }
  return term.field.endsWith('_AT') ? microsOf(text) : Number(text);
}

function microsOf(text: string): number {
  const [, year, month, day, hour, minute, second, fraction = '', sign, zoneHour, zoneMinute = '0', zoneSecond = '0'] = TIME.exec(text) ?? [];
  const offsetSeconds = (sign === '-' ? -1 : 1) * (Number(zoneHour) * 3600 + Number(zoneMinute) * 60 + Number(zoneSecond));
  const seconds = Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second)) / 1000 - offsetSeconds;
  return seconds * 1_000_000 + Number(fraction.padEnd(6, '0'));
}
