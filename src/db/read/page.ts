/**
 * Keyset pages: a cursor carries the sort values of its row, so that rows inserted or deleted meanwhile neither repeat nor
 * hide others. One statement serves a page of each of many parents.
 */
import { and, sql, type SQL } from 'drizzle-orm';
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core';
import { UserError } from '../../domain/errors.ts';
import type { Reader } from '../database.ts';
import { asDatabaseError, sqlStateOf } from '../errors.ts';
import { decodeRow, selectList, type RawRow } from './rows.ts';

/** One sort key. NULL sorts last in both directions. */
export interface OrderTerm {
  expression: SQL | PgColumn;
  /** The SQL type that the value takes when it comes back out of a cursor. */
  type: 'timestamptz' | 'uuid' | 'integer' | 'double precision' | 'text' | 'jsonb';
  descending: boolean;
  nullable: boolean;
  /** What tells this key from others, so that a cursor of another order is recognised. */
  name: string;
}

export interface PageRequest {
  /** Most rows to return. */
  first: number;
  /** Cursor after which the page begins, or null for the first page. */
  after: string | null;
}

/** What to page through: `from` must bring `table` into scope, unaliased. */
export interface PageSource<Table extends PgTable> {
  table: Table;
  /** The FROM clause; the table alone when absent. */
  from?: SQL;
  /** Columns too large for a list, left out of its rows. */
  omit?: readonly string[];
  where: SQL | undefined;
  /** Ends in a unique, never-null term. */
  order: OrderTerm[];
}

export interface Page<Row> {
  rows: { row: Row; cursor: string }[];
  hasNextPage: boolean;
}

/** One page. Throws UserError when the cursor is not one of this list and order. */
export async function readPage<Table extends PgTable>(reader: Reader, source: PageSource<Table>, request: PageRequest): Promise<Page<Table['$inferSelect']>> {
  const rows = await pageRows(reader, pageStatement(source, source.where, request), request);
  return toPage(source, rows, request.first);
}

/** The same page of each parent, in one statement; `parent` is the column that names it. */
export async function readPagePerParent<Table extends PgTable>(
  reader: Reader, source: PageSource<Table>, request: PageRequest, parent: PgColumn, parentIds: readonly string[],
): Promise<Page<Table['$inferSelect']>[]> {
  const statement = pageStatement(source, and(sql`${parent} = parent.id`, source.where), request);
  const rows = await pageRows(reader, sql`select parent.number, page.*
    from unnest(${sql.param([...parentIds])}::uuid[]) with ordinality as parent(id, number)
    cross join lateral (${statement}) as page order by parent.number, page.position`, request);
  const perParent = parentIds.map((): RawRow[] => []);
  for (const row of rows) perParent[Number(row['number']) - 1]?.push(row);
  return perParent.map((rows) => toPage(source, rows, request.first));
}

/** How many rows there are in all. */
export async function countRows<Table extends PgTable>(reader: Reader, source: PageSource<Table>): Promise<number> {
  const result = await reader.execute<RawRow>(sql`select count(*) as count from ${source.from ?? source.table} where ${source.where ?? sql`true`}`);
  return Number(result.rows[0]?.['count'] ?? 0);
}

/** How many rows each parent has, in one statement. */
export async function countRowsPerParent<Table extends PgTable>(
  reader: Reader, source: PageSource<Table>, parent: PgColumn, parentIds: readonly string[],
): Promise<number[]> {
  const result = await reader.execute<RawRow>(sql`select ${parent} as id, count(*) as count from ${source.from ?? source.table}
    where ${and(sql`${parent} = any(${sql.param([...parentIds])}::uuid[])`, source.where)} group by ${parent}`);
  const counts = new Map(result.rows.map((row) => [String(row['id']), Number(row['count'])]));
  return parentIds.map((id) => counts.get(id) ?? 0);
}

async function pageRows(reader: Reader, statement: SQL, { after }: PageRequest): Promise<RawRow[]> {
  try {
    return (await reader.execute<RawRow>(statement)).rows;
  } catch (error) {
    // A forged cursor can hold what looks like a value and is none, such as the 45th of January: a data exception, class 22.
    if (after !== null && asDatabaseError(error) === null && sqlStateOf(error)?.startsWith('22')) throw foreignCursor();
    throw error;
  }
}

