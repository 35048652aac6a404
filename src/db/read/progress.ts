/** How far the jobs of experiments and sweeps are, counted inside Postgres. */
import { sql } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';
import { RECENT_FINISHED_COUNT, summariseProgress, type Progress } from '../../domain/progress.ts';
import type { JobState } from '../../domain/states.ts';
import type { Reader } from '../database.ts';
import { jobs } from '../tables/index.ts';
import type { RawRow } from './rows.ts';

export interface TagProgressRow {
  tag: string;
  progress: Progress;
}

/** Progress of each experiment, in the order asked for. */
export async function progressOfExperiments(reader: Reader, ids: readonly string[]): Promise<Progress[]> {
  return progressPerScope(reader, jobs.experimentId, ids);
}

/** Progress of each sweep, in the order asked for. */
export async function progressOfSweeps(reader: Reader, ids: readonly string[]): Promise<Progress[]> {
  return progressPerScope(reader, jobs.sweepId, ids);
}

/** Progress of the jobs with each tag of each experiment, by tag, in the order asked for. */
export async function progressByTag(reader: Reader, experimentIds: readonly string[]): Promise<TagProgressRow[][]> {
  const rows = await countedRows(reader, jobs.experimentId, experimentIds, true);
  const now = new Date();
  return experimentIds.map((id) => rows.filter((row) => row['scope'] === id)
    .map((row) => ({ tag: String(row['tag']), progress: toProgress(row, now) })));
}

async function progressPerScope(reader: Reader, scope: PgColumn, ids: readonly string[]): Promise<Progress[]> {
  const rows = new Map((await countedRows(reader, scope, ids, false)).map((row) => [row['scope'], row]));
  const now = new Date();
  return ids.map((id) => toProgress(rows.get(id), now));
}

async function countedRows(reader: Reader, scope: PgColumn, ids: readonly string[], byTag: boolean): Promise<RawRow[]> {
  const tag = byTag ? sql`tag.tag` : sql`null::text`;
  const result = await reader.execute<RawRow>(sql`
    with scoped as (
      select ${scope} as scope, ${tag} as tag, ${jobs.state} as state, ${jobs.startedAt} as started_at, ${jobs.finishedAt} as finished_at
      from ${jobs} ${byTag ? sql`cross join lateral unnest(${jobs.tags}) as tag(tag)` : sql``}
      where ${scope} = any(${sql.param([...ids])}::uuid[])
    ),
    counted as (select scope, tag, state, count(*) as count, min(started_at) as first_started_at from scoped group by scope, tag, state),
    finished as (
      select scope, tag, finished_at, row_number() over (partition by scope, tag order by finished_at desc) as place
      from scoped where started_at is not null and finished_at is not null
    ),
    recent as (
      select scope, tag, string_agg((extract(epoch from finished_at) * 1000)::text, ',') as times from finished
      where place <= ${RECENT_FINISHED_COUNT} group by scope, tag
    )
    select counted.scope, counted.tag, jsonb_object_agg(counted.state, counted.count) as counts,
      extract(epoch from min(counted.first_started_at))::float8 * 1000 as first_started_at, min(recent.times) as finished_times
    from counted left join recent on recent.scope = counted.scope and recent.tag is not distinct from counted.tag
    group by counted.scope, counted.tag order by counted.scope, counted.tag`);
  return result.rows;
}

function toProgress(row: RawRow | undefined, now: Date): Progress {
  const first = row?.['first_started_at'] ?? null;
  const times = row?.['finished_times'] ?? null;
  return summariseProgress({
    countsByState: (row?.['counts'] ?? {}) as Partial<Record<JobState, number>>,
    firstStartedAt: first === null ? null : new Date(Number(first)),
    finishedTimes: times === null ? [] : String(times).split(',').map((time) => new Date(Number(time))),
    now,
  });
}
