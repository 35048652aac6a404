/** Reads of checkpoints. */
import { and, sql } from 'drizzle-orm';
import type { CheckpointAction } from '../../domain/checkpoint-requests/request.ts';
import { resumeProblem, type RetryObstacle } from '../../domain/checkpoint-requests/resume-problem.ts';
import type { Reader } from '../database.ts';
import { checkpoints } from '../tables/index.ts';
import { uuidIn } from './job-filter.ts';
import { decodeRow, groupedBy, inOrderOf, selectList, type RawRow } from './rows.ts';

export type CheckpointRow = typeof checkpoints.$inferSelect;

/** A place in the history of a job. */
export interface JobStep {
  jobId: string;
  step: number;
}

/** Checkpoints by id, in the order asked for, null where there is none. */
export async function checkpointsById(reader: Reader, ids: readonly string[]): Promise<(CheckpointRow | null)[]> {
  const rows = await reader.select().from(checkpoints).where(uuidIn(checkpoints.id, ids));
  return inOrderOf(ids, rows, (row) => row.id);
}

/** All checkpoints of each job, in step order, those without a step last. */
export async function checkpointsOfJobs(reader: Reader, jobIds: readonly string[]): Promise<CheckpointRow[][]> {
  const rows = await reader.select().from(checkpoints).where(uuidIn(checkpoints.jobId, jobIds))
    .orderBy(checkpoints.jobId, sql`${checkpoints.step} nulls last`, checkpoints.writtenAt, checkpoints.path);
  return groupedBy(jobIds, rows, (row) => row.jobId);
}

/** It is there, whole: as it was written, or as an archive that has to be unpacked first. Of two that are equal, the first is preferred. */
export const existsWhole = sql`${checkpoints.state} in ('COMPLETE', 'ARCHIVED')`;

/** Nobody is taking the checkpoint `c` away: that begins only while its job has ended, and must then not be gone on from. What waits for a next try may be half done. */
export const staysInPlace = sql`not exists (select 1 from checkpoint_request_items i where i.checkpoint_id = c.id and (i.state = 'RUNNING' or (i.state = 'PENDING' and i.tries > 0)) and i.action in ('ARCHIVE', 'DELETE'))`;

/** The checkpoint `c` is no archive of another one: no job can go on from that. */
const isNoArchive = sql`not exists (select 1 from checkpoints a where a.job_id = c.job_id
  and (a.archive_path = c.path or a.earlier_archives @> jsonb_build_array(jsonb_build_object('path', c.path))))`;

/** From which checkpoint each job goes on: the path of its COMPLETE one with the highest step, then the newest; by job. */
export async function checkpointsToResume(reader: Reader, jobIds: readonly string[]): Promise<Map<string, string>> {
  const { rows } = await reader.execute<{ job_id: string; path: string }>(sql`
    select distinct on (job_id) job_id, path from checkpoints c
    where job_id = any(${sql.param([...jobIds])}::uuid[]) and state = 'COMPLETE' and ${staysInPlace} and ${isNoArchive}
    order by job_id, step desc nulls last, written_at desc`);
  return new Map(rows.map((row) => [row.job_id, row.path]));
}

/**
 * What keeps jobs from going on from their last whole checkpoint: it is archived, or is to be archived, deleted or restored. By job; jobs that
 * nothing keeps are left out. Of the same step one that is there as it was written is as good. Chosen like the checkpoint to go on from, but of those that are archived, too.
 */
export async function resumeProblems(reader: Reader, jobIds: readonly string[]): Promise<Map<string, RetryObstacle>> {
  const { rows } = await reader.execute<{ job_id: string; id: string; path: string; state: string; request_id: string | null; action: CheckpointAction | null }>(sql`
    select distinct on (c.job_id) c.job_id, c.id, c.path, c.state, i.request_id, i.action from checkpoints c
    left join checkpoint_request_items i on i.job_id = c.job_id and i.checkpoint_id = c.id and i.state in ('PENDING', 'RUNNING')
    where c.job_id = any(${sql.param([...jobIds])}::uuid[]) and c.state in ('COMPLETE', 'ARCHIVED') and ${isNoArchive}
    order by c.job_id, c.step desc nulls last, (c.step is not null and c.state = 'COMPLETE') desc, c.written_at desc, c.state = 'COMPLETE' desc`);
  return new Map(rows.flatMap(({ job_id: jobId, id, path, state, request_id: requestId, action }): [string, RetryObstacle][] => {
    const problem = resumeProblem({ id, path, isArchived: state === 'ARCHIVED', request: requestId === null || action === null ? null : { id: requestId, action } });
    return problem === null ? [] : [[jobId, problem]];
  }));
}

/** The newest checkpoint at or before each step that is whole, archived or not, in the order asked for. */
export async function checkpointsAtSteps(reader: Reader, places: readonly JobStep[]): Promise<(CheckpointRow | null)[]> {
  const result = await reader.execute<RawRow>(sql`
    select wanted.number as wanted, chosen.*
    from unnest(${sql.param(places.map((place) => place.jobId))}::uuid[], ${sql.param(places.map((place) => place.step))}::bigint[])
      with ordinality as wanted(job_id, step, number)
    cross join lateral (
      select ${selectList(checkpoints)} from ${checkpoints}
      where ${checkpoints.jobId} = wanted.job_id and ${existsWhole} and ${checkpoints.step} <= wanted.step
      order by ${checkpoints.step} desc, ${checkpoints.writtenAt} desc limit 1
    ) as chosen`);
  return byWantedNumber(result.rows, places.length);
}

/** Of each job the checkpoint that a link, name or pointer calls last, else the one with the highest step, among those that are whole, archived or not; null where there is none. */
export async function lastCheckpoints(reader: Reader, jobIds: readonly string[]): Promise<(CheckpointRow | null)[]> {
  const isCalledLast = sql`${checkpoints.aliases} && array['last', 'latest']`;
  const rows = await reader.selectDistinctOn([checkpoints.jobId]).from(checkpoints)
    .where(and(uuidIn(checkpoints.jobId, jobIds), existsWhole))
    .orderBy(checkpoints.jobId, sql`${isCalledLast} desc`, sql`${checkpoints.step} desc nulls last`, sql`${checkpoints.writtenAt} desc`, checkpoints.path);
  return inOrderOf(jobIds, rows, (row) => row.jobId);
}

/** Rows by their column `wanted`, which counts from 1, as checkpoints. */
export function byWantedNumber(rows: RawRow[], count: number): (CheckpointRow | null)[] {
  const byNumber = new Map(rows.map((row) => [Number(row['wanted']), row]));
  return Array.from({ length: count }, (_, index) => {
    const row = byNumber.get(index + 1);
    return row === undefined ? null : decodeRow(checkpoints, row);
  });
}
