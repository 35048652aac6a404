/** Reads of what people asked for on checkpoints, and of the checkpoints that may be meant. */
import { and, asc, eq, isNull, sql } from 'drizzle-orm';
import { FIRST_WAIT_SECONDS, MAX_TRIES, MAX_WAIT_SECONDS, type CheckpointItemState, type CheckpointPlace } from '../../domain/checkpoint-requests/request.ts';
import type { JobFilter } from '../../domain/job-filter.ts';
import type { Objective, Resources } from '../../domain/job-spec.ts';
import type { JobState } from '../../domain/states.ts';
import type { Reader } from '../database.ts';
import { checkpointRequestItems, checkpointRequests, checkpointRuns, checkpoints, experiments, jobs } from '../tables/index.ts';
import { checkpointsOfJobs, type CheckpointRow } from './checkpoints.ts';
import { jobFilterCondition, uuidIn } from './job-filter.ts';
import type { PageSource } from './page.ts';
import { decodeRow, groupedBy, inOrderOf, selectList, type RawRow } from './rows.ts';

export type CheckpointRequestRow = typeof checkpointRequests.$inferSelect;
export type CheckpointRunRow = typeof checkpointRuns.$inferSelect;
export type CheckpointItemRow = typeof checkpointRequestItems.$inferSelect;

/** The checkpoints with these ids, or those of the jobs that pass the filter. */
export type CheckpointSelection = { ids: readonly string[] } | { filter: JobFilter };

/** A job that may be meant. */
export interface RequestedJob {
  jobId: string;
  experimentId: string;
  sweepId: string | null;
  state: JobState;
  cluster: string;
  jobDirectory: string;
  objective: Objective | null;
}

/** The jobs whose checkpoints are meant, by id, at most `limit`; jobs without checkpoints are left out. */
export async function readRequestedJobs(reader: Reader, selection: CheckpointSelection, limit: number): Promise<RequestedJob[]> {
  const isMeant = 'ids' in selection ? sql`${jobs.id} in (select ${checkpoints.jobId} from ${checkpoints} where ${uuidIn(checkpoints.id, selection.ids)})`
    : and(jobFilterCondition(selection.filter), sql`exists (select 1 from ${checkpoints} where ${checkpoints.jobId} = ${jobs.id} and ${checkpoints.state} <> 'DELETED')`);
  const rows = await reader.select({
    jobId: jobs.id, experimentId: jobs.experimentId, sweepId: jobs.sweepId, state: jobs.state, cluster: jobs.cluster, jobDirectory: jobs.storagePath,
    metric: experiments.objectiveMetric, goal: experiments.objectiveGoal,
  }).from(jobs).innerJoin(experiments, eq(experiments.id, jobs.experimentId)).where(isMeant).orderBy(asc(jobs.id)).limit(limit);
  return rows.map(({ metric, goal, ...job }) => ({ ...job, objective: metric === null || goal === null ? null : { metric, goal } }));
}

export type RequestedCheckpoint = CheckpointRow & { isSharedWithJob: boolean; isAsked: boolean };

/** Their checkpoints, by job. */
export async function readRequestedCheckpoints(reader: Reader, jobIds: readonly string[]): Promise<RequestedCheckpoint[][]> {
  const ofJobs = await checkpointsOfJobs(reader, jobIds);
  const { rows: shared } = await reader.execute<{ id: string }>(sql`
    select distinct c.id from checkpoints c join checkpoints o on o.path = c.path and o.job_id <> c.job_id and o.is_declared
    where c.job_id = any(${sql.param([...jobIds])}::uuid[])`);
  const { rows: asked } = await reader.execute<{ id: string }>(sql`
    select checkpoint_id as id from checkpoint_request_items where job_id = any(${sql.param([...jobIds])}::uuid[]) and state in ('PENDING', 'RUNNING')`);
  const sharedIds = new Set(shared.map(({ id }) => id));
  const askedIds = new Set(asked.map(({ id }) => id));
  return ofJobs.map((rows) => rows.map((row) => ({ ...row, isSharedWithJob: sharedIds.has(row.id), isAsked: askedIds.has(row.id) })));
}

/** A request on a checkpoint that is still to be carried out. */
export interface OpenItem extends CheckpointItemRow {
  place: CheckpointPlace;
  resources: Partial<Resources>;
  requestedAt: Date;
  experimentId: string;
  sweepId: string | null;
  jobState: JobState;
  jobDirectory: string;
  checkpoint: CheckpointRow;
}

/**
 * Of a cluster and a place those that no SLURM job has, what was begun first, at most `limit`; none that was given back just now. What is given up has
 * its place on the login node, where nothing is waited for.
 */
export async function readOpenItems(reader: Reader, cluster: string, place: CheckpointPlace, { limit, now }: { limit: number; now: Date }): Promise<OpenItem[]> {
  const { state, tries, changedAt } = checkpointRequestItems;
  const waitSeconds = sql`least(${MAX_WAIT_SECONDS}, ${FIRST_WAIT_SECONDS} * greatest(${tries}, 1) ^ 2)`;
  const isDue = sql`(${state} = 'RUNNING' or ${changedAt} = ${checkpointRequests.createdAt} or ${changedAt} <= ${now.toISOString()}::timestamptz - make_interval(secs => ${waitSeconds}))`;
  const isHere = place === 'LOGIN_NODE' ? sql`(${checkpointRequests.place} = ${place} or ${tries} >= ${MAX_TRIES})` : sql`(${checkpointRequests.place} = ${place} and ${tries} < ${MAX_TRIES})`;
  const isOpen = sql`${state} in ('PENDING', 'RUNNING')`;
  const rows = await openItems(reader).where(and(eq(checkpointRequestItems.cluster, cluster), isOpen, isDue, isHere, isNull(checkpointRequestItems.runId)))
    .orderBy(sql`${checkpointRequestItems.state} desc`, checkpointRequestItems.requestId, checkpointRequestItems.jobId, checkpointRequestItems.checkpointId).limit(limit);
  return rows.map(toOpenItem);
}

