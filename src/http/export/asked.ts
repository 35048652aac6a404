/** What an export is asked for: its address and its parameters, checked. */
import type { GraphQLSchema } from 'graphql';
import type { ExportScope } from '../../db/read/export-jobs.ts';
import type { PointPosition, PointSelection } from '../../db/read/export-metrics.ts';
import { isUuid } from '../../db/read/uuid.ts';
import { UserError } from '../../domain/errors.ts';
import type { AskedObjective } from '../../domain/objective.ts';
import { jobFilterOfJson } from '../../graphql/filter-json.ts';
import { parseExactJson } from '../exact-json.ts';
import { arrowFormat } from './arrow.ts';
import { csvFormat } from './csv.ts';
import { jsonlFormat } from './jsonl.ts';
import { parquetFormat } from './parquet.ts';
import type { ExportFormat } from './table.ts';

const PARENTS: Record<string, ExportScope['parent']> = { experiment: 'EXPERIMENT', sweep: 'SWEEP', job: 'JOB' };
const FORMATS: Record<string, ExportFormat> = { arrow: arrowFormat, parquet: parquetFormat, csv: csvFormat, jsonl: jsonlFormat };
/** The parameters of each table. */
const TABLES = {
  metrics: ['keys', 'filter', 'from_step', 'to_step', 'attempts', 'rolled_up', 'after'],
  results: ['filter', 'metric', 'goal', 'after'],
  checkpoints: ['keys', 'filter', 'after'],
} as const;
const MAX_INT32 = 2 ** 31 - 1;

export interface AskedExport {
  scope: ExportScope;
  format: ExportFormat;
  /** `metrics.csv` */
  fileName: string;
  table: AskedTable;
}

/** The table with what is asked of it; `after` is the row after which it goes on. */
export type AskedTable =
  | { name: 'metrics'; selection: PointSelection; includesRolledUp: boolean; after: PointPosition | null }
  | { name: 'results'; objective: AskedObjective; after: { jobId: string } | null }
  | { name: 'checkpoints'; keys: string[] | null; after: { jobId: string; path: string } | null };

/** Throws UserError, with the values that would be right. */
export function readAsked(params: { parent: string; id: string; file: string }, query: Record<string, unknown>, schema: GraphQLSchema): AskedExport {
  const parent = oneOf(PARENTS, params.parent, 'what is exported');
  const [table, format] = splitName(params.file);
  const given = new Parameters(query, table);
  const filter = given.json('filter');
  return { scope: { parent, id: params.id, filter: filter === null ? {} : jobFilterOfJson(schema, filter) }, format, fileName: params.file, table: tableOf(table, given) };
}

function tableOf(name: keyof typeof TABLES, given: Parameters): AskedTable {
  const after = given.json('after');
  const last = new LastRow(after);
  switch (name) {
    case 'metrics': return {
      name, after: after === null ? null : { jobId: last.jobId(), key: last.text('key'), step: last.whole('step', Number.MAX_SAFE_INTEGER), attempt: last.whole('attempt', MAX_INT32) },
      selection: {
        keys: given.list('keys'), fromStep: given.step('from_step'), toStep: given.step('to_step'),
        allAttempts: given.oneOf('attempts', { effective: false, all: true }) ?? false,
      },
      includesRolledUp: given.oneOf('rolled_up', { refuse: false, include: true }) ?? false,
    };
    case 'results': return { name, after: after === null ? null : { jobId: last.jobId() }, objective: { metric: given.text('metric'), goal: given.oneOf('goal', { min: 'MIN', max: 'MAX' } as const) } };
    case 'checkpoints': return { name, keys: given.list('keys'), after: after === null ? null : { jobId: last.jobId(), path: last.text('path') } };
  }
}

function splitName(file: string): [table: keyof typeof TABLES, format: ExportFormat] {
  const [table = '', format = ''] = file.split(/\.(.*)/s);
  if (!Object.hasOwn(TABLES, table)) throw badInput(`there is no table "${table}"; there are ${Object.keys(TABLES).join(', ')}, each with one of the endings ${Object.keys(FORMATS).map((name) => `.${name}`).join(', ')}`);
  return [table as keyof typeof TABLES, oneOf(FORMATS, format, 'the format')];
}

class Parameters {
  readonly #query: Record<string, unknown>;

  constructor(query: Record<string, unknown>, table: keyof typeof TABLES) {
    const known: readonly string[] = TABLES[table];
    const unknown = Object.keys(query).find((name) => !known.includes(name));
    if (unknown !== undefined) throw badInput(`there is no parameter "${unknown}"; ${table} take ${known.join(', ')}`, unknown);
    this.#query = query;
  }

  /** Null when it was not given. */
  list(name: string): string[] | null {
    const value = this.#query[name];
    return value === undefined ? null : [value].flat() as string[];
  }

  text(name: string): string | null {
    const values = this.list(name);
    if (values !== null && values.length !== 1) throw badInput('may be given once', name);
    return values?.[0] ?? null;
  }

  step(name: string): number | null {
    const text = this.text(name);
    if (text === null) return null;
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(Number(text))) throw badInput(`must be a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`, name);
    return Number(text);
  }

  oneOf<Value>(name: string, values: Record<string, Value>): Value | null {
    const text = this.text(name);
    return text === null ? null : oneOf(values, text, name, [name]);
  }

  json(name: string): unknown {
    const text = this.text(name);
    if (text === null) return null;
    try {
      return parseExactJson(text);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      throw badInput(`is not valid JSON: ${error.message}`, name);
    }
  }
}

/** The last row that somebody has, of which only what says its place is read. */
class LastRow {
  readonly #row: Record<string, unknown>;

  constructor(row: unknown) {
    this.#row = Object(row) as Record<string, unknown>;
  }

  jobId(): string {
    const id = this.text('job_id');
    return isUuid(id) ? id : this.#refuse('job_id');
  }

  text(name: string): string {
    const value = this.#row[name];
    return typeof value === 'string' ? value : this.#refuse(name);
  }

  whole(name: string, max: number): number {
    const value = this.#row[name];
    return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max ? value : this.#refuse(name);
  }

  #refuse(name: string): never {
    throw badInput(`must be the last row that arrived, as a JSON object; its "${name}" is missing or cannot be right`, 'after');
  }
}

function oneOf<Value>(values: Record<string, Value>, name: string, what: string, field: string[] = []): Value {
  if (Object.hasOwn(values, name)) return values[name]!;
  throw UserError.of('BAD_USER_INPUT', `${field.length > 0 ? '' : `${what} `}cannot be "${name}"; it is one of ${Object.keys(values).join(', ')}`, field);
}

function badInput(message: string, parameter?: string): UserError {
  return UserError.of('BAD_USER_INPUT', message, parameter === undefined ? [] : [parameter]);
}
