/** Which histories are to be rolled up, what that would free, and which are rolled up already. */
import { sql, type SQL } from 'drizzle-orm';
import type { MetricRetention } from '../../domain/metric-retention.ts';
import { TERMINAL_JOB_STATES } from '../../domain/states.ts';
import type { Reader } from '../database.ts';
import { rollUpPlan } from '../roll-up-plan.ts';
import { jobs, metricSeries } from '../tables/index.ts';
import type { JobIds } from './export-jobs.ts';
import { textIn, uuidIn } from './job-filter.ts';

/** Whose files were read to the end, that ended so many days ago, and that have not been rolled up since. */
function isDue(exactDays: SQL): SQL {
  return sql`${jobs.harvestedAt} is not null and (${jobs.rolledUpAt} is null or ${jobs.rolledUpAt} < ${jobs.finishedAt})
    and ${jobs.finishedAt} < now() - make_interval(days => ${exactDays}) and ${jobs.state} = any(${sql.param([...TERMINAL_JOB_STATES])}::text[])`;
}

/** The rest of a statement that selects jobs whose long series are to be rolled up by now. */
export const FROM_DUE_JOBS = sql`from projects join experiments on experiments.project = projects.name join jobs on jobs.experiment_id = experiments.id
  where projects.exact_days is not null and ${isDue(sql`projects.exact_days`)}`;

/** Jobs whose long series are to be rolled up by now, at most so many, and none of those to pass over. */
export async function jobsToRollUp(reader: Reader, most: number, passedOver: readonly string[]): Promise<{ jobId: string; pointsPerSeries: number }[]> {
  const { rows } = await reader.execute<{ id: string; points_per_series: number }>(sql`
    select jobs.id, projects.points_per_series ${FROM_DUE_JOBS} and not (${uuidIn(jobs.id, passedOver)}) limit ${most}`);
  return rows.map((row) => ({ jobId: row.id, pointsPerSeries: row.points_per_series }));
}

/** The numbers of the series of a job that are long enough to be rolled up. */
export async function longSeriesOf(reader: Reader, jobId: string): Promise<number[]> {
  const { rows } = await reader.execute<{ series_number: number }>(sql`
    select series_number from metric_series where job_id = ${jobId} and bucket_shift is not null order by series_number`);
  return rows.map((row) => row.series_number);
}

export interface RollUpEstimate {
  /** Jobs with a history that would be rolled up. */
  jobCount: number;
  seriesCount: number;
  /** About how many points would go. */
  pointCount: number;
  /** About how much room in the tables they take, indexes included. */
  bytes: number;
}

/** A row and its entry in the index, where the size of the tables does not tell yet. */
const BYTES_PER_POINT = 130;

/** What would be rolled up at once if the project had this retention. Nothing is due where points are kept for ever. */
export async function estimateRollUp(reader: Reader, project: string, { exactDays, pointsPerSeries }: MetricRetention): Promise<RollUpEstimate> {
  if (exactDays === null) return { jobCount: 0, seriesCount: 0, pointCount: 0, bytes: 0 };
  const { rows: [row] } = await reader.execute<{ job_count: number; series_count: number; point_count: number; bytes_per_point: number | null }>(sql`
    with rolled as (
      select series.job_id, series.point_count::float8 * (plan.end_step - started.step) / (series_end.step - started.step + 1) - 2 * ((plan.end_step - started.step) >> plan.shift) as gone
      from experiments join jobs on jobs.experiment_id = experiments.id join metric_series series on series.job_id = jobs.id
      cross join lateral (${rollUpPlan(sql`${pointsPerSeries}::bigint`)}) as plan
      cross join lateral (select greatest(plan.first_step, series.rolled_up_below_step) as step) as started
      cross join lateral (select max(step) as step from metric_points where job_id = series.job_id and series_number = series.series_number) as series_end
      where experiments.project = ${project} and series.bucket_shift is not null and ${isDue(sql`${exactDays}::int`)} and plan.end_step > started.step)
    select count(distinct job_id)::float8 as job_count, count(*)::float8 as series_count, coalesce(sum(greatest(gone, 0)), 0)::float8 as point_count,
      (select sum(pg_total_relation_size(oid)) / nullif(sum(greatest(reltuples, 0)), 0) from pg_class where oid in (select inhrelid from pg_inherits where inhparent = 'metric_points'::regclass))::float8 as bytes_per_point
    from rolled`);
  const pointCount = Math.round(row!.point_count);
  return { jobCount: row!.job_count, seriesCount: row!.series_count, pointCount, bytes: Math.round(pointCount * (row!.bytes_per_point ?? BYTES_PER_POINT)) };
}

/** Jobs that one statement asks about. */
const JOBS_PER_LOOK = 5_000;

/** Those of the jobs of which only a roll-up is left of a chosen metric (null: of any) from a step on. */
export async function rolledUpJobs(reader: Reader, jobIds: JobIds, keys: readonly string[] | null, fromStep: number | null): Promise<string[]> {
  const found: string[] = [];
  for (let start = 0; start < jobIds.length; start += JOBS_PER_LOOK) {
    const { rows } = await reader.execute<{ job_id: string }>(sql`
      select distinct job_id from metric_series where job_id = any(${sql.param(jobIds.slice(start, JOBS_PER_LOOK))}::uuid[])
        and rolled_up_below_step > ${fromStep ?? 0}::bigint ${keys === null ? sql`` : sql`and ${textIn(metricSeries.key, keys)}`} order by job_id`);
    found.push(...rows.map((row) => row.job_id));
  }
  return found;
}
