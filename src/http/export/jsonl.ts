/** One JSON object a line, with every column in it. JSON has no NaN and no infinities: they are the texts "NaN", "Infinity", "-Infinity". */
import type { Cell, Column, ExportFormat } from './table.ts';
import { momentText, numberText, textRows } from './text-rows.ts';

export const jsonlFormat: ExportFormat = {
  contentType: 'application/jsonl',
  open: async (columns) => {
    const names = columns.map(({ name }, index) => `${index === 0 ? '{' : ','}${JSON.stringify(name)}:`);
    const line = (values: string[]): string => `${names.map((name, index) => `${name}${values[index]}`).join('')}}\n`;
    return { begin: () => [], rows: (batch) => textRows(batch, columns, value, 'null', line), end: () => [] };
  },
};

function value(cell: Exclude<Cell, null>, { type }: Column): string {
  switch (type) {
    case 'integer':
    case 'int32': return String(cell);
    case 'number': return Number.isFinite(cell) ? numberText(cell as number) : `"${String(cell)}"`;
    case 'moment': return `"${momentText(cell)}"`;
    case 'word':
    case 'text':
    case 'boolean':
    case 'texts':
    case 'json': return JSON.stringify(cell);
  }
}
