/**
 * Reads of metric histories. A series' value at a step is the one that the highest attempt logged there. A long series is
 * reduced inside Postgres, so that memory here is bounded by what was asked for, not by what was logged.
 */
import { and, sql, type SQL } from 'drizzle-orm';
import type { JobFilter } from '../../domain/job-filter.ts';
import type { Reader } from '../database.ts';
import { LEVEL_SHIFT, TOP_LEVEL } from '../metric-bucket-levels.ts';
import { jobs, metricPoints, metricSeries } from '../tables/index.ts';
import { jobFilterCondition, textIn, uuidIn } from './job-filter.ts';
import { decodeRow, groupedBy, selectList, type RawRow } from './rows.ts';

export type SeriesRow = typeof metricSeries.$inferSelect;

/** Points as columns, by growing step. Values may be NaN or infinite. */
export interface PointColumns {
  steps: number[];
  values: number[];
  /** Milliseconds since 1970. */
  times: number[];
}

export interface SeriesPoints extends PointColumns {
  /** True when not all points that were logged are here: Postgres left some out, or the history was rolled up. */
  reduced: boolean;
}

/** Which points are wanted; a closed interval of steps where bounds are given. */
export interface PointQuery {
  jobId: string;
  seriesNumber: number;
  fromStep?: number;
  toStep?: number;
}

/** A metric's value as it stood at a step. */
export interface MetricAtStepRow {
  key: string;
  step: number;
  value: number;
  time: Date;
}

/** The summaries of each job's metrics, by key; all of them when `keys` is null. */
export async function seriesOfJobs(reader: Reader, jobIds: readonly string[], keys: readonly string[] | null): Promise<SeriesRow[][]> {
  const rows = await reader.select().from(metricSeries)
    .where(and(uuidIn(metricSeries.jobId, jobIds), textIn(metricSeries.key, keys ?? undefined)))
    .orderBy(metricSeries.jobId, metricSeries.key);
  return groupedBy(jobIds, rows, (row) => row.jobId);
}

/** Which series of an experiment are wanted. */
export interface SeriesSelection {
  keys: readonly string[];
  filter: JobFilter;
  /** Only of jobs that have come to this attempt; null: of any. */
  attempt: number | null;
  /** Most series of each experiment. */
  limit: number;
}

/** The summaries of the chosen metrics of each experiment's jobs, oldest job first. */
export async function seriesOfExperiments(reader: Reader, experimentIds: readonly string[], selection: SeriesSelection): Promise<SeriesRow[][]> {
  const result = await reader.execute<RawRow>(sql`
    select parent.number, series.* from unnest(${sql.param([...experimentIds])}::uuid[]) with ordinality as parent(id, number)
    cross join lateral (
      select ${selectList(metricSeries)}, ${jobs.createdAt} as job_created_at from ${jobs} join ${metricSeries} on ${metricSeries.jobId} = ${jobs.id}
      where ${and(sql`${jobs.experimentId} = parent.id`, textIn(metricSeries.key, selection.keys), jobFilterCondition(selection.filter),
        selection.attempt === null ? undefined : sql`greatest(${jobs.attemptCount}, 1) >= ${selection.attempt}::int`)}
      order by ${jobs.createdAt}, ${jobs.id}, ${metricSeries.key} limit ${selection.limit}
    ) as series order by parent.number, job_created_at, "jobId", key`);
  const numbers = experimentIds.map((_, index) => index + 1);
  return groupedBy(numbers, result.rows, (row) => Number(row['number'])).map((rows) => rows.map((row) => decodeRow(metricSeries, row)));
}

/**
 * The points of many series in the order asked for. Of a series with more than `maxPoints` come its ends, and the least and the greatest of
 * each of `(maxPoints - 2) / 2` equal stretches of steps, or a non-finite one of a stretch without others. Of a long series they
 * are taken from buckets that may reach over the edge of a stretch, so that a point next to it may be missing; the time does not grow with the length.
 * @param attempt the attempt whose points alone are meant; null: at each step the last one counts. Buckets are of all attempts together, so that all points of one are read.
 */
