/**
 * Metric points and the summaries of their series. A summary counts steps, and tells the last, least and greatest finite
 * value; where attempts logged the same step, the later attempt's value counts. It is exact after every write.
 */
import { sql } from 'drizzle-orm';
import { MAX_SERIES_PER_JOB, OVER_SERIES_LIMIT_REASON } from '../../domain/series-limit.ts';
import type { Transaction } from '../database.ts';
import { TOP_LEVEL } from '../metric-bucket-levels.ts';
import { copyPoints } from './copy-points.ts';
import { addDropped } from './harvest.ts';
import { numbers, updateBuckets, type WrittenSteps } from './metric-buckets.ts';
import { finiteExtremes, fromStep, orderedByStep, type PointColumns } from './point-columns.ts';

/** First key of the two-key advisory lock that makes writers of one job's metrics take turns. */
const METRICS_LOCK_CLASS = 73_055_113;
/** Why a point is not taken, as the job counts it. */
const ROLLED_UP_REASON = 'a point at a step of which only a roll-up is left (metricRetention of the project)';
/** Rows in one statement; more is not faster and needs larger parameters. */
const ROWS_PER_STATEMENT = 20_000;

/** Points of one key. */
export interface SeriesPoints extends PointColumns {
  key: string;
}

/** What a write covered: the closed interval of its steps, and how many there were. */
export interface WrittenSeries {
  key: string;
  firstStep: number;
  lastStep: number;
  count: number;
}

/** What came of the points of one job. */
export interface WrittenPoints {
  series: WrittenSeries[];
  /** Points that were not taken, because their series was rolled up beyond their steps; counted among what the job dropped, too. */
  refusedCount: number;
  /** Points that were not taken, because they are of new series and the job has as many as it may; such series are counted among what the job dropped, too. */
  overLimitCount: number;
}

/** Points of one attempt of a job. Keys may repeat. */
export interface JobPoints {
  jobId: string;
  attemptNumber: number;
  series: readonly SeriesPoints[];
}

/** A series in the database before the write. */
interface StoredSeries {
  jobId: string;
  key: string;
  seriesNumber: number;
  /** Of any point, finite or not; null when there is none. */
  greatestStep: number | null;
  pointCount: number;
  bucketShift: number | null;
  bucketedBelowStep: number | null;
  /** Points at steps below are not taken any more; null: all are. */
  rolledUpBelowStep: number | null;
  /** The job counts as rolled up. */
  jobIsRolledUp: boolean;
}

interface Batch extends StoredSeries {
  attemptNumber: number;
  /** By step, each once: the last one given wins. */
  points: PointColumns;
}

/**
 * Writes points of jobs, each job at most once; the same points again change nothing. Takes a few statements however many jobs there are, more only
 * for a series with late points and for one that a chart is to be drawn of quickly. Answers what was written, in the order of the jobs.
 */
