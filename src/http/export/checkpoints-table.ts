import type { Reader } from '../../db/database.ts';
import type { CheckpointRow } from '../../db/read/checkpoints.ts';
import { checkpointPages } from '../../db/read/export-checkpoints.ts';
import type { JobIds } from '../../db/read/export-jobs.ts';
import { batchOfRows, type Batch, type Cell, type Column, type ExportTable } from './table.ts';

const COLUMNS: [Column, (checkpoint: CheckpointRow) => Cell][] = [
  [{ name: 'job_id', type: 'text' }, ({ jobId }) => jobId], [{ name: 'path', type: 'text' }, ({ path }) => path], [{ name: 'id', type: 'text' }, ({ id }) => id],
  [{ name: 'attempt', type: 'int32' }, ({ attemptNumber }) => attemptNumber], [{ name: 'state', type: 'text' }, ({ state }) => state], [{ name: 'layout', type: 'text' }, ({ layout }) => layout],
  [{ name: 'step', type: 'integer' }, ({ step }) => step], [{ name: 'epoch', type: 'number' }, ({ epoch }) => epoch], [{ name: 'aliases', type: 'texts' }, ({ aliases }) => aliases],
  [{ name: 'size_bytes', type: 'integer' }, ({ sizeBytes }) => sizeBytes], [{ name: 'file_count', type: 'int32' }, ({ fileCount }) => fileCount],
  [{ name: 'written_at', type: 'moment' }, ({ writtenAt }) => writtenAt.getTime()], [{ name: 'logged_metrics', type: 'json' }, ({ loggedMetrics }) => loggedMetrics],
];

/** A row for each checkpoint, in whatever state, by job and path. */
export function checkpointsTable(reader: Reader, jobIds: JobIds, after: { jobId: string; path: string } | null): ExportTable {
  return { columns: COLUMNS.map(([column]) => column), batches: batchesOf(checkpointPages(reader, jobIds, after)) };
}

async function* batchesOf(pages: AsyncGenerator<CheckpointRow[]>): AsyncGenerator<Batch> {
  for await (const checkpoints of pages) yield batchOfRows(checkpoints.map((checkpoint) => COLUMNS.map(([, cell]) => cell(checkpoint))));
}
