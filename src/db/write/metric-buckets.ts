/**
 * Keeps the buckets of long series. They trail the newest points by up to some 64 buckets, so that a run that logs point by point
 * writes each bucket once; points that come late, or again from a later attempt, have the buckets that they fall into made anew.
 */
import { sql, type SQL } from 'drizzle-orm';
import type { Transaction } from '../database.ts';
import { BUCKET_LEVELS, LEVEL_SHIFT } from '../metric-bucket-levels.ts';

/** Below this many points a chart reads the points themselves. */
const MIN_POINTS = 4096;
/** What the width of a bucket of level 0 aims at. */
const POINTS_PER_BUCKET = 16;
/** New buckets are made this many at a time. */
const MIN_NEW_BUCKETS = 64;

/** What is known of a series to which points were just written. */
export interface WrittenSteps {
  seriesNumber: number;
  /** Null while the series has no buckets. */
  bucketShift: number | null;
  bucketedBelowStep: number | null;
  /** The most points that it may have now. */
  pointCountBound: number;
  greatestStep: number;
  /** Ascending: the steps that were written. */
  steps: number[];
}

interface Bucketed extends WrittenSteps {
  bucketShift: number;
  bucketedBelowStep: number;
}

/** Buckets of level 0 from `first` to before `end`. */
interface BucketRange {
  seriesNumber: number;
  bucketShift: number;
  first: number;
  end: number;
}

/** Brings the buckets of the series up to date with points that are already written. */
export async function updateBuckets(transaction: Transaction, jobId: string, written: WrittenSteps[]): Promise<void> {
  const bucketed = [...written.filter(isBucketed), ...await beginBuckets(transaction, jobId, written)];
  const added = bucketed.flatMap((series) => newBuckets(series));
  const ranges = [...bucketed.flatMap((series) => touchedBuckets(series)), ...added];
  if (ranges.length === 0) return;
  await fillLowestLevel(transaction, jobId, ranges);
  for (let level = 1; level < BUCKET_LEVELS; level += 1) await fillLevel(transaction, jobId, level, ranges);
  if (added.length === 0) return;
  await transaction.execute(sql`
    update metric_series set bucketed_below_step = made.end_bucket << made.shift
    from ${rangesTable(added)} where job_id = ${jobId} and metric_series.series_number = made.series_number`);
}

function isBucketed(series: WrittenSteps): series is Bucketed {
  return series.bucketShift !== null;
}

/** Settles on a width of buckets for series that have become long, by how densely their steps lie. */
async function beginBuckets(transaction: Transaction, jobId: string, written: WrittenSteps[]): Promise<Bucketed[]> {
  const grown = written.filter((series) => series.bucketShift === null && series.pointCountBound >= MIN_POINTS);
  if (grown.length === 0) return [];
  const { rows } = await transaction.execute<{ series_number: number; bucket_shift: number; bucketed_below_step: string }>(sql`
    update metric_series set bucket_shift = width.shift, bucketed_below_step = (width.first_step >> width.shift) << width.shift
    from unnest(${numbers(grown.map(({ seriesNumber }) => seriesNumber))}::int[]) as grown(series_number)
    cross join lateral (
      select min(step) as first_step, ceil(log(2, greatest(1, ${POINTS_PER_BUCKET} * (max(step) - min(step) + 1)::numeric / count(distinct step))))::int as shift,
        count(distinct step) as point_count
      from metric_points where job_id = ${jobId} and series_number = grown.series_number) as width
    where job_id = ${jobId} and metric_series.series_number = grown.series_number and width.point_count >= ${MIN_POINTS}
    returning metric_series.series_number, bucket_shift, bucketed_below_step`);
  const begun = new Map(rows.map((row) => [row.series_number, { bucketShift: row.bucket_shift, bucketedBelowStep: Number(row.bucketed_below_step) }]));
  return grown.flatMap((series) => {
    const width = begun.get(series.seriesNumber);
    return width === undefined ? [] : [{ ...series, ...width }];
  });
}

/** The buckets that are complete and not made yet, once they are many. That of the greatest step is still open. */
function newBuckets(series: Bucketed): BucketRange[] {
  const { seriesNumber, bucketShift, bucketedBelowStep, greatestStep } = series;
  const [first, end] = [bucketOf(bucketedBelowStep, bucketShift), bucketOf(greatestStep, bucketShift)];
  return end - first < MIN_NEW_BUCKETS ? [] : [{ seriesNumber, bucketShift, first, end }];
}

