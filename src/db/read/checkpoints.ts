/** Reads of checkpoints, and the two ways in which metrics choose one. */
import { sql } from 'drizzle-orm';
import type { Goal } from '../../domain/job-spec.ts';
import type { Reader } from '../database.ts';
import { checkpoints, metricPoints, metricSeries } from '../tables/index.ts';
import { uuidIn } from './job-filter.ts';
import { decodeRow, groupedBy, inOrderOf, selectList, type RawRow } from './rows.ts';

export type CheckpointRow = typeof checkpoints.$inferSelect;

/** What "best" means for one job. */
export interface BestCheckpointQuery {
  jobId: string;
  metric: string;
  goal: Goal;
}

/** A place in the history of a job. */
export interface JobStep {
  jobId: string;
  step: number;
}

/** Checkpoints by id, in the order asked for, null where there is none. */
export async function checkpointsById(reader: Reader, ids: readonly string[]): Promise<(CheckpointRow | null)[]> {
  const rows = await reader.select().from(checkpoints).where(uuidIn(checkpoints.id, ids));
  return inOrderOf(ids, rows, (row) => row.id);
}

/** All checkpoints of each job, in step order, those without a step last. */
export async function checkpointsOfJobs(reader: Reader, jobIds: readonly string[]): Promise<CheckpointRow[][]> {
  const rows = await reader.select().from(checkpoints).where(uuidIn(checkpoints.jobId, jobIds))
    .orderBy(checkpoints.jobId, sql`${checkpoints.step} nulls last`, checkpoints.writtenAt, checkpoints.path);
  return groupedBy(jobIds, rows, (row) => row.jobId);
}

/** From which checkpoint each job goes on: the path of its COMPLETE one with the highest step, then the newest; by job. */
export async function checkpointsToResume(reader: Reader, jobIds: readonly string[]): Promise<Map<string, string>> {
  const { rows } = await reader.execute<{ job_id: string; path: string }>(sql`
    select distinct on (job_id) job_id, path from checkpoints
    where job_id = any(${sql.param([...jobIds])}::uuid[]) and state = 'COMPLETE'
    order by job_id, step desc nulls last, written_at desc`);
  return new Map(rows.map((row) => [row.job_id, row.path]));
}

/** The newest COMPLETE checkpoint at or before each step, in the order asked for. */
export async function checkpointsAtSteps(reader: Reader, places: readonly JobStep[]): Promise<(CheckpointRow | null)[]> {
  const result = await reader.execute<RawRow>(sql`
    select wanted.number as wanted, chosen.*
    from unnest(${sql.param(places.map((place) => place.jobId))}::uuid[], ${sql.param(places.map((place) => place.step))}::bigint[])
      with ordinality as wanted(job_id, step, number)
    cross join lateral (
      select ${selectList(checkpoints)} from ${checkpoints}
      where ${checkpoints.jobId} = wanted.job_id and ${checkpoints.state} = 'COMPLETE' and ${checkpoints.step} <= wanted.step
      order by ${checkpoints.step} desc, ${checkpoints.writtenAt} desc limit 1
    ) as chosen`);
  return byWantedNumber(result.rows, places.length);
}

/**
 * The best checkpoint of each job, in the order asked for; null where the job has no such metric or no COMPLETE checkpoint.
 *
 * Best is the COMPLETE checkpoint whose metric value, the last one logged at or before its step, is best; of equal values the
 * earliest step, which lies nearest to where the value was measured. Where no checkpoint has a value, it is the newest one at
 * or before the metric's best step, and where steps are unknown the one called `best`, then the one written last.
 */
export async function bestCheckpoints(reader: Reader, queries: readonly BestCheckpointQuery[]): Promise<(CheckpointRow | null)[]> {
  const isFinite = sql`coalesce(abs(latest.value) < 'Infinity', false)`;
  const result = await reader.execute<RawRow>(sql`
    select distinct on (wanted.number) wanted.number as wanted, ${selectList(checkpoints)}
    from unnest(
      ${sql.param(queries.map((query) => query.jobId))}::uuid[], ${sql.param(queries.map((query) => query.metric))}::text[],
      ${sql.param(queries.map((query) => query.goal))}::text[]
    ) with ordinality as wanted(job_id, metric, goal, number)
    join ${metricSeries} on ${metricSeries.jobId} = wanted.job_id and ${metricSeries.key} = wanted.metric
    join ${checkpoints} on ${checkpoints.jobId} = wanted.job_id and ${checkpoints.state} = 'COMPLETE'
    left join lateral (
      select ${metricPoints.value} as value from ${metricPoints}
      where ${metricPoints.jobId} = wanted.job_id and ${metricPoints.seriesNumber} = ${metricSeries.seriesNumber}
        and ${metricPoints.step} <= ${checkpoints.step}
      order by ${metricPoints.step} desc, ${metricPoints.attemptNumber} desc limit 1
    ) as latest on true
    where ${isFinite} or ${checkpoints.step} is null
      or ${checkpoints.step} <= case wanted.goal when 'MIN' then ${metricSeries.minStep} else ${metricSeries.maxStep} end
    order by wanted.number, ${isFinite} desc,
      case when ${isFinite} then case wanted.goal when 'MIN' then latest.value else -latest.value end end,
      case when ${isFinite} then ${checkpoints.step} else -${checkpoints.step} end nulls last,
      'best' = any(${checkpoints.aliases}) desc, ${checkpoints.writtenAt} desc, ${checkpoints.path}`);
  return byWantedNumber(result.rows, queries.length);
}

function byWantedNumber(rows: RawRow[], count: number): (CheckpointRow | null)[] {
  const byNumber = new Map(rows.map((row) => [Number(row['wanted']), row]));
  return Array.from({ length: count }, (_, index) => {
    const row = byNumber.get(index + 1);
    return row === undefined ? null : decodeRow(checkpoints, row);
  });
}
