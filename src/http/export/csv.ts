/** CSV as RFC 4180 has it, with a header. NaN and infinities are `NaN`, `inf`, `-inf`; lists and values of several types are JSON; nothing is an empty field. */
import type { Cell, Column, ExportFormat } from './table.ts';
import { momentText, numberText, textRows } from './text-rows.ts';

const NON_FINITE = new Map([['NaN', 'NaN'], ['Infinity', 'inf'], ['-Infinity', '-inf']]);

export const csvFormat: ExportFormat = {
  contentType: 'text/csv; charset=utf-8; header=present',
  open: async (columns) => ({
    begin: () => [`${columns.map(({ name }) => quoted(name)).join(',')}\r\n`],
    rows: (batch) => textRows(batch, columns, field, '', (fields) => `${fields.join(',')}\r\n`),
    end: () => [],
  }),
};

function field(cell: Exclude<Cell, null>, { type }: Column): string {
  switch (type) {
    case 'word':
    case 'text': return quoted(cell as string);
    case 'integer':
    case 'int32':
    case 'boolean': return String(cell);
    case 'number': {
      const text = numberText(cell as number);
      return NON_FINITE.get(text) ?? text;
    }
    case 'moment': return momentText(cell);
    case 'texts':
    case 'json': return quoted(JSON.stringify(cell));
  }
}

/** An empty text is told from nothing by its quotes. */
function quoted(text: string): string {
  return text === '' || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
