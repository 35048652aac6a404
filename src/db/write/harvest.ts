/** What a harvest commits beside points and checkpoints: cursors, dropped lines, results, and that all was read. */
import { sql, type SQL } from 'drizzle-orm';
import type { NewEvent } from '../../domain/events.ts';
import type { CursorPosition } from '../../domain/harvest-plan.ts';
import type { JsonObject } from '../../domain/job-spec.ts';
import type { Dropped } from '../../domain/readers/reader.ts';
import type { Transaction } from '../database.ts';
import type { ArtifactRow } from '../tables/index.ts';

/** The number of all that was dropped of a job stays at this; GraphQL's Int goes no further. */
const MAX_INT4 = 2 ** 31 - 1;

/** How far a file, or a group of files that belong together, was read. */
export interface FileCursor extends CursorPosition {
  jobId: string;
  path: string;
}

export async function saveFileCursors(transaction: Transaction, cursors: FileCursor[]): Promise<void> {
  if (cursors.length === 0) return;
  await transaction.execute(sql`
    insert into file_cursors (job_id, path, offset_bytes, inode, next_step, skipping, memory, overlap_digest)
    select "jobId", path, "offsetBytes", inode, "nextStep", skipping, memory, "overlapDigest"
    from jsonb_to_recordset(${JSON.stringify(cursors)}::jsonb)
      as t("jobId" uuid, path text, "offsetBytes" bigint, inode text, "nextStep" bigint, skipping boolean, memory jsonb, "overlapDigest" text)
    on conflict (job_id, path) do update
      set offset_bytes = excluded.offset_bytes, inode = excluded.inode, next_step = excluded.next_step,
          skipping = excluded.skipping, memory = excluded.memory, overlap_digest = excluded.overlap_digest`);
}

/** What was left out of the files of one job. */
export interface DroppedOfJob extends Dropped {
  jobId: string;
}

/** Counts what could not be read, by reason and in all, and keeps the last reason. A job must come with each reason once. */
export async function addDropped(transaction: Transaction, dropped: DroppedOfJob[]): Promise<void> {
  if (dropped.length === 0) return;
  await transaction.execute(sql`
    with dropped as (select * from jsonb_to_recordset(${JSON.stringify(dropped)}::jsonb) as t("jobId" uuid, reason text, count bigint)),
    counted as (
      insert into dropped_items (job_id, reason, count, last_at) select "jobId", reason, count, now() from dropped
      on conflict (job_id, reason) do update set count = dropped_items.count + excluded.count, last_at = excluded.last_at
    )
    update jobs set dropped_line_count = least(${MAX_INT4}::bigint, dropped_line_count + total.count), last_dropped_line_reason = total.reason
    from (select "jobId", sum(count)::bigint as count, max(reason) as reason from dropped group by "jobId") as total
    where jobs.id = total."jobId"`);
}

/** How many files of jobs are not looked at, because there are too many. */
export async function saveUnlistedFileCounts(transaction: Transaction, counts: { jobId: string; count: number }[]): Promise<void> {
  if (counts.length === 0) return;
  await transaction.execute(sql`
    update jobs set unlisted_file_count = t.count from jsonb_to_recordset(${JSON.stringify(counts)}::jsonb) as t("jobId" uuid, count int) where jobs.id = t."jobId"`);
}

export interface NewResult {
  jobId: string;
  /** What the job reported itself (result.json); laid over the last value of every series. */
  reportedMetrics: JsonObject;
  artifacts: ArtifactRow[];
}

/** Writes (or brings up to date) the result of completed jobs, unless they were retried meanwhile. Call after their last points are in. Answers the events to append. */
export async function storeResults(transaction: Transaction, results: NewResult[]): Promise<NewEvent[]> {
  if (results.length === 0) return [];
  return resultEvents(transaction, sql`
    insert into results (job_id, metrics, artifacts, finished_at)
    select t."jobId", coalesce(series.metrics, '{}'::jsonb) || t."reportedMetrics", t.artifacts, coalesce(jobs.finished_at, now())
    from jsonb_to_recordset(${JSON.stringify(results)}::jsonb) as t("jobId" uuid, "reportedMetrics" jsonb, artifacts jsonb)
    join jobs on jobs.id = t."jobId" and jobs.state = 'COMPLETED'
    left join lateral (
      select jsonb_object_agg(key, last_value) as metrics from metric_series where job_id = t."jobId" and last_value is not null
    ) series on true
    on conflict (job_id) do update set metrics = excluded.metrics, artifacts = excluded.artifacts,
      finished_at = excluded.finished_at
      where (results.metrics, results.artifacts, results.finished_at) is distinct from (excluded.metrics, excluded.artifacts, excluded.finished_at)`);
}

/** Of jobs that turned out not to have completed. Answers the events to append. */
export async function withdrawResults(transaction: Transaction, jobIds: string[]): Promise<NewEvent[]> {
  return jobIds.length === 0 ? [] : resultEvents(transaction, sql`delete from results where job_id = any(${sql.param(jobIds)}::uuid[])`);
}

/** Carries out the change of results; answers an event for each that was changed. */
async function resultEvents(transaction: Transaction, change: SQL): Promise<NewEvent[]> {
  const { rows } = await transaction.execute<{ job_id: string; experiment_id: string; sweep_id: string | null }>(sql`
    with changed as (${change} returning results.job_id) select job_id, experiment_id, sweep_id from changed join jobs on jobs.id = changed.job_id order by job_id`);
  return rows.map((row) => ({
    kind: 'JOB_UPDATED', experimentId: row.experiment_id, sweepId: row.sweep_id, jobId: row.job_id, attemptNumber: null, payload: { changed: ['result'] },
  }));
}

/** The files of these ended jobs were read to the end and are not looked at again. */
export async function markHarvested(transaction: Transaction, jobIds: string[]): Promise<void> {
  if (jobIds.length === 0) return;
  await transaction.execute(sql`update jobs set harvested_at = now() where id = any(${sql.param(jobIds)}::uuid[]) and finished_at is not null`);
}
