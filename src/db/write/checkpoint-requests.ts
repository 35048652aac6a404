/** What people ask for on checkpoints, and what becomes of it. */
import { and, eq, inArray, isNull, sql } from 'drizzle-orm';
import type { PgUpdateSetSource } from 'drizzle-orm/pg-core';
import { MAX_TRIES, type CheckpointAction, type CheckpointItemState, type CheckpointPlace } from '../../domain/checkpoint-requests/request.ts';
import type { NewEvent } from '../../domain/events.ts';
import type { Resources } from '../../domain/job-spec.ts';
import type { Transaction } from '../database.ts';
import { newId } from '../ids.ts';
import type { CheckpointItemRow } from '../read/checkpoint-requests.ts';
import { uuidIn } from '../read/job-filter.ts';
import { checkpointRequestItems, checkpointRequests, checkpointRuns, checkpoints } from '../tables/index.ts';
import { archivesLeft } from './checkpoints.ts';

export interface NewCheckpointRequest {
  action: CheckpointAction;
  place: CheckpointPlace;
  resources: Partial<Resources>;
  requestedBy: string;
  /** With what was recorded of them. */
  checkpoints: { id: string; jobId: string; cluster: string; sizeBytes: number; fileCount: number; writtenAt: Date }[];
}

/** Records the request; a checkpoint about which somebody asked in the same moment is left out. Answers its id. */
export async function recordCheckpointRequest(transaction: Transaction, { action, place, resources, requestedBy, checkpoints: meant }: NewCheckpointRequest): Promise<string> {
  const id = newId();
  await transaction.insert(checkpointRequests).values({ id, action, place, resources, requestedBy });
  await transaction.execute(sql`
    insert into checkpoint_request_items (job_id, checkpoint_id, request_id, action, cluster, state, size_bytes, file_count, written_at)
    select "jobId", id, ${id}, ${action}, cluster, 'PENDING', "sizeBytes", "fileCount", "writtenAt"
    from jsonb_to_recordset(${JSON.stringify(meant)}::jsonb) as t(id uuid, "jobId" uuid, cluster text, "sizeBytes" bigint, "fileCount" int, "writtenAt" timestamptz)
    on conflict do nothing`);
  return id;
}

/** Which item is meant. */
export type ItemKey = Pick<CheckpointItemRow, 'jobId' | 'checkpointId' | 'requestId'>;

const isOpenItem = ({ jobId, checkpointId, requestId }: ItemKey) => and(
  eq(checkpointRequestItems.jobId, jobId), eq(checkpointRequestItems.checkpointId, checkpointId), eq(checkpointRequestItems.requestId, requestId),
  inArray(checkpointRequestItems.state, ['PENDING', 'RUNNING']));

/** Changes the item unless it was withdrawn or has come to its end meanwhile. Answers whether it did. */
async function changeOpenItem(transaction: Transaction, item: ItemKey, changes: PgUpdateSetSource<typeof checkpointRequestItems>): Promise<boolean> {
  const changed = await transaction.update(checkpointRequestItems).set({ ...changes, changedAt: sql`now()` }).where(isOpenItem(item)).returning({ state: checkpointRequestItems.state });
  return changed.length > 0;
}

/**
 * The jobs of these ids that have not ended, for all that is known, none of which can be queued again before this transaction ends. With when they
 * were last submitted where they are LOST, null where they have not ended.
 */
export async function lockJobsUnlessActive(transaction: Transaction, jobIds: readonly string[]): Promise<Map<string, Date | null>> {
  const { rows } = await transaction.execute<{ id: string; state: string; submitted_at: string | null }>(sql`
    select id, state, (select max(submitted_at) from attempts where job_id = jobs.id) as submitted_at
    from jobs where id = any(${sql.param([...jobIds])}::uuid[]) order by id for no key update`);
  const active = rows.filter(({ state }) => !['COMPLETED', 'FAILED', 'CANCELLED'].includes(state));
  return new Map(active.map(({ id, state, submitted_at }) => [id, state === 'LOST' ? new Date(submitted_at ?? 0) : null]));
}

/** A run begins with the item. This and the following answer false, and change nothing, of one that is not open any more. */
export async function markItemRunning(transaction: Transaction, item: ItemKey, { members, isOneFile, runId }: { members: string[]; isOneFile: boolean; runId: string | null }): Promise<boolean> {
  return changeOpenItem(transaction, item, { state: 'RUNNING', members, isOneFile, runId, problem: null, tries: sql`${checkpointRequestItems.tries} + 1` });
}

/** It is to be tried again; `counts` is false for what a run did not come to, and LAST_TRY for what is to be put in order and then given up. */
export async function markItemPending(transaction: Transaction, item: ItemKey, { problem, counts }: { problem: string | null; counts: boolean | 'LAST_TRY' }): Promise<boolean> {
  const tries = counts === 'LAST_TRY' ? { tries: sql`greatest(${checkpointRequestItems.tries}, ${MAX_TRIES})` } : counts ? {} : { tries: sql`${checkpointRequestItems.tries} - 1` };
  return changeOpenItem(transaction, item, { state: 'PENDING', runId: null, problem, ...tries });
}

