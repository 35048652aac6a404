/** What one attempt alone logged of series, where several attempts of a job may have logged the same steps. */
import { sql } from 'drizzle-orm';
import type { Reader } from '../database.ts';
import type { SeriesRow } from './metrics.ts';
import type { RawRow } from './rows.ts';

/** A series by its place in the database. */
export type SeriesPlace = Pick<SeriesRow, 'jobId' | 'seriesNumber'>;

/** The summary of a series as one attempt alone logged it, or as much of that as a roll-up has left. */
export type AttemptSummary = Pick<SeriesRow,
  'pointCount' | 'lastStep' | 'lastValue' | 'lastTime' | 'minStep' | 'minValue' | 'minTime' | 'maxStep' | 'maxValue' | 'maxTime'>;

/**
 * The summaries in the order asked for; null where the attempt logged nothing. They are not kept, so all points of each series are read, in bounded
 * memory: the time grows with their number.
 */
export async function summariesOfAttempt(reader: Reader, series: readonly SeriesPlace[], attempt: number): Promise<(AttemptSummary | null)[]> {
  const { rows } = await reader.execute<RawRow>(sql`
    select wanted.number, logged.* from unnest(
      ${sql.param(series.map(({ jobId }) => jobId))}::uuid[], ${sql.param(series.map(({ seriesNumber }) => seriesNumber))}::integer[]
    ) with ordinality as wanted(job_id, series_number, number)
    cross join lateral (
      select count(*) as count, max(array[step, value, time]) filter (where is_finite) as last,
        min(array[value, step, time]) filter (where is_finite) as least, min(array[-value, step, time]) filter (where is_finite) as negated_greatest
      from (
        select step::float8, value, date_part('epoch', time) * 1000 as time, abs(value) < 'Infinity' as is_finite from metric_points
        where job_id = wanted.job_id and series_number = wanted.series_number and attempt_number = ${attempt}
      ) as point
    ) as logged where count > 0`);
  const byNumber = new Map(rows.map((row) => [Number(row['number']), summaryOf(row)]));
  return series.map((_, index) => byNumber.get(index + 1) ?? null);
}

function summaryOf(row: RawRow): AttemptSummary {
  const point = (name: string): number[] | null => row[name] as number[] | null;
  const [last, least, greatest] = [point('last'), point('least'), point('negated_greatest')];
  const time = (milliseconds: number | undefined): Date | null => (milliseconds === undefined ? null : new Date(milliseconds));
  return {
    pointCount: Number(row['count']),
    lastStep: last?.[0] ?? null, lastValue: last?.[1] ?? null, lastTime: time(last?.[2]),
    minStep: least?.[1] ?? null, minValue: least?.[0] ?? null, minTime: time(least?.[2]),
    // Zero less itself: a negated zero is no minus zero again.
    maxStep: greatest?.[1] ?? null, maxValue: greatest === null ? null : 0 - greatest[0]!, maxTime: time(greatest?.[2]),
  };
}
