/**
 * Metric points and the summaries of their series. A summary counts steps, and tells the last, least and greatest finite
 * value; where attempts logged the same step, the later attempt's value counts. It is exact after every write.
 */
import { sql } from 'drizzle-orm';
import type { Transaction } from '../database.ts';
import { TOP_LEVEL } from '../metric-bucket-levels.ts';
import { numbers, updateBuckets } from './metric-buckets.ts';

/** First key of the two-key advisory lock that makes writers of one job's metrics take turns. */
const METRICS_LOCK_CLASS = 73_055_113;
/** Rows in one statement; more is not faster and needs larger parameters. */
const ROWS_PER_STATEMENT = 20_000;

/** Points of one key, as columns of equal length. NaN and infinities are values. */
export interface SeriesPoints {
  key: string;
  steps: number[];
  values: number[];
  times: Date[];
}

/** What a write covered: the closed interval of its steps, and how many there were. */
export interface WrittenSeries {
  key: string;
  firstStep: number;
  lastStep: number;
  count: number;
}

interface Point {
  step: number;
  value: number;
  timeMs: number;
}

/** A series in the database before the write. */
interface StoredSeries {
  key: string;
  seriesNumber: number;
  /** Of any point, finite or not; null when there is none. */
  greatestStep: number | null;
  pointCount: number;
  bucketShift: number | null;
  bucketedBelowStep: number | null;
}

interface Batch extends StoredSeries {
  /** By step, each once: the last one given wins. */
  points: Point[];
}

/**
 * Writes points of one job; the same points again change nothing. Keys may repeat. Takes a lock per job, so a transaction
 * that writes to several jobs must take them in one order everywhere.
 */
export async function writePoints(
  transaction: Transaction, jobId: string, attemptNumber: number, series: readonly SeriesPoints[],
): Promise<{ series: WrittenSeries[] }> {
  const pointsByKey = collectPoints(series);
  if (pointsByKey.size === 0) return { series: [] };
  await transaction.execute(sql`select pg_advisory_xact_lock(${METRICS_LOCK_CLASS}::int, hashtext(${jobId}))`);
  const stored = await findOrCreateSeries(transaction, jobId, [...pointsByKey.keys()]);
  const batches = stored.map((each): Batch => ({ ...each, points: pointsByKey.get(each.key) ?? [] }));
  await insertPoints(transaction, jobId, attemptNumber, batches);
  await updateBuckets(transaction, jobId, batches.map((batch) => ({
    ...batch, pointCountBound: batch.pointCount + batch.points.length, greatestStep: Math.max(batch.greatestStep ?? -Infinity, batch.points.at(-1)?.step ?? 0),
    steps: batch.points.map(({ step }) => step),
  })));
  const appending = batches.filter((batch) => batch.greatestStep === null || firstStep(batch) > batch.greatestStep);
  const overlapping = batches.filter((batch) => !appending.includes(batch));
  await extendSummaries(transaction, jobId, appending);
  await recomputeSummaries(transaction, jobId, overlapping.map(({ seriesNumber }) => seriesNumber));
  return {
    series: batches.map((batch) => ({
      key: batch.key, firstStep: firstStep(batch), lastStep: batch.points.at(-1)?.step ?? 0, count: batch.points.length,
    })),
  };
}

function firstStep(batch: Batch): number {
  return batch.points[0]?.step ?? 0;
}

function collectPoints(series: readonly SeriesPoints[]): Map<string, Point[]> {
  const byKey = new Map<string, Map<number, Point>>();
  for (const { key, steps, values, times } of series) {
    const points = byKey.get(key) ?? new Map<number, Point>();
    for (const [index, step] of steps.entries()) {
      const [value, time] = [values[index], times[index]];
      if (value === undefined || time === undefined) throw new Error(`the columns of series ${key} differ in length`);
      points.set(step, { step, value, timeMs: time.getTime() });
    }
    if (points.size > 0) byKey.set(key, points);
  }
  return new Map([...byKey].map(([key, points]) => [key, [...points.values()].sort((a, b) => a.step - b.step)]));
}