/** The buckets already made into which a written step falls, neighbours joined. */
function touchedBuckets({ seriesNumber, bucketShift, bucketedBelowStep, steps }: Bucketed): BucketRange[] {
  const ranges: BucketRange[] = [];
  for (const step of steps) {
    if (step >= bucketedBelowStep) break;
    const bucket = bucketOf(step, bucketShift);
    const last = ranges.at(-1);
    if (last !== undefined && bucket <= last.end) last.end = bucket + 1;
    else ranges.push({ seriesNumber, bucketShift, first: bucket, end: bucket + 1 });
  }
  return ranges;
}

function bucketOf(step: number, shift: number): number {
  return Math.floor(step / 2 ** shift);
}

async function fillLowestLevel(transaction: Transaction, jobId: string, ranges: BucketRange[]): Promise<void> {
  await replaceBuckets(transaction, jobId, 0, sql`
    select series_number, bucket, count(*) as point_count, count(*) filter (where is_finite) as finite_count, sum(value) filter (where is_finite) as value_sum,
      min(array[value, step, time]) filter (where is_finite) as least, min(array[-value, step, time]) filter (where is_finite) as negated_greatest,
      min(array[value, step, time]) filter (where not is_finite) as non_finite
    from (
      select made.series_number, point.step >> made.shift as bucket, point.step::float8, point.value, point.time, abs(point.value) < 'Infinity' as is_finite
      from ${rangesTable(ranges)} cross join lateral (
        select step, value, date_part('epoch', time) * 1000 as time, lead(step) over (order by step, attempt_number) as next_step from metric_points
        where job_id = ${jobId} and metric_points.series_number = made.series_number
          and step >= made.first_bucket << made.shift and step < made.end_bucket << made.shift
      ) as point where point.next_step is distinct from point.step
    ) as effective group by series_number, bucket`);
}

/** Each bucket above the ranges is made from all of those below it. Only those that exist are looked at: steps may jump by any number. */
async function fillLevel(transaction: Transaction, jobId: string, level: number, ranges: BucketRange[]): Promise<void> {
  const shiftBelow = (level - 1) * LEVEL_SHIFT;
  await replaceBuckets(transaction, jobId, level, sql`
    select parent.series_number, parent.bucket, below.* from (
      select distinct made.series_number, changed.bucket >> ${LEVEL_SHIFT}::int as bucket from ${rangesTable(ranges)}
      join metric_buckets changed on changed.job_id = ${jobId} and changed.series_number = made.series_number and changed.level = ${level - 1}
        and changed.bucket >= made.first_bucket >> ${shiftBelow}::int and changed.bucket <= (made.end_bucket - 1) >> ${shiftBelow}::int
    ) as parent
    cross join lateral (
      select sum(point_count) as point_count, sum(finite_count) as finite_count, sum(value_sum) as value_sum, min(least) as least,
        min(array[-greatest[1], greatest[2], greatest[3]]) filter (where greatest is not null) as negated_greatest, min(non_finite) as non_finite
      from metric_buckets child where child.job_id = ${jobId} and child.series_number = parent.series_number and child.level = ${level - 1}
        and child.bucket >= parent.bucket << ${LEVEL_SHIFT}::int and child.bucket < (parent.bucket + 1) << ${LEVEL_SHIFT}::int
    ) as below where below.point_count is not null`);
}

/** The first of the points with the greatest value is the least once values are negated: arrays are compared item by item. */
async function replaceBuckets(transaction: Transaction, jobId: string, level: number, made: SQL): Promise<void> {
  await transaction.execute(sql`
    insert into metric_buckets (job_id, series_number, level, bucket, point_count, finite_count, value_sum, least, greatest, non_finite)
    select ${jobId}, series_number, ${level}, bucket, point_count, finite_count, value_sum, least,
      case when negated_greatest is not null then array[-negated_greatest[1], negated_greatest[2], negated_greatest[3]] end, non_finite
    from (${made}) as made
    on conflict (job_id, series_number, level, bucket) do update set point_count = excluded.point_count, finite_count = excluded.finite_count,
      value_sum = excluded.value_sum, least = excluded.least, greatest = excluded.greatest, non_finite = excluded.non_finite`);
}

function rangesTable(ranges: BucketRange[]): SQL {
  return sql`unnest(${numbers(ranges.map(({ seriesNumber }) => seriesNumber))}::int[], ${numbers(ranges.map(({ bucketShift }) => bucketShift))}::int[],
    ${numbers(ranges.map(({ first }) => first))}::bigint[], ${numbers(ranges.map(({ end }) => end))}::bigint[]) as made(series_number, shift, first_bucket, end_bucket)`;
}

/** An array as a literal: the driver would quote each number of a long list for itself. */
export function numbers(values: readonly number[]): SQL {
  return sql`${`{${values.join()}}`}`;
}
