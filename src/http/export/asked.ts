/** What an export is asked for: its address and its parameters, checked. */
import type { GraphQLSchema } from 'graphql';
import type { ExportScope } from '../../db/read/export-jobs.ts';
import type { PointPosition, PointSelection } from '../../db/read/export-metrics.ts';
import { isUuid } from '../../db/read/uuid.ts';
import { UserError } from '../../domain/errors.ts';
import { jobFilterOfJson } from '../../graphql/filter-json.ts';
import { parseExactJson } from '../exact-json.ts';
import { arrowFormat } from './arrow.ts';
import { csvFormat } from './csv.ts';
import { jsonlFormat } from './jsonl.ts';
import type { ExportFormat } from './table.ts';

const PARENTS: Record<string, ExportScope['parent']> = { experiment: 'EXPERIMENT', sweep: 'SWEEP', job: 'JOB' };
const FORMATS: Record<string, ExportFormat> = { arrow: arrowFormat, csv: csvFormat, jsonl: jsonlFormat };
/** The parameters of each table. */
const TABLES = { metrics: ['keys', 'filter', 'from_step', 'to_step', 'attempts', 'after'] } as const;
const MAX_INT32 = 2 ** 31 - 1;

export interface AskedExport {
  scope: ExportScope;
  table: keyof typeof TABLES;
  format: ExportFormat;
  /** `metrics.csv` */
  fileName: string;
  selection: PointSelection;
  after: PointPosition | null;
}

/** Throws UserError, with the values that would be right. */
export function readAsked(params: { parent: string; id: string; file: string }, query: Record<string, unknown>, schema: GraphQLSchema): AskedExport {
  const parent = oneOf(PARENTS, params.parent, 'what is exported');
  const [table, format] = splitName(params.file);
  const given = new Parameters(query, table);
  const filter = given.json('filter');
  return {
    scope: { parent, id: params.id, filter: filter === null ? {} : jobFilterOfJson(schema, filter) },
    table, format, fileName: params.file,
    selection: {
      keys: given.list('keys'), fromStep: given.step('from_step'), toStep: given.step('to_step'),
      allAttempts: given.oneOf('attempts', { effective: false, all: true }) ?? false,
    },
    after: pointPosition(given.json('after')),
  };
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

function pointPosition(after: unknown): PointPosition | null {
  if (after === null) return null;
  const { job_id: jobId, key, step, attempt } = Object(after) as Record<string, unknown>;
  const isWhole = (value: unknown, max: number): boolean => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max;
  if (typeof jobId === 'string' && isUuid(jobId) && typeof key === 'string' && isWhole(step, Number.MAX_SAFE_INTEGER) && isWhole(attempt, MAX_INT32)) {
    return { jobId, key, step: step as number, attempt: attempt as number };
  }
  throw badInput('must be the last row that arrived, as JSON: {"job_id": ..., "key": ..., "step": ..., "attempt": ...}; other names in it are passed over', 'after');
}

function oneOf<Value>(values: Record<string, Value>, name: string, what: string, field: string[] = []): Value {
  if (Object.hasOwn(values, name)) return values[name]!;
  throw UserError.of('BAD_USER_INPUT', `${field.length > 0 ? '' : `${what} `}cannot be "${name}"; it is one of ${Object.keys(values).join(', ')}`, field);
}

function badInput(message: string, parameter?: string): UserError {
  return UserError.of('BAD_USER_INPUT', message, parameter === undefined ? [] : [parameter]);
}