async function findOrCreateSeries(transaction: Transaction, jobId: string, keys: string[]): Promise<StoredSeries[]> {
  await transaction.execute(sql`
    insert into metric_series (job_id, key, series_number)
    select ${jobId}, wanted.key, coalesce((select max(series_number) from metric_series where job_id = ${jobId}), 0) + row_number() over (order by wanted.position)
    from unnest(${sql.param(keys)}::text[]) with ordinality as wanted(key, position)
    where not exists (select 1 from metric_series known where known.job_id = ${jobId} and known.key = wanted.key)`);
  const { rows } = await transaction.execute<StoredSeriesRow>(sql`
    select series.key, series.series_number, series.point_count, series.bucket_shift, series.bucketed_below_step, greatest.step as greatest_step
    from metric_series series
    left join lateral (
      select max(step) as step from metric_points point where point.job_id = ${jobId} and point.series_number = series.series_number
    ) greatest on true
    where series.job_id = ${jobId} and series.key = any(${sql.param(keys)}::text[])`);
  return rows.map((row) => ({
    key: row.key, seriesNumber: row.series_number, greatestStep: whole(row.greatest_step), pointCount: Number(row.point_count),
    bucketShift: row.bucket_shift, bucketedBelowStep: whole(row.bucketed_below_step),
  }));
}

type StoredSeriesRow = {
  key: string; series_number: number; point_count: string; bucket_shift: number | null; bucketed_below_step: string | null; greatest_step: string | null;
};

function whole(value: string | null): number | null {
  return value === null ? null : Number(value);
}

async function insertPoints(transaction: Transaction, jobId: string, attemptNumber: number, batches: Batch[]): Promise<void> {
  const rows = batches.flatMap((batch) => batch.points.map((point) => ({ seriesNumber: batch.seriesNumber, ...point })));
  for (let start = 0; start < rows.length; start += ROWS_PER_STATEMENT) {
    const part = rows.slice(start, start + ROWS_PER_STATEMENT);
    await transaction.execute(sql`
      insert into metric_points (job_id, series_number, step, attempt_number, value, time)
      select ${jobId}, series_number, step, ${attemptNumber}, value, to_timestamp(time_ms / 1000)
      from unnest(${numbers(part.map((row) => row.seriesNumber))}::int[], ${numbers(part.map((row) => row.step))}::bigint[],
        ${numbers(part.map((row) => row.value))}::float8[], ${numbers(part.map((row) => row.timeMs))}::float8[]) as t(series_number, step, value, time_ms)
      on conflict (job_id, series_number, step, attempt_number) do update set value = excluded.value, time = excluded.time`);
  }
}

/** Where every step is beyond those known, the old summary and the new points say it all. */
async function extendSummaries(transaction: Transaction, jobId: string, batches: Batch[]): Promise<void> {
  if (batches.length === 0) return;
  const rows = batches.map(({ seriesNumber, points }) => {
    const finite = points.filter((point) => Number.isFinite(point.value));
    const last = finite.at(-1);
    // The earliest of equal values, as in recomputeSummaries.
    const least = finite.reduce<Point | undefined>((best, point) => (best === undefined || point.value < best.value ? point : best), undefined);
    const greatest = finite.reduce<Point | undefined>((best, point) => (best === undefined || point.value > best.value ? point : best), undefined);
    return {
      series_number: seriesNumber, count: points.length,
      last_step: last?.step, last_value: last?.value, last_ms: last?.timeMs,
      min_step: least?.step, min_value: least?.value, min_ms: least?.timeMs,
      max_step: greatest?.step, max_value: greatest?.value, max_ms: greatest?.timeMs,
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
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as t(series_number int, count bigint,
      last_step bigint, last_value float8, last_ms float8, min_step bigint, min_value float8, min_ms float8, max_step bigint, max_value float8, max_ms float8)
    where s.job_id = ${jobId} and s.series_number = t.series_number`);
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
