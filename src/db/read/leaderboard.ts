/** Which configurations did best: jobs grouped by configuration, each group ranked by the mean of its jobs' best values. */
import { sql, type SQL } from 'drizzle-orm';
import type { Goal, Json } from '../../domain/job-spec.ts';
import { SQUARES_OVERFLOW_ABOVE, type LeaderboardEntry, type LeaderboardOptions } from '../../domain/leaderboard.ts';
import type { Reader } from '../database.ts';
import { jobs, metricSeries } from '../tables/index.ts';
import type { RawRow } from './rows.ts';

export interface LeaderboardQuery {
  experimentId: string;
  metric: string;
  goal: Goal;
}

/**
 * The statistic as a double. Postgres sums squares of doubles even for a mean and fails when they overflow, as they do for a
 * run that diverged: a group with such a value is computed in exact arithmetic, and ends at the largest double.
 */
function statistic(name: 'avg' | 'stddev_samp', column: 'value' | 'cost'): SQL {
  const usual = sql.raw(`${name}(${column}) filter (where not is_huge)`);
  const exact = sql.raw(`${name}(${column}::numeric) filter (where is_huge)`);
  return sql`coalesce(${usual}, case when ${exact} > 1.797e308 then 1.797e308 when ${exact} < -1.797e308 then -1.797e308 else ${exact} end::float8)`;
}

/** The leaderboard of each experiment, in the order asked for, in one statement. A job's value is its metric's least or greatest finite value. */
export async function leaderboards(
  reader: Reader, queries: readonly LeaderboardQuery[], options: LeaderboardOptions,
): Promise<LeaderboardEntry[][]> {
  const groupValues = (options.groupBy ?? []).map((key) => sql`${jobs.config} #> ${sql.param(key.split('.'))}::text[]`);
  const result = await reader.execute<RawRow>(sql`
    with scored as (
      select wanted.number, wanted.goal, ${jobs.id} as job_id, jsonb_build_array(${sql.join(groupValues, sql`, `)}) as group_values,
        ${options.groupBy === null ? sql`${jobs.id}` : sql`null::uuid`} as own_group,
        case wanted.goal when 'MIN' then ${metricSeries.minValue} else ${metricSeries.maxValue} end as value,
        case wanted.goal when 'MIN' then ${metricSeries.minStep} else ${metricSeries.maxStep} end as step
      from unnest(
        ${sql.param(queries.map((query) => query.experimentId))}::uuid[], ${sql.param(queries.map((query) => query.metric))}::text[],
        ${sql.param(queries.map((query) => query.goal))}::text[]
      ) with ordinality as wanted(experiment_id, metric, goal, number)
      join ${jobs} on ${jobs.experimentId} = wanted.experiment_id and ${jobs.state} = any(${sql.param([...options.states])}::text[])
      join ${metricSeries} on ${metricSeries.jobId} = ${jobs.id} and ${metricSeries.key} = wanted.metric
    ),
    signed as (
      select *, case goal when 'MIN' then value else -value end as cost,
        max(abs(value)) over (partition by number, group_values, own_group) > ${SQUARES_OVERFLOW_ABOVE}::float8 as is_huge
      from scored where value is not null
    ),
    grouped as (
      select number, group_values, count(*) as job_count, ${statistic('avg', 'value')} as mean, ${statistic('stddev_samp', 'value')} as deviation,
        ${statistic('avg', 'cost')} as mean_cost,
        (array_agg(job_id order by cost, job_id))[1] as best_job_id, (array_agg(value order by cost, job_id))[1] as best_value,
        (array_agg(step order by cost, job_id))[1] as best_step
      from signed group by number, group_values, own_group
    ),
    ranked as (select *, row_number() over (partition by number order by mean_cost, best_job_id) as rank from grouped)
    select * from ranked where rank <= ${options.first} order by number, rank`);
  const perQuery = queries.map((): LeaderboardEntry[] => []);
  for (const row of result.rows) perQuery[Number(row['number']) - 1]?.push(decodeEntry(row));
  return perQuery;
}

function decodeEntry(row: RawRow): LeaderboardEntry {
  return {
    rank: Number(row['rank']),
    groupValues: row['group_values'] as Json[],
    jobCount: Number(row['job_count']),
    mean: Number(row['mean']),
    standardDeviation: row['deviation'] === null ? null : Number(row['deviation']),
    bestJobId: String(row['best_job_id']),
    bestValue: Number(row['best_value']),
    bestStep: Number(row['best_step']),
  };
}
