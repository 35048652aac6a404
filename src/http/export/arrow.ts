/** Arrow's IPC stream: a record batch for each batch of rows, with the dictionaries of its own words. Values of several types are JSON as text. */
import type * as ArrowLibrary from 'apache-arrow';
import type { Data, DataType, Field, RecordBatch, Schema } from 'apache-arrow';
import { isWords } from './table.ts';
import type { Batch, Cell, Column, ColumnType, ColumnValues, ExportFormat, FormatWriter } from './table.ts';

type Arrow = typeof ArrowLibrary;

const LONG_BYTES = 16 * 1024;

export const arrowFormat: ExportFormat = {
  contentType: 'application/vnd.apache.arrow.stream',
  // Loaded by the first one who wants Arrow: no start waits for it.
  open: async (columns) => openWriter(await import('apache-arrow'), columns),
};

function openWriter(arrow: Arrow, columns: readonly Column[]): FormatWriter {
  const fields = columns.map(({ name, type }): Field => new arrow.Field(name, typeOf(arrow, type), type !== 'word'));
  const schema = new arrow.Schema(fields);
  const pieces: Uint8Array[] = [];
  /** Its bytes can be had at once, where the library's own queue hands them out in its time. */
  class PieceWriter extends arrow.RecordBatchStreamWriter {
    protected override _write(chunk: ArrayBufferView): this {
      if (chunk.byteLength > 0) pieces.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
      return this;
    }
  }
  const writer = new PieceWriter();
  const written = (): Uint8Array[] => together(pieces.splice(0));
  return {
    begin: () => { writer.reset(undefined, schema); return written(); },
    rows: (batch) => { writer.write(recordBatch(arrow, schema, columns, batch)); return written(); },
    end: () => { writer.finish(); return written(); },
  };
}

/** Pieces as they are where they are long, and short ones that follow each other as one: each is a write of its own. */
function together(pieces: readonly Uint8Array[]): Uint8Array[] {
  const joined: Uint8Array[] = [];
  let short: Uint8Array[] = [];
  for (const piece of pieces) {
    if (piece.length < LONG_BYTES) {
      short.push(piece);
      continue;
    }
    joined.push(Buffer.concat(short), piece);
    short = [];
  }
  return [...joined, Buffer.concat(short)].filter(({ length }) => length > 0);
}

function typeOf(arrow: Arrow, type: ColumnType): DataType {
  switch (type) {
    case 'word': return new arrow.Dictionary(new arrow.Utf8(), new arrow.Int32());
    case 'text':
    case 'json': return new arrow.Utf8();
    case 'integer': return new arrow.Int64();
    case 'int32': return new arrow.Int32();
    case 'number': return new arrow.Float64();
    case 'boolean': return new arrow.Bool();
    case 'moment': return new arrow.Timestamp(arrow.TimeUnit.MILLISECOND, 'UTC');
    case 'texts': return new arrow.List(new arrow.Field('item', new arrow.Utf8(), true));
  }
}

function recordBatch(arrow: Arrow, schema: Schema, columns: readonly Column[], { rowCount, columns: values }: Batch): RecordBatch {
  const children = columns.map(({ type }, index) => dataOf(arrow, schema.fields[index]!.type, type, values[index]!, rowCount));
  return new arrow.RecordBatch(schema, arrow.makeData({ type: new arrow.Struct(schema.fields), length: rowCount, nullCount: 0, children }));
}

function dataOf(arrow: Arrow, type: DataType, columnType: ColumnType, values: ColumnValues, length: number): Data {
  if (isWords(values)) {
    return arrow.makeData({ type: type as InstanceType<Arrow['Dictionary']>, length, nullCount: 0, data: values.codes, dictionary: arrow.vectorFromArray(values.words, new arrow.Utf8()) });
  }
  if (!Array.isArray(values)) return arrow.makeData({ type: type as InstanceType<Arrow['Int64']>, length, nullCount: 0, data: values as BigInt64Array });
  return arrow.vectorFromArray((values as Cell[]).map((cell) => asArrow(columnType, cell)), type).data[0]!;
}

function asArrow(type: ColumnType, cell: Cell): unknown {
  if (cell === null) return null;
  if (type === 'integer') return BigInt(cell as number);
  return type === 'json' ? JSON.stringify(cell) : cell;
}