export async function markItemDone(transaction: Transaction, item: ItemKey, freedBytes: number): Promise<boolean> {
  return changeOpenItem(transaction, item, { state: 'DONE', problem: null, freedBytes });
}

export async function markItemFailed(transaction: Transaction, item: ItemKey, problem: string): Promise<boolean> {
  return changeOpenItem(transaction, item, { state: 'FAILED', problem });
}

/** Says why those of a cluster with which no run has begun have to wait; all, or those of a place. */
export async function notePendingItems(transaction: Transaction, { cluster, place }: { cluster: string; place?: CheckpointPlace }, problem: string): Promise<void> {
  const { state, tries, problem: said } = checkpointRequestItems;
  await transaction.update(checkpointRequestItems).set({ problem }).where(and(
    eq(checkpointRequestItems.cluster, cluster), eq(state, 'PENDING'), eq(tries, 0), isNull(said),
    ...(place === undefined ? [] : [sql`${checkpointRequestItems.requestId} in (select ${checkpointRequests.id} from ${checkpointRequests} where ${checkpointRequests.place} = ${place})`])));
}

/** Says why a SLURM job has not begun with what it was given; null once it has. */
export async function noteRunItems(transaction: Transaction, runId: string, problem: string | null): Promise<void> {
  const { state, problem: said } = checkpointRequestItems;
  await transaction.update(checkpointRequestItems).set({ problem })
    .where(and(eq(checkpointRequestItems.runId, runId), eq(state, 'RUNNING'), sql`${said} is distinct from ${problem}`));
}

/** Those with which no run has begun are CANCELLED, for this reason. Answers the events. */
export async function cancelPendingItems(transaction: Transaction, requestId: string, problem: string): Promise<NewEvent[]> {
  const { rows } = await transaction.execute<{ job_id: string; checkpoint_id: string; action: CheckpointAction; experiment_id: string; sweep_id: string | null }>(sql`
    update checkpoint_request_items i set state = 'CANCELLED', problem = ${problem}, changed_at = now() from jobs j
    where i.request_id = ${requestId} and i.state = 'PENDING' and i.tries = 0 and j.id = i.job_id
    returning i.job_id, i.checkpoint_id, i.action, j.experiment_id, j.sweep_id`);
  return rows.map((row) => requestEvent(
    { requestId, jobId: row.job_id, checkpointId: row.checkpoint_id, action: row.action, experimentId: row.experiment_id, sweepId: row.sweep_id }, 'CANCELLED', problem));
}

/** What a run did to a checkpoint; null leaves a value as it is. */
export type CheckpointOutcome =
  | { kind: 'ARCHIVED'; archivePath: string; archiveBytes: number; sha256: string | null }
  /** GONE: it was not found, nor was its archive. */
  | { kind: 'DELETED' | 'RESTORED' | 'GONE' }
  | { kind: 'DIGEST'; sha256: string };

export async function recordOutcome(transaction: Transaction, { jobId, path }: { jobId: string; path: string }, outcome: CheckpointOutcome): Promise<void> {
  const noArchive = { archivePath: null, archiveBytes: null, archivedAt: null };
  const changes = (() => {
    switch (outcome.kind) {
      case 'ARCHIVED': {
        const { archivePath, archiveBytes, sha256 } = outcome;
        return { state: 'ARCHIVED' as const, archivePath, archiveBytes, archivedAt: sql`now()`, ...(sha256 !== null && { contentDigest: sha256 }) };
      }
      case 'DELETED': return { state: 'DELETED' as const, ...noArchive };
      case 'GONE': return { state: 'DELETED' as const, ...noArchive, earlierArchives: archivesLeft };
      case 'RESTORED': return { state: 'COMPLETE' as const, ...noArchive };
      case 'DIGEST': return { contentDigest: outcome.sha256 };
    }
  })();
  await transaction.update(checkpoints).set(changes).where(and(eq(checkpoints.jobId, jobId), eq(checkpoints.path, path)));
}

/** A SLURM job for them is about to be submitted. */
export async function recordCheckpointRun(transaction: Transaction, run: { id: string; cluster: string; token: string }): Promise<void> {
  await transaction.insert(checkpointRuns).values(run);
}

export async function recordRunSubmitted(transaction: Transaction, id: string, slurmJobId: string): Promise<void> {
  await transaction.update(checkpointRuns).set({ slurmJobId }).where(eq(checkpointRuns.id, id));
}

export async function endCheckpointRun(transaction: Transaction, id: string): Promise<void> {
  await transaction.update(checkpointRuns).set({ endedAt: sql`now()` }).where(uuidIn(checkpointRuns.id, [id]));
}

/** What of it went on, for the log. */
export function requestEvent(
  item: ItemKey & { experimentId: string; sweepId: string | null; action: CheckpointAction }, state: CheckpointItemState, reason: string | null,
): NewEvent {
  const { experimentId, sweepId, jobId, requestId, action, checkpointId } = item;
  return { kind: 'CHECKPOINT_REQUEST_CHANGED', experimentId, sweepId, jobId, attemptNumber: null, payload: { requestId, action, state, checkpointId, count: 1, reason } };
}
