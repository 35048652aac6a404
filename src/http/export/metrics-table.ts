import type { Reader } from '../../db/database.ts';
import type { JobIds } from '../../db/read/export-jobs.ts';
import { metricPages, type PointPosition, type PointSelection, type SeriesPart } from '../../db/read/export-metrics.ts';
import type { Batch, Column, ExportTable, Words } from './table.ts';

const COLUMNS: Column[] = [
  { name: 'job_id', type: 'word' }, { name: 'key', type: 'word' }, { name: 'step', type: 'integer' },
  { name: 'time', type: 'moment' }, { name: 'value', type: 'number' }, { name: 'attempt', type: 'int32' },
];

/** A row for each point, by job, key, step and attempt. */
export function metricsTable(reader: Reader, jobIds: JobIds, selection: PointSelection, after: PointPosition | null): ExportTable {
  return { columns: COLUMNS, batches: batchesOf(metricPages(reader, jobIds, selection, after)) };
}

async function* batchesOf(pages: AsyncGenerator<SeriesPart[]>): AsyncGenerator<Batch> {
  for await (const parts of pages) {
    const rowCount = parts.reduce((count, { steps }) => count + steps.length, 0);
    yield {
      rowCount,
      columns: [
        wordsOf(parts, rowCount, ({ jobId }) => jobId), wordsOf(parts, rowCount, ({ key }) => key),
        joined(new BigInt64Array(rowCount), parts.map(({ steps }) => steps)), joined(new BigInt64Array(rowCount), parts.map(({ times }) => times)),
        joined(new Float64Array(rowCount), parts.map(({ values }) => values)), joined(new Int32Array(rowCount), parts.map(({ attempts }) => attempts)),
      ],
    };
  }
}

function wordsOf(parts: readonly SeriesPart[], rowCount: number, wordOf: (part: SeriesPart) => string): Words {
  const codeOf = new Map<string, number>();
  const codes = new Int32Array(rowCount);
  let row = 0;
  for (const part of parts) {
    const word = wordOf(part);
    const code = codeOf.get(word) ?? codeOf.size;
    codeOf.set(word, code);
    codes.fill(code, row, row + part.steps.length);
    row += part.steps.length;
  }
  return { codes, words: [...codeOf.keys()] };
}

function joined<Column extends { set(part: Column, offset: number): void; length: number }>(whole: Column, parts: readonly Column[]): Column {
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
