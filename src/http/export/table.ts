/** A table on its way out: what its columns are, and batches of rows as columns. */
import type { Json } from '../../domain/job-spec.ts';

/** `word`: text of which few are different; `integer`: whole, of 64 bits; `moment`: milliseconds since 1970; `texts`: a list of texts; `json`: values of several types. */
export type ColumnType = 'word' | 'text' | 'integer' | 'int32' | 'number' | 'boolean' | 'moment' | 'texts' | 'json';

export interface Column {
  name: string;
  type: ColumnType;
}

/** A `word` column: for each row the index of its word. */
export interface Words {
  codes: Int32Array;
  words: readonly string[];
}

/** Null where a row has nothing. */
export type Cell = Json | bigint;

/** Words for `word` columns, and else either exact arrays without gaps (integers and moments, numbers) or a cell for each row. */
export type ColumnValues = Words | BigInt64Array | Float64Array | Int32Array | readonly Cell[];

export interface Batch {
  rowCount: number;
  /** In the order of the table's columns. */
  columns: readonly ColumnValues[];
}

export interface ExportTable {
  columns: readonly Column[];
  /** The most rows that it may have; null where that is not known beforehand. */
  maxRowCount: number | null;
  batches: AsyncGenerator<Batch>;
}

/** A file format, written piece by piece. */
export interface ExportFormat {
  contentType: string;
  /** A writer for one table. Throws UserError LIMIT_EXCEEDED where the format cannot hold so many rows and columns. */
  open(columns: readonly Column[], maxRowCount: number | null): Promise<FormatWriter>;
}

/** What each piece of the table is in the file; no piece is large. */
export interface FormatWriter {
  begin(): Iterable<Uint8Array | string>;
  rows(batch: Batch): Iterable<Uint8Array | string>;
  end(): Iterable<Uint8Array | string>;
}

export function isWords(values: ColumnValues): values is Words {
  return 'codes' in values;
}

/** Rows as columns; each row has a cell for each column. */
export function batchOfRows(rows: readonly (readonly Cell[])[]): Batch {
  return { rowCount: rows.length, columns: (rows[0] ?? []).map((_, column) => rows.map((row) => row[column]!)) };
}
