/**
 * Which checkpoint to load, by a metric. A checkpoint's value is the one that the job gave with it, else the last one logged at or before its
 * step. Only checkpoints that are COMPLETE or ARCHIVED count: the others cannot be loaded, now or after they were unpacked. The best stays the best
 * when it is archived; whoever asks sees its state, and is never given the second best in its place.
 */
import { sql, type SQL } from 'drizzle-orm';
import type { Goal } from '../../domain/job-spec.ts';
import { bestCandidates, needsOfCandidates, type Candidate } from '../../domain/best-candidates.ts';
import type { Reader } from '../database.ts';
import { checkpoints, jobs, metricPoints, metricSeries } from '../tables/index.ts';
import type { JobSources } from './job-tables.ts';
import { byWantedNumber, existsWhole, type CheckpointRow } from './checkpoints.ts';
import { selectList, type RawRow } from './rows.ts';

/** What "best" means for one job. */
export interface BestCheckpointQuery {
  jobId: string;
  metric: string;
  goal: Goal;
}

/** Whose jobs are meant. */
export interface ParentOfCheckpoints {
  parent: 'EXPERIMENT' | 'SWEEP';
  id: string;
}

/** What "best" means for many jobs. */
export interface BestAmongQuery extends ParentOfCheckpoints {
  metric: string;
  goal: Goal;
}

/** Jobs looked into at once; each further look takes so many times more. */
const FIRST_LOOK_JOBS = 64;
const LOOK_GROWTH = 4;

/**
 * The best checkpoint of each job, in the order asked for; null where the job has no such metric or no checkpoint that is whole.
 *
 * Of equal values the earliest step counts, which lies nearest to where the value was measured. Where no checkpoint has a value, it is the
 * newest one at or before the metric's best step, and where steps are unknown the one called `best`, then the one written last.
 */
export async function bestCheckpoints(reader: Reader, queries: readonly BestCheckpointQuery[]): Promise<(CheckpointRow | null)[]> {
  return byWantedNumber((await bestRows(reader, queries)), queries.length);
}

/**
 * The best checkpoint of all jobs of each experiment or sweep, in the order asked for. No checkpoint is better than the best value of its
 * job: so jobs are looked into in the order of those, until the next cannot be better than what was found.
 */
export async function bestCheckpointsAmong(sources: JobSources, queries: readonly BestAmongQuery[]): Promise<(CheckpointRow | null)[]> {
  const answers: (CheckpointRow | null)[] = [];
  for (const query of queries) answers.push(await bestAmong(sources, query));
  return answers;
}

async function bestAmong({ database, tables }: JobSources, query: BestAmongQuery): Promise<CheckpointRow | null> {
  let best: { cost: number; row: CheckpointRow } | null = null;
  let offset = 0;
  for (let count = FIRST_LOOK_JOBS; ; count *= LOOK_GROWTH) {
    const inTable = query.parent === 'EXPERIMENT'
      ? await tables.readLarge(query.id, needsOfCandidates(query), (table) => bestCandidates(table, query, offset, count + 1)) : null;
    const candidates = inTable ?? await candidatesOf(database, query, offset, count + 1);
    const looked = candidates.slice(0, count);
    const rows = await bestRows(database, looked.map(({ jobId }) => ({ jobId, metric: query.metric, goal: query.goal })));
    const found = byWantedNumber(rows, looked.length);
    for (const row of rows) {
      const cost = row['cost'] === null ? Infinity : Number(row['cost']);
      if (best === null || cost < best.cost) best = { cost, row: found[Number(row['wanted']) - 1]! };
    }
    const next = candidates[count];
    if (next === undefined || (best !== null && best.cost <= next.cost)) return best?.row ?? null;
    offset += count;
  }
}