export async function writePoints(transaction: Transaction, jobs: readonly JobPoints[]): Promise<WrittenPoints[]> {
  const pointsOf = new Map(jobs.map((job) => [job.jobId, { ...job, byKey: collectPoints(job.series) }]));
  if (pointsOf.size < jobs.length) throw new Error('points of a job are to be written twice at once');
  const keys = [...pointsOf.values()].flatMap(({ jobId, byKey }) => [...byKey.keys()].map((key) => ({ jobId, key })));
  if (keys.length === 0) return jobs.map(() => ({ series: [], refusedCount: 0, overLimitCount: 0 }));
  await lockMetrics(transaction, [...new Set(keys.map(({ jobId }) => jobId))].sort());
  const stored = await findOrCreateSeries(transaction, keys);
  const overLimit = await dropSeriesOverLimit(transaction, pointsOf, keys, stored);
  const refused = new Map<string, number>();
  const batches = stored.flatMap((each): Batch[] => {
    const { attemptNumber, byKey } = pointsOf.get(each.jobId)!;
    const given = byKey.get(each.key)!;
    const points = each.rolledUpBelowStep === null ? given : fromStep(given, each.rolledUpBelowStep);
    const refusedCount = given.steps.length - points.steps.length;
    if (refusedCount > 0) refused.set(each.jobId, (refused.get(each.jobId) ?? 0) + refusedCount);
    return points.steps.length === 0 ? [] : [{ ...each, attemptNumber, points }];
  });
  await addDropped(transaction, [...refused].map(([jobId, count]) => ({ jobId, reason: ROLLED_UP_REASON, count })));
  const isAppending = (batch: Batch): boolean => batch.greatestStep === null || firstStep(batch) > batch.greatestStep;
  const appending = batches.filter(isAppending);
  await copyPoints(transaction, appending);
  await upsertPoints(transaction, batches.filter((batch) => !isAppending(batch)));
  await extendSummaries(transaction, appending);
  const batchesOf = new Map([...pointsOf.keys()].map((jobId): [string, Batch[]] => [jobId, []]));
  for (const batch of batches) batchesOf.get(batch.jobId)?.push(batch);
  for (const [jobId, own] of batchesOf) {
    await updateBuckets(transaction, jobId, own.map(toWrittenSteps));
    await recomputeSummaries(transaction, jobId, own.filter((batch) => !isAppending(batch)).map(({ seriesNumber }) => seriesNumber));
  }
  await rollUpAgain(transaction, batches.filter(({ jobIsRolledUp }) => jobIsRolledUp).map(({ jobId }) => jobId));
  return jobs.map(({ jobId }) => ({
    series: (batchesOf.get(jobId) ?? []).map((batch) => ({ key: batch.key, firstStep: firstStep(batch), lastStep: lastStep(batch), count: batch.points.steps.length })),
    refusedCount: refused.get(jobId) ?? 0,
    overLimitCount: overLimit.get(jobId) ?? 0,
  }));
}

/** Counts the series that were not made on their jobs. Answers how many points they have, of each job. */
async function dropSeriesOverLimit(
  transaction: Transaction, pointsOf: ReadonlyMap<string, { byKey: Map<string, PointColumns> }>, keys: { jobId: string; key: string }[], stored: StoredSeries[],
): Promise<Map<string, number>> {
  const pointCounts = new Map<string, number>();
  if (stored.length === keys.length) return pointCounts;
  const storedKeys = new Set(stored.map(({ jobId, key }) => `${jobId} ${key}`));
  const seriesCounts = new Map<string, number>();
  for (const { jobId, key } of keys) {
    if (storedKeys.has(`${jobId} ${key}`)) continue;
    seriesCounts.set(jobId, (seriesCounts.get(jobId) ?? 0) + 1);
    pointCounts.set(jobId, (pointCounts.get(jobId) ?? 0) + (pointsOf.get(jobId)?.byKey.get(key)?.steps.length ?? 0));
  }
  await addDropped(transaction, [...seriesCounts].map(([jobId, count]) => ({ jobId, reason: OVER_SERIES_LIMIT_REASON, count })));
  return pointCounts;
}

function firstStep(batch: Batch): number {
  return batch.points.steps[0] ?? 0;
}

function lastStep(batch: Batch): number {
  return batch.points.steps.at(-1) ?? 0;
}

function toWrittenSteps(batch: Batch): WrittenSteps {
  return {
    ...batch, pointCountBound: batch.pointCount + batch.points.steps.length, greatestStep: Math.max(batch.greatestStep ?? -Infinity, lastStep(batch)),
    steps: batch.points.steps,
  };
}

/** Makes whoever writes metrics of the jobs take turns. Ids in one order everywhere, so that two do not wait for each other. */
export async function lockMetrics(transaction: Transaction, jobIds: string[]): Promise<void> {
  await transaction.execute(sql`select pg_advisory_xact_lock(${METRICS_LOCK_CLASS}::int, hashtext(job_id)) from unnest(${sql.param(jobIds)}::text[]) as job_id`);
}

function collectPoints(series: readonly SeriesPoints[]): Map<string, PointColumns> {
  const byKey = new Map<string, PointColumns[]>();
  for (const { key, ...points } of series) {
    if (points.steps.length === 0) continue;
    const parts = byKey.get(key);
    if (parts === undefined) byKey.set(key, [points]);
    else parts.push(points);
  }
  return new Map([...byKey].map(([key, parts]) => [key, orderedByStep(parts)]));
}

