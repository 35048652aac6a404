/**
 * Rolls up the long series of jobs that ended long ago: of each stretch of steps the least and the greatest point stay (and one that is NaN or
 * infinite), the points that checkpoints refer to, and the first and the last; the summary and the buckets from a level on stay exact. The newest
 * points, which do not fill a bucket of that level yet, all stay, so that whatever comes after them is taken as ever.
 */
import { sql } from 'drizzle-orm';
import { LEVEL_SHIFT } from '../metric-bucket-levels.ts';
import { rollUpPlan } from '../roll-up-plan.ts';
import type { Transaction } from '../database.ts';
import { FROM_DUE_JOBS } from '../read/roll-ups.ts';
import { lockMetrics } from './metrics.ts';

/** Points that one transaction looks at, unless a single bucket holds more: some tenths of a second. */
const POINTS_PER_TRANSACTION = 50_000;

export interface RolledSeries {
  jobId: string;
  seriesNumber: number;
  pointsPerSeries: number;
}

interface Stretch {
  level: number;
  fromStep: string;
  endStep: string;
  isLast: boolean;
}

/**
 * Rolls up the next stretch of a series. Answers whether there is more to do; doing it again does nothing more, and neither does a call for a job
 * that is not due any more, because it runs again or its project keeps its points after all.
 */
export async function rollUpStretch(transaction: Transaction, series: RolledSeries, pointsPerTransaction = POINTS_PER_TRANSACTION): Promise<boolean> {
  await lockMetrics(transaction, [series.jobId]);
  // Nobody makes the job run again before this transaction ends.
  const { rowCount } = await transaction.execute(sql`select 1 ${FROM_DUE_JOBS} and jobs.id = ${series.jobId} for share of jobs`);
  if (rowCount === 0) return false;
  const stretch = await nextStretch(transaction, series, pointsPerTransaction);
  if (stretch === null) return false;
  await deletePoints(transaction, series, stretch);
  await deleteLowBuckets(transaction, series, stretch);
  await transaction.execute(sql`
    update metric_series set rolled_up_level = ${stretch.level}, rolled_up_below_step = ${stretch.endStep}::bigint
    where job_id = ${series.jobId} and series_number = ${series.seriesNumber}`);
  return !stretch.isLast;
}

/** Says that all long series of the job are rolled up, unless it is not due any more, or points came meanwhile that are to be rolled up, too. */
export async function markRolledUp(transaction: Transaction, jobId: string): Promise<void> {
  await lockMetrics(transaction, [jobId]);
  await transaction.execute(sql`
    update jobs set rolled_up_at = greatest(now(), finished_at) where id in (select jobs.id ${FROM_DUE_JOBS} and jobs.id = ${jobId} and not exists (
      select from metric_series series cross join lateral (${rollUpPlan(sql`projects.points_per_series::bigint`)}) as plan
      where series.job_id = jobs.id and series.bucket_shift is not null and coalesce(series.rolled_up_below_step, 0) < plan.end_step))`);
}

async function nextStretch(transaction: Transaction, { jobId, seriesNumber, pointsPerSeries }: RolledSeries, most: number): Promise<Stretch | null> {
  const { rows: [row] } = await transaction.execute<{ level: number; from_step: string; end_step: string; is_last: boolean }>(sql`
    with planned as materialized (
      select plan.level, plan.shift, plan.end_step as last_step, coalesce(series.rolled_up_below_step, 0) as from_step
      from metric_series series cross join lateral (${rollUpPlan(sql`${pointsPerSeries}::bigint`)}) as plan
      where series.job_id = ${jobId} and series.series_number = ${seriesNumber} and series.bucket_shift is not null)
    select level, from_step, chosen.end_step, chosen.end_step = last_step as is_last
    from planned cross join lateral (
      select coalesce(max(bucket + 1) << shift, last_step) as end_step from (
        select bucket, sum(point_count) over (order by bucket) - point_count as count_before from metric_buckets
        where job_id = ${jobId} and series_number = ${seriesNumber} and metric_buckets.level = planned.level
          and bucket >= from_step >> shift and bucket < last_step >> shift
      ) as counted where count_before < ${most}
    ) as chosen where from_step < last_step`);
  return row === undefined ? null : { level: row.level, fromStep: row.from_step, endStep: row.end_step, isLast: row.is_last };
}

async function deletePoints(transaction: Transaction, { jobId, seriesNumber }: RolledSeries, { level, fromStep, endStep }: Stretch): Promise<void> {
  const inSeries = sql`job_id = ${jobId} and series_number = ${seriesNumber}`;
  const inStretch = sql`${inSeries} and step >= ${fromStep}::bigint and step < ${endStep}::bigint`;
  await transaction.execute(sql`
    with kept as materialized (
      select point[2]::bigint as step from metric_series series
      join metric_buckets bucket using (job_id, series_number) cross join lateral (values (least), (greatest), (non_finite)) as held(point)
      where ${inSeries} and level = ${level} and point is not null
        and bucket >= ${fromStep}::bigint >> (bucket_shift + ${LEVEL_SHIFT * level}) and bucket < ${endStep}::bigint >> (bucket_shift + ${LEVEL_SHIFT * level})
      union all select last_step from metric_series where ${inSeries} and last_step is not null
      union all (select step from metric_points where ${inStretch} order by step limit 1)
      union all (select step from metric_points where ${inStretch} order by step desc limit 1)
      union all select logged.step from checkpoints cross join lateral (
        select step from metric_points where ${inStretch} and metric_points.step <= checkpoints.step order by step desc limit 1) as logged
      where checkpoints.job_id = ${jobId} and checkpoints.step >= ${fromStep}::bigint and checkpoints.step < ${endStep}::bigint)
    delete from metric_points where ${inStretch} and step not in (select step from kept)`);
}

async function deleteLowBuckets(transaction: Transaction, { jobId, seriesNumber }: RolledSeries, { level, fromStep, endStep }: Stretch): Promise<void> {
  const shift = sql`(series.bucket_shift + ${LEVEL_SHIFT}::int * low.level)`;
  await transaction.execute(sql`
    delete from metric_buckets bucket using metric_series series, generate_series(0, ${level - 1}::int) as low(level)
    where series.job_id = ${jobId} and series.series_number = ${seriesNumber} and bucket.job_id = ${jobId} and bucket.series_number = ${seriesNumber}
      and bucket.level = low.level and bucket.bucket >= ${fromStep}::bigint >> ${shift} and bucket.bucket < ${endStep}::bigint >> ${shift}`);
}