/** Jobs that have the metric and a checkpoint that is whole, by the best value that any checkpoint of theirs could have. */
async function candidatesOf(reader: Reader, { parent, id, metric, goal }: BestAmongQuery, offset: number, count: number): Promise<Candidate[]> {
  const isTheirs = parent === 'EXPERIMENT' ? sql`${jobs.experimentId} = ${id}` : sql`${jobs.sweepId} = ${id}`;
  const seriesCost = goal === 'MIN' ? sql`${metricSeries.minValue}` : sql`-${metricSeries.maxValue}`;
  const given = givenValue(sql`${metric}::text`);
  const { rows } = await reader.execute<{ job_id: string; cost: number }>(sql`
    select job_id, min(cost) as cost from (
      select ${jobs.id} as job_id, ${seriesCost} as cost from ${jobs}
      join ${metricSeries} on ${metricSeries.jobId} = ${jobs.id} and ${metricSeries.key} = ${metric}
      where ${isTheirs} and ${metricSeries.minValue} is not null
        and exists (select 1 from ${checkpoints} where ${checkpoints.jobId} = ${jobs.id} and ${existsWhole})
      union all
      select ${jobs.id}, ${goal === 'MIN' ? given : sql`-${given}`} from ${jobs}
      join ${checkpoints} on ${checkpoints.jobId} = ${jobs.id} and ${existsWhole} and ${checkpoints.loggedMetrics} is not null
      where ${isTheirs} and ${given} is not null
    ) as candidates group by job_id order by cost, job_id limit ${count} offset ${offset}`);
  return rows.map((row) => ({ jobId: row.job_id, cost: row.cost }));
}

function givenValue(metric: SQL): SQL {
  return sql`(${checkpoints.loggedMetrics} ->> ${metric})::float8`;
}

/** The best checkpoint of each job that has one, with `wanted`, the number of the query, and `cost`, less is better, null without a value. */
async function bestRows(reader: Reader, queries: readonly BestCheckpointQuery[]): Promise<RawRow[]> {
  if (queries.length === 0) return [];
  const value = sql`coalesce(${givenValue(sql`wanted.metric`)}, latest.value)`;
  const isFinite = sql`coalesce(abs(${value}) < 'Infinity', false)`;
  const cost = sql`case when ${isFinite} then case wanted.goal when 'MIN' then ${value} else -${value} end end`;
  const result = await reader.execute<RawRow>(sql`
    select distinct on (wanted.number) wanted.number as wanted, ${cost} as cost, ${selectList(checkpoints)}
    from unnest(
      ${sql.param(queries.map((query) => query.jobId))}::uuid[], ${sql.param(queries.map((query) => query.metric))}::text[],
      ${sql.param(queries.map((query) => query.goal))}::text[]
    ) with ordinality as wanted(job_id, metric, goal, number)
    join ${checkpoints} on ${checkpoints.jobId} = wanted.job_id and ${existsWhole}
    left join ${metricSeries} on ${metricSeries.jobId} = wanted.job_id and ${metricSeries.key} = wanted.metric
    left join lateral (
      select ${metricPoints.value} as value from ${metricPoints}
      where ${metricPoints.jobId} = wanted.job_id and ${metricPoints.seriesNumber} = ${metricSeries.seriesNumber}
        and ${metricPoints.step} <= ${checkpoints.step}
      order by ${metricPoints.step} desc, ${metricPoints.attemptNumber} desc limit 1
    ) as latest on true
    where ${isFinite} or (${metricSeries.key} is not null and (${checkpoints.step} is null
      or ${checkpoints.step} <= case wanted.goal when 'MIN' then ${metricSeries.minStep} else ${metricSeries.maxStep} end))
    order by wanted.number, ${isFinite} desc, ${cost},
      case when ${isFinite} then ${checkpoints.step} else -${checkpoints.step} end nulls last,
      ${checkpoints.state} desc, 'best' = any(${checkpoints.aliases}) desc, ${checkpoints.writtenAt} desc, ${checkpoints.path}`);
  return result.rows;
}