/** Answers all of them but the new ones that their job has no room for. Series are never deleted, so the greatest number is how many a job has. */
async function findOrCreateSeries(transaction: Transaction, keys: { jobId: string; key: string }[]): Promise<StoredSeries[]> {
  const wanted = sql`unnest(${sql.param(keys.map(({ jobId }) => jobId))}::uuid[], ${sql.param(keys.map(({ key }) => key))}::text[])`;
  await transaction.execute(sql`
    with missing as (
      select wanted.job_id, wanted.key, row_number() over (partition by wanted.job_id order by wanted.position) as number
      from ${wanted} with ordinality as wanted(job_id, key, position)
      where not exists (select 1 from metric_series known where known.job_id = wanted.job_id and known.key = wanted.key)),
    counted as materialized (select job_id, (select coalesce(max(series_number), 0) from metric_series where job_id = job.job_id) as count from (select distinct job_id from missing) as job)
    insert into metric_series (job_id, key, series_number)
    select job_id, key, count + number from missing join counted using (job_id) where count + number <= ${MAX_SERIES_PER_JOB}`);
  const { rows } = await transaction.execute<StoredSeriesRow>(sql`
    select series.job_id, series.key, series.series_number, series.point_count, series.bucket_shift, series.bucketed_below_step, series.rolled_up_below_step, greatest.step as greatest_step,
      (select rolled_up_at is not null from jobs where id = series.job_id) as job_is_rolled_up
    from ${wanted} as wanted(job_id, key) join metric_series series using (job_id, key)
    cross join lateral (
      select max(step) as step from metric_points point where point.job_id = wanted.job_id and point.series_number = series.series_number
    ) as greatest`);
  return rows.map((row) => ({
    jobId: row.job_id, key: row.key, seriesNumber: row.series_number, greatestStep: whole(row.greatest_step), pointCount: Number(row.point_count),
    bucketShift: row.bucket_shift, bucketedBelowStep: whole(row.bucketed_below_step), rolledUpBelowStep: whole(row.rolled_up_below_step),
    jobIsRolledUp: row.job_is_rolled_up,
  }));
}

type StoredSeriesRow = {
  job_id: string; key: string; series_number: number; point_count: string; bucket_shift: number | null; bucketed_below_step: string | null; rolled_up_below_step: string | null;
  greatest_step: string | null; job_is_rolled_up: boolean;
};

function whole(value: string | null): number | null {
  return value === null ? null : Number(value);
}

/** For points of which some may be there already: what is given now wins, and what is there just so is not written again, which costs three times as much. */
async function upsertPoints(transaction: Transaction, batches: Batch[]): Promise<void> {
  const jobIds = [...new Set(batches.map(({ jobId }) => jobId))];
  const numberOfJob = new Map(jobIds.map((jobId, index) => [jobId, index + 1]));
  const rows = batches.flatMap(({ jobId, seriesNumber, attemptNumber, points: { steps, values, times } }) => {
    const about = { jobNumber: numberOfJob.get(jobId)!, seriesNumber, attemptNumber };
    return steps.map((step, index) => ({ ...about, step, value: values[index]!, time: times[index]! }));
  });
  for (let start = 0; start < rows.length; start += ROWS_PER_STATEMENT) {
    const part = rows.slice(start, start + ROWS_PER_STATEMENT);
    await transaction.execute(sql`
      insert into metric_points (job_id, series_number, step, attempt_number, value, time)
      select (${sql.param(jobIds)}::uuid[])[job_number], series_number, step, attempt_number, value, to_timestamp(time_ms / 1000)
      from unnest(${numbers(part.map((row) => row.jobNumber))}::int[], ${numbers(part.map((row) => row.seriesNumber))}::int[], ${numbers(part.map((row) => row.step))}::bigint[],
        ${numbers(part.map((row) => row.attemptNumber))}::int[], ${numbers(part.map((row) => row.value))}::float8[], ${numbers(part.map((row) => row.time))}::float8[])
        as t(job_number, series_number, step, attempt_number, value, time_ms)
      on conflict (job_id, series_number, step, attempt_number) do update set value = excluded.value, time = excluded.time
        where (metric_points.value, metric_points.time) is distinct from (excluded.value, excluded.time)`);
  }
}

/** What came after the roll-up of a job is rolled up later, too. */
async function rollUpAgain(transaction: Transaction, jobIds: string[]): Promise<void> {
  if (jobIds.length === 0) return;
  await transaction.execute(sql`update jobs set rolled_up_at = null where id = any(${sql.param([...new Set(jobIds)])}::uuid[])`);
}

