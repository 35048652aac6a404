/** Rows of a batch as lines of text, for the formats that have any. */
import type { Batch, Cell, Column, ColumnValues } from './table.ts';
import { isWords } from './table.ts';

/** A piece of text is handed on when it has so many rows, so that no large one is made. */
const ROWS_PER_PIECE = 2_000;

/** How a format writes a cell that is there, and one that is not. */
export interface CellText {
  (cell: Exclude<Cell, null>, column: Column): string;
}

/** The lines of a batch in pieces; `join` makes a line of the texts of its cells. */
export function* textRows(batch: Batch, columns: readonly Column[], text: CellText, absent: string, join: (cells: string[]) => string): Generator<string> {
  const cellsOf = columns.map((column, index) => cellTexts(batch.columns[index]!, column, text, absent));
  for (let start = 0; start < batch.rowCount; start += ROWS_PER_PIECE) {
    let piece = '';
    for (let row = start; row < Math.min(batch.rowCount, start + ROWS_PER_PIECE); row += 1) piece += join(cellsOf.map((cellOf) => cellOf(row)));
    yield piece;
  }
}

/** A moment as text in ISO 8601, in UTC. */
export function momentText(milliseconds: Exclude<Cell, null>): string {
  return new Date(Number(milliseconds)).toISOString();
}

/** The shortest text that is read as the same number; -0 keeps its sign. */
export function numberText(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value);
}

function cellTexts(values: ColumnValues, column: Column, text: CellText, absent: string): (row: number) => string {
  if (isWords(values)) {
    const words = values.words.map((word) => text(word, column));
    return (row) => words[values.codes[row]!]!;
  }
  return (row) => {
    const cell = values[row];
    return cell === null || cell === undefined ? absent : text(cell, column);
  };
}
