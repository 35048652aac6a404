import type { Database } from '../../db/database.ts';
import type { JobIds } from '../../db/read/export-jobs.ts';
import { metricPages, type PointPosition, type PointSelection } from '../../db/read/export-metrics.ts';
import type { PointPage } from '../../db/read/point-page.ts';
import type { Batch, Column, ExportTable, Words } from './table.ts';

const COLUMNS: Column[] = [
  { name: 'job_id', type: 'word' }, { name: 'key', type: 'word' }, { name: 'step', type: 'integer' },
  { name: 'time', type: 'moment' }, { name: 'value', type: 'number' }, { name: 'attempt', type: 'int32' },
];

/** A row for each point, by job, key, step and attempt. */
export function metricsTable(database: Database, jobIds: JobIds, selection: PointSelection, after: PointPosition | null): ExportTable {
  return { columns: COLUMNS, maxRowCount: null, batches: batchesOf(metricPages(database, jobIds, selection, after)) };
}

async function* batchesOf(pages: AsyncGenerator<PointPage>): AsyncGenerator<Batch> {
  for await (const { series, steps, times, values, attempts } of pages) {
    yield { rowCount: steps.length, columns: [wordsOf(series, ({ jobId }) => jobId), wordsOf(series, ({ key }) => key), steps, times, values, attempts] };
  }
}

function wordsOf(series: PointPage['series'], wordOf: (series: PointPage['series'][number]) => string): Words {
  const codeOf = new Map<string, number>();
  const codes = new Int32Array(series.reduce((count, { pointCount }) => count + pointCount, 0));
  let row = 0;
  for (const each of series) {
    const word = wordOf(each);
    const code = codeOf.get(word) ?? codeOf.size;
    codeOf.set(word, code);
    codes.fill(code, row, row + each.pointCount);
    row += each.pointCount;
  }
  return { codes, words: [...codeOf.keys()] };
}