function pageStatement<Table extends PgTable>(source: PageSource<Table>, where: SQL | undefined, request: PageRequest): SQL {
  const sortValues = source.order.map((term, index) => sql`(${term.expression})::text as ${sql.identifier(`sort_${index}`)}`);
  const ordering = sql.join(source.order.map((term) =>
    sql`${term.expression} ${term.descending ? sql`desc` : sql`asc`}${term.nullable ? sql` nulls last` : sql``}`), sql`, `);
  const start = request.after === null ? undefined : afterCondition(source.order, cursorValues(source.order, request.after));
  return sql`select ${selectList(source.table, source.omit)}, ${sql.join(sortValues, sql`, `)}, row_number() over (order by ${ordering}) as position
    from ${source.from ?? source.table} where ${and(where, start) ?? sql`true`} order by ${ordering} limit ${request.first + 1}`;
}

function toPage<Table extends PgTable>(source: PageSource<Table>, rows: RawRow[], first: number): Page<Table['$inferSelect']> {
  return {
    hasNextPage: rows.length > first,
    rows: rows.slice(0, first).map((raw) => ({
      row: decodeRow(source.table, raw, source.omit),
      cursor: encodeCursor(source.order, source.order.map((_, index) => raw[`sort_${index}`] as string | null)),
    })),
  };
}

type SortValue = string | null;

function afterCondition(order: OrderTerm[], values: SortValue[]): SQL {
  const [term, ...rest] = order;
  const [value = null, ...restValues] = values;
  if (term === undefined) return sql`false`;
  if (isUniform(order)) {
    // A row comparison is what an index on exactly these columns can start from.
    const left = sql.join(order.map((each) => sql`${each.expression}`), sql`, `);
    const right = sql.join(order.map((each, index) => typed(each, values[index] ?? null)), sql`, `);
    return sql`(${left}) ${term.descending ? sql`<` : sql`>`} (${right})`;
  }
  const beyond = value === null ? sql`false`
    : sql`(${term.expression} ${term.descending ? sql`<` : sql`>`} ${typed(term, value)}${term.nullable ? sql` or ${term.expression} is null` : sql``})`;
  if (rest.length === 0) return beyond;
  const same = value === null ? sql`${term.expression} is null` : sql`${term.expression} = ${typed(term, value)}`;
  return sql`(${beyond} or (${same} and ${afterCondition(rest, restValues)}))`;
}

function isUniform(order: OrderTerm[]): boolean {
  return order.every((term) => !term.nullable && term.descending === order[0]?.descending);
}

function typed(term: OrderTerm, value: SortValue): SQL {
  return sql`${value}::${sql.raw(term.type)}`;
}

function orderSignature(order: OrderTerm[]): string {
  return order.map((term) => `${term.descending ? '-' : '+'}${term.name}`).join(',');
}

function encodeCursor(order: OrderTerm[], values: SortValue[]): string {
  return Buffer.from(JSON.stringify([orderSignature(order), ...values])).toString('base64url');
}

/** What a cursor holds of each sort key, as text; null for no value. Throws UserError when it is not one of a list in this order. */
export function cursorValues(order: OrderTerm[], cursor: string): SortValue[] {
  const parsed = parseCursor(cursor);
  const [signature, ...values] = parsed;
  const whole = values.length === order.length && values.every((value, index) => isSortValue(order[index]!, value));
  if (!whole || signature !== orderSignature(order)) {
    throw foreignCursor();
  }
  return values as SortValue[];
}

function foreignCursor(): UserError {
  return UserError.of('BAD_USER_INPUT',
    'this cursor does not belong to this list in this order; pass an `endCursor` of the same field with the same `orderBy`, or leave `after` out', ['after']);
}

function parseCursor(cursor: string): unknown[] {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
    return Array.isArray(parsed) ? parsed : [];
  } catch {
    return [];
  }
}

const SORT_VALUE_FORMS: Record<OrderTerm['type'], RegExp> = {
  timestamptz: /^\d{4,6}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[+-]\d\d(:\d\d){0,2}$/,
  uuid: /^[0-9a-f-]{36}$/,
  integer: /^-?\d{1,10}$/,
  'double precision': /^(-?\d+(\.\d+)?(e[+-]?\d+)?|-?Infinity|NaN)$/,
  text: /^/,
  jsonb: /^/,
};

/** A forged cursor must be refused here, not by Postgres. */
function isSortValue(term: OrderTerm, value: unknown): boolean {
  if (value === null) return term.nullable;
  if (typeof value !== 'string' || value.includes('\0') || !SORT_VALUE_FORMS[term.type].test(value)) return false;
  if (term.type !== 'jsonb') return true;
  try {
    JSON.parse(value);
    return true;
  } catch {
    return false;
  }
}
