/**
 * The jobs of one experiment as columns in memory: what lists and leaderboards of a large experiment are chosen and put in order by.
 * Only the columns that somebody asked for are there. A job is a row number, given in the order of arrival.
 */
import { canonicalJson } from './fingerprint.ts';
import type { Goal, Json } from './job-spec.ts';

/** A value of which many jobs have the same. `config:KEY` is the configuration's value at a dotted key. */
export type ValueColumnName = 'state' | 'tags' | 'sweepId' | 'cluster' | 'priority' | `config:${string}`;

/**
 * A number of which each job may have another. Times are in microseconds since 1970; `resultAt` is that of the result. `nameRank` is the place of the name
 * in the order of the database. `result:KEY` is a metric of the result. `checkpoint` is 1 where there is a checkpoint that is whole, and
 * `given:GOAL:KEY` the best finite value of the metric that was given with one of those.
 */
export type NumberColumnName = 'createdAt' | 'startedAt' | 'finishedAt' | 'nameRank' | 'resultAt' | `result:${string}` | 'checkpoint' | `given:${Goal}:${string}`;

/** `lowerName` is the name as the database writes it in small letters. */
export type JobColumn = ValueColumnName | NumberColumnName | 'lowerName';

/** Which columns a question needs. */
export interface TableNeeds {
  columns: readonly JobColumn[];
  /** Keys of metrics. */
  metrics: readonly string[];
}

/** The summary of one metric of one job; null where no point is finite. */
export interface MetricSummary {
  last: number | null;
  min: number | null;
  minStep: number | null;
  max: number | null;
  maxStep: number | null;
}

/** Characters of JSON. Longer values are no settings that one compares, and would take up all memory. */
export const MAX_VALUE_LENGTH = 500;

/** How many numbers take as much room as a row of a metric, and an id with its place in the map. */
const NUMBERS_OF_METRIC = 5;
const NUMBERS_OF_ID = 16;
/** A distinct value stands in a list and under two texts in maps; and each of its characters in both texts and in what was parsed. */
const NUMBERS_OF_DISTINCT = 12;
const NUMBERS_OF_CHARACTER = 0.5;
/** A text of its own in each row: a place in the list, its head, and at most two bytes a character. */
const NUMBERS_OF_TEXT = 3;
const NUMBERS_OF_TEXT_CHARACTER = 0.25;

/** What a job has in one column. */
interface Column {
  /** How many numbers would take as much room. */
  readonly size: number;
  /** Whether every value could be held. */
  readonly isWhole: boolean;
  /** @param text the value as JSON (of a text column the text itself), or null where there is none */
  set(row: number, text: string | null): void;
}

/** Values with few distinct ones among many: each row holds the number of its value. */
export class ValueColumn implements Column {
  /** By row. Code 0 means that the job has no such value. */
  readonly codes: number[] = [];
  /** By code. Equal values have one code. */
  readonly values: (Json | undefined)[] = [undefined];
  /** Whether no value was too long to be held. */
  isWhole = true;
  /** Characters of all distinct texts. */
  #textLength = 0;
  readonly #codeOfText = new Map<string, number>();
  readonly #codeOfValue = new Map<string, number>();

  constructor(rowCount: number) {
    for (let row = 0; row < rowCount; row += 1) this.codes.push(0);
  }

  /** How many numbers would take as much room. */
  get size(): number {
    return this.codes.length + this.#codeOfText.size * NUMBERS_OF_DISTINCT + this.#textLength * NUMBERS_OF_CHARACTER;
  }

  /** What is longer than `MAX_VALUE_LENGTH` may be cut off after it. */
  set(row: number, text: string | null): void {
    if (text !== null && text.length > MAX_VALUE_LENGTH) {
      this.isWhole = false;
      text = null;
    }
    this.codes[row] = text === null ? 0 : this.#codeOfText.get(text) ?? this.#codeOfNew(text);
  }

  #codeOfNew(text: string): number {
    const value = JSON.parse(text) as Json;
    const canonical = canonicalJson(value);
    const code = this.#codeOfValue.get(canonical) ?? this.values.push(value) - 1;
    this.#codeOfValue.set(canonical, code);
    this.#codeOfText.set(text, code);
    this.#textLength += text.length;
    return code;
  }
}

/** Numbers by row; NaN where a job has none. */
export class NumberColumn implements Column {
  readonly values: number[] = [];
  /** Whether every value was a number that a double holds. */
  isWhole = true;

  constructor(rowCount: number) {
    for (let row = 0; row < rowCount; row += 1) this.values.push(NaN);
  }

  get size(): number {
    return this.values.length;
  }

  set(row: number, text: string | null): void {
    const value = text === null ? NaN : Number(text);
    if (text !== null && !Number.isFinite(value)) this.isWhole = false;
    this.values[row] = value;
  }
}

/** Texts by row, nearly all of them different. */
export class TextColumn implements Column {
  readonly texts: string[] = [];
  readonly isWhole = true;
  #length = 0;