export async function pointsOfSeries(reader: Reader, queries: readonly PointQuery[], maxPoints: number, attempt: number | null = null): Promise<SeriesPoints[]> {
  const result = await reader.execute<RawRow>(sql`
    with wanted as (
      select wanted.*, ${attempt === null ? sql`bucket_shift, bucketed_below_step` : sql`null::int as bucket_shift, null::bigint as bucketed_below_step`}, rolled_up_level, rolled_up_below_step from unnest(
        ${sql.param(queries.map((query) => query.jobId))}::uuid[], ${sql.param(queries.map((query) => query.seriesNumber))}::integer[],
        ${sql.param(queries.map((query) => query.fromStep ?? null))}::bigint[], ${sql.param(queries.map((query) => query.toStep ?? null))}::bigint[]
      ) with ordinality as wanted(job_id, series_number, from_step, to_step, number)
      join metric_series using (job_id, series_number)
    )
    select wanted.number, history.* from wanted cross join lateral (${historyOf(maxPoints, attempt)}) as history`);
  const byNumber = new Map(result.rows.map((row) => [Number(row['number']), row]));
  return queries.map((_, index) => decodeHistory(byNumber.get(index + 1)));
}

/** The value of each metric at or before each step of a job, in the order asked for. */
export async function metricsAtSteps(
  reader: Reader, places: readonly { jobId: string; step: number }[], keys: readonly string[] | null,
): Promise<MetricAtStepRow[][]> {
  const result = await reader.execute<RawRow>(sql`
    select wanted.number, ${metricSeries.key} as key, latest.* from unnest(
      ${sql.param(places.map((place) => place.jobId))}::uuid[], ${sql.param(places.map((place) => place.step))}::bigint[]
    ) with ordinality as wanted(job_id, step, number)
    join ${metricSeries} on ${and(sql`${metricSeries.jobId} = wanted.job_id`, textIn(metricSeries.key, keys ?? undefined))}
    cross join lateral (
      select ${metricPoints.step} as step, ${metricPoints.value} as value, extract(epoch from ${metricPoints.time})::float8 * 1000 as time
      from ${metricPoints}
      where ${metricPoints.jobId} = wanted.job_id and ${metricPoints.seriesNumber} = ${metricSeries.seriesNumber}
        and ${metricPoints.step} <= wanted.step
      order by ${metricPoints.step} desc, ${metricPoints.attemptNumber} desc limit 1
    ) as latest order by wanted.number, key`);
  const numbers = places.map((_, index) => index + 1);
  return groupedBy(numbers, result.rows, (row) => Number(row['number'])).map((rows) => rows.map((row) => ({
    key: String(row['key']), step: Number(row['step']), value: Number(row['value']), time: new Date(Number(row['time'])),
  })));
}

