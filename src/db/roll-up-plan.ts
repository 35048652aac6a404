/** What is left of a long series after it was rolled up: shared by who does it and who says beforehand what it would free. */
import { sql, type SQL } from 'drizzle-orm';
import { LEVEL_SHIFT, TOP_LEVEL } from './metric-bucket-levels.ts';

/**
 * For the row `series` of `metric_series`, which must have buckets: the lowest level whose buckets, with two points each, keep to the number of
 * points (or the level that it was rolled up to before), the width of its buckets as a power of two, the first step, and the step before which
 * the whole buckets of that level end.
 */
export function rollUpPlan(pointsPerSeries: SQL): SQL {
  const shiftOf = (level: SQL): SQL => sql`(series.bucket_shift + ${LEVEL_SHIFT}::int * ${level})`;
  const bucketCount = sql`((series.bucketed_below_step - 1) >> ${shiftOf(sql`level`)}) - (first.step >> ${shiftOf(sql`level`)}) + 1`;
  return sql`
    select chosen.level, first.step as first_step, ${shiftOf(sql`chosen.level`)} as shift,
      (series.bucketed_below_step >> ${shiftOf(sql`chosen.level`)}) << ${shiftOf(sql`chosen.level`)} as end_step
    from (select min(step) as step from metric_points where job_id = series.job_id and series_number = series.series_number) as first
    cross join lateral (
      select coalesce(series.rolled_up_level::int, min(level), ${TOP_LEVEL}::int) as level from generate_series(0, ${TOP_LEVEL}::int) as level
      where 2 * (${bucketCount}) <= ${pointsPerSeries}
    ) as chosen`;
}