/** Whether something is to be done on a cluster, now or later. */
export async function hasOpenItems(reader: Reader, cluster: string): Promise<boolean> {
  const isOpen = sql`${checkpointRequestItems.state} in ('PENDING', 'RUNNING')`;
  const rows = await reader.select({ id: checkpointRequestItems.checkpointId }).from(checkpointRequestItems).where(and(eq(checkpointRequestItems.cluster, cluster), isOpen)).limit(1);
  return rows.length > 0;
}

/** What a SLURM job has been given and has not told of. */
export async function readItemsOfRun(reader: Reader, runId: string): Promise<OpenItem[]> {
  const rows = await openItems(reader).where(and(eq(checkpointRequestItems.runId, runId), eq(checkpointRequestItems.state, 'RUNNING')));
  return rows.map(toOpenItem);
}

function openItems(reader: Reader) {
  return reader.select({
    item: checkpointRequestItems, place: checkpointRequests.place, resources: checkpointRequests.resources, requestedAt: checkpointRequests.createdAt, experimentId: jobs.experimentId, sweepId: jobs.sweepId,
    jobState: jobs.state, jobDirectory: jobs.storagePath, checkpoint: checkpoints,
  }).from(checkpointRequestItems)
    .innerJoin(checkpointRequests, eq(checkpointRequests.id, checkpointRequestItems.requestId))
    .innerJoin(jobs, eq(jobs.id, checkpointRequestItems.jobId))
    .innerJoin(checkpoints, and(eq(checkpoints.jobId, checkpointRequestItems.jobId), eq(checkpoints.id, checkpointRequestItems.checkpointId)));
}

function toOpenItem({ item, ...rest }: { item: CheckpointItemRow } & Omit<OpenItem, keyof CheckpointItemRow>): OpenItem {
  return { ...item, ...rest };
}

/** SLURM jobs of a cluster that were submitted and are not known to have ended. */
export async function readOpenRuns(reader: Reader, cluster: string): Promise<CheckpointRunRow[]> {
  return reader.select().from(checkpointRuns).where(and(eq(checkpointRuns.cluster, cluster), isNull(checkpointRuns.endedAt))).orderBy(checkpointRuns.submittedAt);
}

/** Requests, newest first. */
export function checkpointRequestSource(): PageSource<typeof checkpointRequests> {
  return {
    table: checkpointRequests, where: undefined,
    order: [
      { expression: checkpointRequests.createdAt, type: 'timestamptz', descending: true, nullable: false, name: 'createdAt' },
      { expression: checkpointRequests.id, type: 'uuid', descending: true, nullable: false, name: 'id' },
    ],
  };
}

/** Requests by id, in the order asked for, null where there is none. */
export async function checkpointRequestsById(reader: Reader, ids: readonly string[]): Promise<(CheckpointRequestRow | null)[]> {
  const rows = await reader.select().from(checkpointRequests).where(uuidIn(checkpointRequests.id, ids));
  return inOrderOf(ids, rows, (row) => row.id);
}

/** How far a request is. */
export interface RequestProgress {
  counts: Record<CheckpointItemState, number>;
  sizeBytes: number;
  freedBytes: number;
}

/** How far each request is, in the order asked for. */
export async function progressOfRequests(reader: Reader, ids: readonly string[]): Promise<RequestProgress[]> {
  const rows = await reader.select({
    requestId: checkpointRequestItems.requestId, state: checkpointRequestItems.state, count: sql<number>`count(*)::int`,
    sizeBytes: sql<string>`sum(${checkpointRequestItems.sizeBytes})`, freedBytes: sql<string | null>`sum(${checkpointRequestItems.freedBytes})`,
  }).from(checkpointRequestItems).where(uuidIn(checkpointRequestItems.requestId, ids)).groupBy(checkpointRequestItems.requestId, checkpointRequestItems.state);
  return groupedBy(ids, rows, (row) => row.requestId).map((ofRequest) => {
    const progress: RequestProgress = { counts: { PENDING: 0, RUNNING: 0, DONE: 0, FAILED: 0, CANCELLED: 0 }, sizeBytes: 0, freedBytes: 0 };
    for (const { state, count, sizeBytes, freedBytes } of ofRequest) {
      progress.counts[state] = count;
      progress.sizeBytes += Number(sizeBytes);
      progress.freedBytes += Number(freedBytes ?? 0);
    }
    return progress;
  });
}

/** Which items of a request are wanted. */
export interface WantedItems {
  states: readonly CheckpointItemState[];
  limit: number;
}

/** The items of each request, by job, in the order asked for. */
export async function itemsOfRequests(reader: Reader, requestIds: readonly string[], { states, limit }: WantedItems): Promise<CheckpointItemRow[][]> {
  const { rows } = await reader.execute<RawRow>(sql`
    select chosen.* from unnest(${sql.param([...requestIds])}::uuid[]) as wanted(id)
    cross join lateral (
      select ${selectList(checkpointRequestItems)} from ${checkpointRequestItems}
      where ${checkpointRequestItems.requestId} = wanted.id and ${checkpointRequestItems.state} = any(${sql.param([...states])}::text[])
      order by ${checkpointRequestItems.jobId}, ${checkpointRequestItems.checkpointId} limit ${limit}
    ) as chosen`);
  return groupedBy(requestIds, rows.map((row) => decodeRow(checkpointRequestItems, row)), (row) => row.requestId);
}
