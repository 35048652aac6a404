/** Every checkpoint of many jobs, in pages of bounded size, by job and path. */
import { and, asc, sql } from 'drizzle-orm';
import type { Reader } from '../database.ts';
import { checkpoints, jobs, metricSeries } from '../tables/index.ts';
import type { CheckpointRow } from './checkpoints.ts';
import { inScope, type ExportScope, type JobIds } from './export-jobs.ts';
import { uuidIn } from './job-filter.ts';
import { metricsAtSteps, type MetricAtStepRow } from './metrics.ts';

const JOBS_PER_LOOK = 500;
const CHECKPOINTS_PER_PAGE = 2_000;
/** Each takes a look into its series, some 20 microseconds long. */
const METRICS_PER_PAGE = 100_000;

export interface ExportedCheckpoint {
  checkpoint: CheckpointRow;
  /** The last value of each metric at or before its step; none where that is unknown. */
  metrics: MetricAtStepRow[];
}

/** Every metric that some checkpoint of the scope may have a value of, sorted; `limit` at the most. */
export async function checkpointMetricKeys(reader: Reader, scope: ExportScope, limit: number): Promise<string[]> {
  const { rows } = await reader.execute<{ key: string }>(sql`
    select key from (
      select ${metricSeries.key} as key from ${jobs} join ${metricSeries} on ${metricSeries.jobId} = ${jobs.id}
      where ${inScope(scope)} and exists (select 1 from ${checkpoints} where ${checkpoints.jobId} = ${jobs.id} and ${checkpoints.step} is not null)
      union
      select jsonb_object_keys(${checkpoints.loggedMetrics}) from ${jobs} join ${checkpoints} on ${checkpoints.jobId} = ${jobs.id}
      where ${inScope(scope)} and jsonb_typeof(${checkpoints.loggedMetrics}) = 'object'
    ) as named order by key collate "C" limit ${limit}`);
  return rows.map(({ key }) => key);
}

/** The checkpoints of the jobs that come after a position (null: all of them), each with its values of these metrics. */
export async function* checkpointPages(
  reader: Reader, jobIds: JobIds, keys: readonly string[], after: { jobId: string; path: string } | null,
): AsyncGenerator<ExportedCheckpoint[]> {
  const rest = after === null ? jobIds : jobIds.from(after.jobId, true);
  const pageLength = Math.max(1, Math.min(CHECKPOINTS_PER_PAGE, Math.floor(METRICS_PER_PAGE / Math.max(1, keys.length))));
  let last = after;
  for (let index = 0; index < rest.length; index += JOBS_PER_LOOK) {
    const ids = rest.slice(index, JOBS_PER_LOOK);
    for (let isWhole = false; !isWhole;) {
      const rows: CheckpointRow[] = await reader.select().from(checkpoints)
        .where(and(uuidIn(checkpoints.jobId, ids), last === null ? undefined : sql`(${checkpoints.jobId}, ${checkpoints.path}) > (${last.jobId}::uuid, ${last.path}::text)`))
        .orderBy(asc(checkpoints.jobId), asc(checkpoints.path)).limit(pageLength);
      if (rows.length > 0) yield await withMetrics(reader, rows, keys);
      last = rows.at(-1) ?? last;
      isWhole = rows.length < pageLength;
    }
  }
}

async function withMetrics(reader: Reader, rows: readonly CheckpointRow[], keys: readonly string[]): Promise<ExportedCheckpoint[]> {
  const placed = rows.filter((row): row is CheckpointRow & { step: number } => row.step !== null);
  const found = keys.length === 0 ? [] : await metricsAtSteps(reader, placed, keys);
  const ofRow = new Map<CheckpointRow, MetricAtStepRow[]>(placed.map((row, index) => [row, found[index] ?? []]));
  return rows.map((checkpoint) => ({ checkpoint, metrics: ofRow.get(checkpoint) ?? [] }));
}
