/** Parquet: a row group for each so many rows, compressed with snappy, and the index of them at the end. Values of several types are JSON as text. */
import type { ByteWriter, ColumnSource, ParquetWriter, SchemaElement } from 'hyparquet-writer';
import { UserError } from '../../domain/errors.ts';
import { isWords } from './table.ts';
import type { Batch, Cell, Column, ColumnType, ColumnValues, ExportFormat, FormatWriter } from './table.ts';

/** Batches with fewer rows wait for more, so that the index, which is kept until the end, stays short beside the rows; not so with very many columns. */
const MIN_GROUP_ROWS = 20_000;
const MIN_GROUP_CELLS = 4_000_000;
/** Columns times groups: what the index says of each of these, some hundred bytes, is held until the end. */
const MAX_CHUNKS = 300_000;

export const parquetFormat: ExportFormat = {
  contentType: 'application/vnd.apache.parquet',
  // Loaded by the first one who wants Parquet: no start waits for it.
  open: async (columns, maxRowCount) => {
    if (maxRowCount !== null) checkChunks(columns, Math.ceil(maxRowCount / minGroupRows(columns)));
    const library = await import('hyparquet-writer');
    const bytes = new library.ByteWriter();
    return openWriter(new library.ParquetWriter({ writer: bytes, schema: schemaOf(columns), createdBy: 'expgraph', statistics: false }), bytes, columns);
  },
};

function openWriter(parquet: ParquetWriter, bytes: ByteWriter, columns: readonly Column[]): FormatWriter {
  let waiting: Batch[] = [];
  let waitingRows = 0;
  let groupCount = 0;
  /** What was written since; its memory is used again. */
  const written = (): Uint8Array[] => {
    const piece = bytes.getBytes().slice();
    bytes.index = 0;
    return piece.length > 0 ? [piece] : [];
  };
  const writeGroup = (): void => {
    if (waitingRows === 0) return;
    groupCount += 1;
    checkChunks(columns, groupCount);
    const columnData = columns.map(({ name, type }, index): ColumnSource => ({ name, data: dataOf(type, waiting.map((batch) => batch.columns[index]!)), ...encodingOf(type), offsetIndex: false }));
    void parquet.write({ columnData, rowGroupSize: waitingRows });
    [waiting, waitingRows] = [[], 0];
  };
  return {
    begin: written,
    rows: (batch) => {
      waiting.push(batch);
      waitingRows += batch.rowCount;
      if (waitingRows >= minGroupRows(columns)) writeGroup();
      return written();
    },
    end: () => {
      writeGroup();
      void parquet.finish();
      return written();
    },
  };
}

function minGroupRows(columns: readonly Column[]): number {
  return Math.min(MIN_GROUP_ROWS, Math.ceil(MIN_GROUP_CELLS / columns.length));
}

function checkChunks(columns: readonly Column[], groupCount: number): void {
  if (columns.length * groupCount <= MAX_CHUNKS) return;
  throw UserError.of('LIMIT_EXCEEDED', `the table is too large for one Parquet file (${columns.length} columns, ${groupCount} or more groups of rows); take it as .arrow or .csv, or choose less of it with \`filter\`, or with \`keys\` where the table has that`);
}

function schemaOf(columns: readonly Column[]): SchemaElement[] {
  return [{ name: 'root', num_children: columns.length }, ...columns.flatMap(({ name, type }) => elementsOf(name, type))];
}

function elementsOf(name: string, type: ColumnType): SchemaElement[] {
  const optional = { name, repetition_type: 'OPTIONAL' } as const;
  const text = { type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } } as const;
  switch (type) {
    case 'word': return [{ name, repetition_type: 'REQUIRED', ...text }];
    case 'text':
    case 'json': return [{ ...optional, ...text }];
    case 'integer': return [{ ...optional, type: 'INT64' }];
    case 'int32': return [{ ...optional, type: 'INT32' }];
    case 'number': return [{ ...optional, type: 'DOUBLE' }];
    case 'boolean': return [{ ...optional, type: 'BOOLEAN' }];
    case 'moment': return [{ ...optional, type: 'INT64', converted_type: 'TIMESTAMP_MILLIS', logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MILLIS' } }];
    case 'texts': return [
      { ...optional, num_children: 1, converted_type: 'LIST', logical_type: { type: 'LIST' } },
      { name: 'list', repetition_type: 'REPEATED', num_children: 1 }, { name: 'element', repetition_type: 'OPTIONAL', ...text },
    ];
  }
}

/** A dictionary pays for words. It would make one of 0 and -0, and costs more than it saves for other numbers. */
function encodingOf(type: ColumnType): Pick<ColumnSource, 'encoding'> {
  switch (type) {
    case 'word': return { encoding: 'RLE_DICTIONARY' };
    case 'integer':
    case 'moment': return { encoding: 'DELTA_BINARY_PACKED' };
    case 'int32':
    case 'number': return { encoding: 'PLAIN' };
    case 'text':
    case 'json':
    case 'boolean':
    case 'texts': return {};
  }
}

/** The values of one column of all batches. */
function dataOf(type: ColumnType, parts: readonly ColumnValues[]): ColumnSource['data'] {
  const [only] = parts;
  if (parts.length === 1 && ArrayBuffer.isView(only)) return only;
  return parts.flatMap((values): unknown[] => {
    if (isWords(values)) return Array.from(values.codes, (code) => values.words[code]!);
    return Array.isArray(values) ? (values as Cell[]).map((cell) => asParquet(type, cell)) : Array.from(values as Iterable<unknown>);
  });
}

function asParquet(type: ColumnType, cell: Cell): unknown {
  if (cell === null) return null;
  if (type === 'integer' || type === 'moment') return BigInt(cell as number);
  return type === 'json' ? JSON.stringify(cell) : cell;
}