/** Where every step is beyond those known, the old summary and the new points say it all. */
async function extendSummaries(transaction: Transaction, batches: Batch[]): Promise<void> {
  if (batches.length === 0) return;
  const rows = batches.map(({ jobId, seriesNumber, points }) => {
    const extremes = finiteExtremes(points);
    const at = (index: number | undefined) => (index === undefined ? {} : { step: points.steps[index], value: points.values[index], ms: points.times[index] });
    const [last, least, greatest] = [at(extremes?.last), at(extremes?.least), at(extremes?.greatest)];
    return {
      job_id: jobId, series_number: seriesNumber, count: points.steps.length,
      last_step: last.step, last_value: last.value, last_ms: last.ms,
      min_step: least.step, min_value: least.value, min_ms: least.ms,
      max_step: greatest.step, max_value: greatest.value, max_ms: greatest.ms,
    };
  });
  await transaction.execute(sql`
    update metric_series s set point_count = point_count + t.count,
      last_step = coalesce(t.last_step, s.last_step), last_value = coalesce(t.last_value, s.last_value),
      last_time = coalesce(to_timestamp(t.last_ms / 1000), s.last_time),
      min_step = case when t.min_value < s.min_value or s.min_value is null then t.min_step else s.min_step end,
      min_time = case when t.min_value < s.min_value or s.min_value is null then to_timestamp(t.min_ms / 1000) else s.min_time end,
      min_value = least(t.min_value, s.min_value),
      max_step = case when t.max_value > s.max_value or s.max_value is null then t.max_step else s.max_step end,
      max_time = case when t.max_value > s.max_value or s.max_value is null then to_timestamp(t.max_ms / 1000) else s.max_time end,
      max_value = greatest(t.max_value, s.max_value)
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as t(job_id uuid, series_number int, count bigint,
      last_step bigint, last_value float8, last_ms float8, min_step bigint, min_value float8, min_ms float8, max_step bigint, max_value float8, max_ms float8)
    where s.job_id = t.job_id and s.series_number = t.series_number`);
}

/** Of what is in buckets the top ones tell; the points beyond them are read. A series without buckets is short, and is read whole. */
async function recomputeSummaries(transaction: Transaction, jobId: string, seriesNumbers: number[]): Promise<void> {
  if (seriesNumbers.length === 0) return;
  await transaction.execute(sql`
    with overlapping as (
      select series_number, bucketed_below_step from metric_series where job_id = ${jobId} and series_number = any(${numbers(seriesNumbers)}::int[])),
    beyond as materialized (
      select distinct on (series_number, step) overlapping.series_number, step, value, extract(epoch from time)::float8 * 1000 as ms
      from overlapping join metric_points point on point.job_id = ${jobId} and point.series_number = overlapping.series_number
        and point.step >= coalesce(bucketed_below_step, ${-Number.MAX_SAFE_INTEGER}::bigint)
      order by series_number, step, attempt_number desc),
    parts as (
      select series_number, 1 as count, case when abs(value) < 'Infinity' then array[value, step, ms] end as least,
        case when abs(value) < 'Infinity' then array[-value, step, ms] end as negated_greatest from beyond
      union all select bucket.series_number, point_count, least, case when greatest is not null then array[-greatest[1], greatest[2], greatest[3]] end
      from overlapping join metric_buckets bucket on bucket.job_id = ${jobId} and bucket.series_number = overlapping.series_number and level = ${TOP_LEVEL}),
    whole as (select series_number, sum(count) as count, min(least) as least, min(negated_greatest) as negated_greatest from parts group by series_number)
    update metric_series s set point_count = whole.count,
      last_step = last.step, last_value = last.value, last_time = last.time,
      min_step = least[2], min_value = least[1], min_time = to_timestamp(least[3] / 1000),
      max_step = negated_greatest[2], max_value = -negated_greatest[1], max_time = to_timestamp(negated_greatest[3] / 1000)
    from whole left join lateral (
      select step, value, time from (
        select step, value, time, lag(step) over (order by step desc, attempt_number desc) as later_step from metric_points
        where job_id = ${jobId} and metric_points.series_number = whole.series_number
      ) as logged where later_step is distinct from step and abs(value) < 'Infinity' order by step desc limit 1
    ) as last on true
    where s.job_id = ${jobId} and s.series_number = whole.series_number`);
}