  constructor(rowCount: number) {
    for (let row = 0; row < rowCount; row += 1) this.texts.push('');
  }

  get size(): number {
    return this.texts.length * NUMBERS_OF_TEXT + this.#length * NUMBERS_OF_TEXT_CHARACTER;
  }

  set(row: number, text: string | null): void {
    this.#length += (text ?? '').length - (this.texts[row] ?? '').length;
    this.texts[row] = text ?? '';
  }
}

export type AnyColumn = ValueColumn | NumberColumn | TextColumn;

/** A column of that name without any value. */
export function emptyColumn(name: JobColumn, rowCount: number): AnyColumn {
  if (name === 'lowerName') return new TextColumn(rowCount);
  return isNumberColumn(name) ? new NumberColumn(rowCount) : new ValueColumn(rowCount);
}

function isNumberColumn(name: JobColumn): name is NumberColumnName {
  return /^(createdAt|startedAt|finishedAt|nameRank|resultAt|checkpoint)$|^(result|given):/.test(name);
}

/** The summaries of one metric by row; NaN where a job has none. */
export class MetricColumn {
  readonly last: number[] = [];
  readonly min: number[] = [];
  readonly minStep: number[] = [];
  readonly max: number[] = [];
  readonly maxStep: number[] = [];
  /** Whether no job has ever had the metric. */
  isEmpty = true;

  constructor(rowCount: number) {
    for (let row = 0; row < rowCount; row += 1) this.set(row, null);
  }

  /** How many numbers would take as much room. */
  get size(): number {
    return this.last.length * NUMBERS_OF_METRIC;
  }

  set(row: number, summary: MetricSummary | null): void {
    if (summary !== null) this.isEmpty = false;
    this.last[row] = summary?.last ?? NaN;
    this.min[row] = summary?.min ?? NaN;
    this.minStep[row] = summary?.minStep ?? NaN;
    this.max[row] = summary?.max ?? NaN;
    this.maxStep[row] = summary?.maxStep ?? NaN;
  }
}

export class JobTable {
  /** By row. */
  readonly ids: string[] = [];
  readonly columns = new Map<JobColumn, AnyColumn>();
  readonly metrics = new Map<string, MetricColumn>();
  readonly #rowOfId = new Map<string, number>();

  /** How many numbers would take as much room as the table without any column. */
  get sizeOfIds(): number {
    return this.ids.length * NUMBERS_OF_ID;
  }

  /** How many numbers would take as much room. */
  get size(): number {
    let size = this.sizeOfIds;
    for (const column of this.columns.values()) size += column.size;
    for (const metric of this.metrics.values()) size += metric.size;
    return size;
  }

  /** The least that these columns take in the table, in numbers. */
  leastSizeOf({ columns, metrics }: TableNeeds): number {
    return this.ids.length * (columns.length + NUMBERS_OF_METRIC * metrics.length);
  }

  /** Forgets the columns that are not needed. */
  keepOnly({ columns, metrics }: TableNeeds): void {
    for (const name of this.columns.keys()) if (!columns.includes(name)) this.columns.delete(name);
    for (const key of this.metrics.keys()) if (!metrics.includes(key)) this.metrics.delete(key);
  }

  /** The row of the job; undefined where it is not in the table. */
  rowOf(id: string): number | undefined {
    return this.#rowOfId.get(id);
  }

  /** The row of the job, which is added without any values if need be. */
  addJob(id: string): number {
    const known = this.#rowOfId.get(id);
    if (known !== undefined) return known;
    const row = this.ids.push(id) - 1;
    this.#rowOfId.set(id, row);
    for (const column of this.columns.values()) column.set(row, null);
    for (const metric of this.metrics.values()) metric.set(row, null);
    return row;
  }

  /** A column that was loaded before. */
  column(name: ValueColumnName): ValueColumn {
    return this.loaded(name) as ValueColumn;
  }

  /** A column of numbers that was loaded before, by row; NaN where a job has none. */
  numbers(name: NumberColumnName): readonly number[] {
    return (this.loaded(name) as NumberColumn).values;
  }

  /** The names that were loaded before, in small letters, by row. */
  lowerNames(): readonly string[] {
    return (this.loaded('lowerName') as TextColumn).texts;
  }

  /** Whatever column it is, once it was loaded. */
  loaded(name: Exclude<JobColumn, 'lowerName'>): ValueColumn | NumberColumn;
  loaded(name: JobColumn): AnyColumn;
  loaded(name: JobColumn): AnyColumn {
    const column = this.columns.get(name);
    if (column === undefined) throw new Error(`the column ${name} is not loaded`);
    return column;
  }

  /** A metric that was loaded before. */
  metric(key: string): MetricColumn {
    const metric = this.metrics.get(key);
    if (metric === undefined) throw new Error(`the metric ${key} is not loaded`);
    return metric;
  }
}
