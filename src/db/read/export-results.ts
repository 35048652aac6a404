/** Results as a table: which columns it has, by one statement before the first row, and its rows, some hundred jobs at a time. */
import { asc, eq, sql } from 'drizzle-orm';
import type { JsonObject, Objective } from '../../domain/job-spec.ts';
import type { JobState } from '../../domain/states.ts';
import type { Reader } from '../database.ts';
import { jobs, results } from '../tables/index.ts';
import { bestCheckpoints } from './best-checkpoints.ts';
import type { CheckpointRow } from './checkpoints.ts';
import { inScope, type ExportScope, type JobIds } from './export-jobs.ts';
import { uuidIn } from './job-filter.ts';

const JOBS_PER_PAGE = 500;

/** What the values under a name are in JSON, null left out; `integer` is a number that is whole and exact in a double. */
export type JsonKind = 'integer' | 'number' | 'boolean' | 'string' | 'array' | 'object';

/** A name under which results have a value. */
export interface ResultName {
  /** Of the configuration (dotted) or of the final metrics. */
  part: 'config' | 'metrics';
  name: string;
  kinds: JsonKind[];
}

export interface ExportedResult {
  id: string;
  name: string;
  state: JobState;
  tags: string[];
  config: JsonObject;
  metrics: JsonObject;
  sweepId: string | null;
  cluster: string;
  storagePath: string;
  startedAt: Date | null;
  finishedAt: Date;
  /** The one to load; null without an objective as well. */
  checkpoint: CheckpointRow | null;
}

/** Every name in the results of the scope, sorted, those of the configuration first; `limit` at the most. */
export async function resultNames(reader: Reader, scope: ExportScope, limit: number): Promise<ResultName[]> {
  const objectOf = sql`case when jsonb_typeof(value) = 'object' then value else '{}' end`;
  const kind = sql`case jsonb_typeof(value) when 'number' then case when value::numeric % 1 = 0 and abs(value::numeric) < 9007199254740992 then 'integer' else 'number' end else jsonb_typeof(value) end`;
  const { rows } = await reader.execute<ResultName & Record<string, unknown>>(sql`
    with recursive leaves as (
      select entry.key as name, entry.value from ${jobs} join ${results} on ${results.jobId} = ${jobs.id} cross join lateral jsonb_each(${jobs.config}) as entry where ${inScope(scope)}
      union all
      select leaves.name || '.' || entry.key, entry.value from leaves cross join lateral jsonb_each(${objectOf}) as entry
    ),
    named as (
      select 'config' as part, name, value from leaves where ${objectOf} = '{}'
      union all
      select 'metrics', entry.key, entry.value from ${jobs} join ${results} on ${results.jobId} = ${jobs.id} cross join lateral jsonb_each(${results.metrics}) as entry where ${inScope(scope)}
    )
    select part, name, array_remove(array_agg(distinct ${kind}), 'null') as kinds from named group by part, name order by part, name collate "C" limit ${limit}`);
  return rows;
}

/** The results of the jobs, in the order of their ids. */
export async function* resultPages(reader: Reader, jobIds: JobIds, objective: Objective | null): AsyncGenerator<ExportedResult[]> {
  for (let index = 0; index < jobIds.length; index += JOBS_PER_PAGE) {
    const rows = await reader.select({
      id: jobs.id, name: jobs.name, state: jobs.state, tags: jobs.tags, config: jobs.config, metrics: results.metrics, sweepId: jobs.sweepId, cluster: jobs.cluster,
      storagePath: jobs.storagePath, startedAt: jobs.startedAt, finishedAt: results.finishedAt,
    }).from(jobs).innerJoin(results, eq(results.jobId, jobs.id)).where(uuidIn(jobs.id, jobIds.slice(index, JOBS_PER_PAGE))).orderBy(asc(jobs.id));
    const best = objective === null ? [] : await bestCheckpoints(reader, rows.map(({ id }) => ({ jobId: id, ...objective })));
    if (rows.length > 0) yield rows.map((row, number) => ({ ...row, checkpoint: best[number] ?? null }));
  }
}
