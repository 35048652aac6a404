/** Table rows in hand-written statements: the list of columns to select, and how a raw row becomes a typed one. */
import { getTableColumns, sql, type SQL } from 'drizzle-orm';
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core';

/** A row as the driver gives it. */
export type RawRow = Record<string, unknown>;

/** Every column of an unaliased table under its property name, less those in `omit`. */
export function selectList(table: PgTable, omit: readonly string[] = []): SQL {
  return sql.join(columnsOf(table, omit).map(([name, column]) => sql`${column} as ${sql.identifier(name)}`), sql`, `);
}

/** The typed row; columns in `omit` are absent from it. */
export function decodeRow<Table extends PgTable>(table: Table, raw: RawRow, omit: readonly string[] = []): Table['$inferSelect'] {
  return Object.fromEntries(columnsOf(table, omit).map(([name, column]) =>
    [name, raw[name] === null ? null : column.mapFromDriverValue(raw[name])])) as Table['$inferSelect'];
}

/** Rows put in the order of the keys that were asked for; null where there is none. */
export function inOrderOf<Key, Row>(keys: readonly Key[], rows: readonly Row[], keyOf: (row: Row) => Key): (Row | null)[] {
  const byKey = new Map(rows.map((row) => [keyOf(row), row]));
  return keys.map((key) => byKey.get(key) ?? null);
}

/** Rows grouped in the order of the keys that were asked for; an empty list where there are none. */
export function groupedBy<Key, Row>(keys: readonly Key[], rows: readonly Row[], keyOf: (row: Row) => Key): Row[][] {
  const groups = new Map<Key, Row[]>(keys.map((key) => [key, []]));
  for (const row of rows) groups.get(keyOf(row))?.push(row);
  return keys.map((key) => groups.get(key) ?? []);
}

function columnsOf(table: PgTable, omit: readonly string[]): [string, PgColumn][] {
  return Object.entries(getTableColumns(table)).filter(([name]) => !omit.includes(name)) as [string, PgColumn][];
}