/** One row for the series of `wanted`: its points as three comma-separated lists, which the driver need not parse one by one. */
function historyOf(maxPoints: number, attempt: number | null): SQL {
  const stretches = Math.max(1, Math.floor((maxPoints - 2) / 2));
  const inSeries = sql`job_id = wanted.job_id and series_number = wanted.series_number`;
  const counts = attempt === null ? inSeries : sql`${inSeries} and attempt_number = ${attempt}::int`;
  const inRange = sql`${counts} and (wanted.from_step is null or step >= wanted.from_step) and (wanted.to_step is null or step <= wanted.to_step)`;
  const time = sql`extract(epoch from time)::float8 * 1000 as time`;
  const edge = (step: SQL): SQL => sql`(select step::float8, value, ${time} from metric_points where ${counts} and step = (select ${step} from extent)
    order by attempt_number desc limit 1)`;
  // Where the points to count are not put in order, a table that is mostly one long series is read from its start to find those of a short one.
  // The primary key yields the rows in the window's order, so nothing is sorted, and nothing is kept when the series is reduced.
  const logged = (steps: SQL): SQL => sql`select step, value, time from (
    select step, value, ${time}, lead(step) over (order by step, attempt_number) as next_step from metric_points where ${counts} and ${steps}
  ) as logged where next_step is distinct from step`;
  return sql`
    with extent as materialized (
      select min(step) as first_step, max(step) as last_step,
        (select count(*) from (select from metric_points where ${inRange} order by step limit ${maxPoints + 1}) as counted) > ${maxPoints} as is_long
      from metric_points where ${inRange}
    ),
    source as materialized (${sourceOf(stretches)}),
    points as not materialized (
      select point[2] as step, point[1] as value, point[3] as time
      from extent cross join source join metric_buckets on ${inSeries} and metric_buckets.level = source.level and bucket >= source.first_bucket and bucket < source.end_bucket
      cross join lateral (values (least), (greatest), (non_finite)) as held(point) where extent.is_long and point is not null
      union all select part.* from extent cross join source
      cross join lateral (${logged(sql`step >= extent.first_step and step < source.first_bucketed_step`)}) as part where extent.is_long
      union all select part.* from extent cross join source
      cross join lateral (${logged(sql`step >= source.unbucketed_step and step <= extent.last_step`)}) as part where extent.is_long
    ),
    stretches as (
      select min(array[value, step, time]) filter (where abs(value) < 'Infinity') as least,
        max(array[value, step, time]) filter (where abs(value) < 'Infinity') as greatest,
        min(array[value, step, time]) filter (where not abs(value) < 'Infinity') as odd
      from extent cross join points
      group by floor((step - extent.first_step)::float8 * ${stretches}::float8 / (extent.last_step - extent.first_step + 1)::float8)
    ),
    kept as (
      select point[2] as step, point[1] as value, point[3] as time
      from stretches cross join lateral (values (coalesce(least, odd)), (greatest)) as candidates(point) where point is not null
      union ${edge(sql`first_step`)} union ${edge(sql`last_step`)}
      union select part.step::float8, part.value, part.time from extent
      cross join lateral (${logged(sql`step >= extent.first_step and step <= extent.last_step`)}) as part where not extent.is_long
    )
    select string_agg(step::bigint::text, ',' order by step) as steps, string_agg(value::text, ',' order by step) as values,
      string_agg(round(time::numeric)::text, ',' order by step) as times, (select is_long or coalesce(first_step < wanted.rolled_up_below_step, false) from extent) as reduced
    from kept`;
}

/**
 * Where to read a long series from: the buckets of the highest level on which there is one for each stretch, of those all that lie inside the
 * range; and the steps before them and beyond them, of which the points are read. Without such a level all points are.
 */
function sourceOf(stretches: number): SQL {
  const shift = sql`(wanted.bucket_shift + ${LEVEL_SHIFT}::int * level)`;
  const endStep = sql`least(wanted.bucketed_below_step, extent.last_step + 1)`;
  const reachesEnd = sql`(wanted.to_step is null or wanted.to_step >= wanted.bucketed_below_step - 1)`;
  return sql`
    select level, first_bucket, end_bucket, coalesce(first_bucket << shift, extent.first_step) as first_bucketed_step,
      case when level is null then extent.first_step when ${reachesEnd} then wanted.bucketed_below_step else end_bucket << shift end as unbucketed_step
    from extent left join lateral (
      select level, ${shift} as shift,
        case when wanted.from_step is null then extent.first_step >> ${shift} else ((extent.first_step - 1) >> ${shift}) + 1 end as first_bucket,
        case when ${reachesEnd} then ((wanted.bucketed_below_step - 1) >> ${shift}) + 1 else ${endStep} >> ${shift} end as end_bucket
      from generate_series(case when extent.first_step < wanted.rolled_up_below_step then wanted.rolled_up_level else 0 end, ${TOP_LEVEL}::int) as level
      where (${endStep} >> ${shift}) - (extent.first_step >> ${shift}) >= ${stretches}
      order by level desc limit 1
    ) as chosen on true`;
}

function decodeHistory(row: RawRow | undefined): SeriesPoints {
  const numbers = (name: string): number[] => {
    const list = row?.[name];
    return typeof list === 'string' ? list.split(',').map(Number) : [];
  };
  return { steps: numbers('steps'), values: numbers('values'), times: numbers('times'), reduced: row?.['reduced'] === true };
}
