/** Which names of metrics and configuration values jobs have, read where somebody may have asked for one that is not there. */
import { notInArray, sql } from 'drizzle-orm';
import type { JsonObject } from '../../domain/job-spec.ts';
import { TERMINAL_JOB_STATES } from '../../domain/states.ts';
import type { Reader } from '../database.ts';
import { checkpoints, experiments, jobs, metricSeries } from '../tables/index.ts';
import { configValue, uuidIn } from './job-filter.ts';

/** Names of the metrics that jobs of the experiments logged or gave with a checkpoint, sorted. */
export async function metricKeysOf(reader: Reader, experimentIds: readonly string[]): Promise<string[]> {
  const { rows } = await reader.execute<{ key: string }>(sql`
    select ${metricSeries.key} as key from ${metricSeries} join ${jobs} on ${jobs.id} = ${metricSeries.jobId} where ${uuidIn(jobs.experimentId, experimentIds)}
    union
    select jsonb_object_keys(${checkpoints.loggedMetrics}) from ${checkpoints} join ${jobs} on ${jobs.id} = ${checkpoints.jobId}
    where ${checkpoints.loggedMetrics} is not null and ${uuidIn(jobs.experimentId, experimentIds)}
    order by key`);
  return rows.map((row) => row.key);
}

/**
 * Which of the metrics no job of the experiments has, and none can be expected to log any more: none is an objective, and a job with metrics
 * has completed, or no job is left that could log anything. So a metric that is logged late in a run is not called missing while the first jobs run.
 */
export async function missingMetrics(reader: Reader, experimentIds: readonly string[], keys: readonly string[]): Promise<string[]> {
  const theirs = uuidIn(jobs.experimentId, experimentIds);
  const { rows } = await reader.execute<{ key: string }>(sql`
    select wanted.key from unnest(${sql.param([...new Set(keys)])}::text[]) with ordinality as wanted(key, number)
    where not exists (select from ${metricSeries} join ${jobs} on ${jobs.id} = ${metricSeries.jobId} where ${metricSeries.key} = wanted.key and ${theirs})
      and not exists (select from ${experiments} where ${experiments.objectiveMetric} = wanted.key and ${uuidIn(experiments.id, experimentIds)})
      and not exists (select from ${checkpoints} join ${jobs} on ${jobs.id} = ${checkpoints.jobId}
        where ${checkpoints.loggedMetrics} is not null and ${checkpoints.loggedMetrics} -> wanted.key is not null and ${theirs})
      and exists (select from ${jobs} join ${metricSeries} on ${metricSeries.jobId} = ${jobs.id} where ${theirs}
        and (${jobs.state} = 'COMPLETED' or not exists (select from ${jobs} where ${theirs} and ${notInArray(jobs.state, [...TERMINAL_JOB_STATES])})))
    order by wanted.number`);
  return rows.map((row) => row.key);
}

/** Which of the dotted keys no job of the experiments has in its configuration, and the newest configuration; null without jobs. */
export async function missingConfigKeys(reader: Reader, experimentIds: readonly string[], keys: readonly string[]): Promise<{ missing: string[]; example: JsonObject } | null> {
  const theirs = uuidIn(jobs.experimentId, experimentIds);
  const [newest] = await reader.select({ config: jobs.config }).from(jobs).where(theirs).orderBy(sql`${jobs.id} desc`).limit(1);
  if (newest === undefined) return null;
  const missing: string[] = [];
  for (const key of new Set(keys)) {
    const found = await reader.select({ id: jobs.id }).from(jobs).where(sql`${theirs} and ${configValue(key)} is not null`).limit(1);
    if (found.length === 0) missing.push(key);
  }
  return { missing, example: newest.config };
}
