import type { Reader } from '../../db/database.ts';
import type { CheckpointRow } from '../../db/read/checkpoints.ts';
import { checkpointMetricKeys, checkpointPages, type ExportedCheckpoint } from '../../db/read/export-checkpoints.ts';
import type { ExportScope, JobIds } from '../../db/read/export-jobs.ts';
import { UserError } from '../../domain/errors.ts';
import { batchOfRows, type Batch, type Cell, type Column, type ExportTable } from './table.ts';

/** Two columns each: wider than any table that somebody reads. */
const MAX_KEYS = 2_500;

const COLUMNS: [Column, (checkpoint: CheckpointRow) => Cell][] = [
  [{ name: 'job_id', type: 'text' }, ({ jobId }) => jobId], [{ name: 'path', type: 'text' }, ({ path }) => path], [{ name: 'id', type: 'text' }, ({ id }) => id],
  [{ name: 'attempt', type: 'int32' }, ({ attemptNumber }) => attemptNumber], [{ name: 'state', type: 'text' }, ({ state }) => state], [{ name: 'layout', type: 'text' }, ({ layout }) => layout],
  [{ name: 'step', type: 'integer' }, ({ step }) => step], [{ name: 'epoch', type: 'number' }, ({ epoch }) => epoch], [{ name: 'aliases', type: 'texts' }, ({ aliases }) => aliases],
  [{ name: 'size_bytes', type: 'integer' }, ({ sizeBytes }) => sizeBytes], [{ name: 'file_count', type: 'int32' }, ({ fileCount }) => fileCount],
  [{ name: 'written_at', type: 'moment' }, ({ writtenAt }) => writtenAt.getTime()], [{ name: 'logged_metrics', type: 'json' }, ({ loggedMetrics }) => loggedMetrics],
];

/**
 * A row for each checkpoint, in whatever state, by job and path, with the metrics as they stood there: `metrics.val/loss`, and in
 * `steps_apart.val/loss` how many steps older than the checkpoint that value is. `keys`: which metrics; null: all. Throws UserError when they are too many.
 */
export async function checkpointsTable(reader: Reader, scope: ExportScope, jobIds: JobIds, asked: readonly string[] | null, after: { jobId: string; path: string } | null): Promise<ExportTable> {
  const keys = asked === null ? await checkpointMetricKeys(reader, scope, MAX_KEYS + 1) : [...new Set(asked)];
  if (keys.length > MAX_KEYS) throw UserError.of('LIMIT_EXCEEDED', `the checkpoints have more than ${MAX_KEYS} different metrics; name those that you want`, ['keys']);
  const columns = keys.flatMap((key): Column[] => [{ name: `metrics.${key}`, type: 'number' }, { name: `steps_apart.${key}`, type: 'integer' }]);
  return { columns: [...COLUMNS.map(([column]) => column), ...columns], maxRowCount: null, batches: batchesOf(checkpointPages(reader, jobIds, keys, after), keys) };
}

async function* batchesOf(pages: AsyncGenerator<ExportedCheckpoint[]>, keys: readonly string[]): AsyncGenerator<Batch> {
  for await (const checkpoints of pages) {
    yield batchOfRows(checkpoints.map((exported) => [...COLUMNS.map(([, cell]) => cell(exported.checkpoint)), ...metricCells(exported, keys)]));
  }
}

/** What the job gave with the checkpoint beats what it logged. */
function metricCells({ checkpoint: { step, loggedMetrics }, metrics }: ExportedCheckpoint, keys: readonly string[]): Cell[] {
  const logged = new Map(metrics.map((metric) => [metric.key, metric]));
  return keys.flatMap((key): Cell[] => {
    if (loggedMetrics !== null && Object.hasOwn(loggedMetrics, key)) return [loggedMetrics[key]!, 0];
    const metric = logged.get(key);
    return metric === undefined ? [null, null] : [metric.value, step! - metric.step];
  });
}
