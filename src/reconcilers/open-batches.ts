/**
 * Batches whose answer was lost (a time-out, a dropped connection, garbage, a server killed before it could write the answer
 * down) are looked up by their token: found, they are adopted; not found after the grace period, their jobs go back to the queue.
 */
import type { Logger } from 'pino';
import type { Cluster, Observation } from '../cluster/executor.ts';
import type { Database } from '../db/database.ts';
import type { TrackedAttemptRow } from '../db/read/tracked-attempts.ts';
import { markBatchSubmitted, returnBatchToQueue, type SubmittedTask } from '../db/write/dispatch.ts';
import { transact } from '../db/transaction.ts';
import { appendEvents } from '../db/write/events.ts';
import { ownerPath } from '../domain/layout.ts';
import { parseGuardOwner } from '../domain/start-guard.ts';
import { submittedTask } from './dispatch.ts';

export interface OpenBatchDependencies {
  database: Database;
  cluster: Cluster;
  /** Since when each attempt has been looked for without being found, by `keyOf`. */
  lastSeen: ReadonlyMap<string, number>;
  logger: Logger;
  now: () => Date;
}

export const keyOf = (row: { token: string; taskIndex: number }): string => `${row.token} ${row.taskIndex}`;

/** Answers the attempts that are known to be on the cluster. */
export async function resolveOpenBatches(
  dependencies: OpenBatchDependencies, tracked: TrackedAttemptRow[], observations: ReadonlyMap<string, Observation>,
): Promise<TrackedAttemptRow[]> {
  const open = new Map<string, TrackedAttemptRow[]>();
  for (const row of tracked) if (row.state === 'SUBMITTING') open.set(row.batchId, [...open.get(row.batchId) ?? [], row]);
  const adopted = new Map<string, SubmittedTask>();
  for (const rows of open.values()) {
    for (const task of await resolveOne(dependencies, rows, observations)) adopted.set(keyOf({ token: rows[0]!.token, taskIndex: task.taskIndex }), task);
  }
  return tracked.flatMap((row): TrackedAttemptRow[] => {
    if (row.state !== 'SUBMITTING') return [row];
    const task = adopted.get(keyOf(row));
    return task === undefined ? [] : [{ ...row, ...task, state: 'PENDING' }];
  });
}

/** Answers the tasks of the batch that turned out to be on the cluster. */
async function resolveOne(
  dependencies: OpenBatchDependencies, rows: TrackedAttemptRow[], observations: ReadonlyMap<string, Observation>,
): Promise<SubmittedTask[]> {
  const { database, cluster, lastSeen, logger, now } = dependencies;
  const { token, batchId } = rows[0]!;
  const about = { batch: token };
  let ids = new Map(rows.flatMap((row) => {
    const seen = observations.get(keyOf(row));
    return seen === undefined ? [] : [[row.taskIndex, seen.slurmJobId] as const];
  }));
  const time = now().getTime();
  // Counted from when it was first looked for, not from when it was sent: an answer may have been waited for in between.
  const isOverdue = time - Math.min(...rows.map((row) => lastSeen.get(keyOf(row)) ?? time)) > cluster.settings.submitGraceSeconds * 1000;
  if (ids.size === 0 && isOverdue) ids = await readGuards(cluster, rows);
  if (ids.size > 0) {
    const slurmJobId = cluster.settings.kind === 'SLURM' ? [...ids.values()][0]!.split('_')[0]! : null;
    // SLURM takes an array whole or not at all: one task that was seen stands for those that a listing leaves out.
    if (slurmJobId !== null) ids = new Map(rows.map((row) => [row.taskIndex, row.taskCount === 1 ? slurmJobId : `${slurmJobId}_${row.taskIndex}`]));
    const tasks = [...ids].map(([taskIndex, id]) => submittedTask(cluster, token, id, taskIndex));
    await transact(database, async (transaction) => appendEvents(transaction, await markBatchSubmitted(transaction, batchId, slurmJobId, null, tasks)));
    logger.info({ ...about, slurmJobId }, 'batch adopted: it had been submitted after all');
    return tasks;
  }
  if (isOverdue) {
    const why = `no trace of it on the cluster ${cluster.settings.submitGraceSeconds} s after the submission broke off`;
    await transact(database, async (transaction) => appendEvents(transaction, await returnBatchToQueue(transaction, batchId, why, null)));
    logger.warn(about, 'batch returned to the queue: it was never submitted');
  }
  return [];
}

/** The ids of tasks that have started, from their start guards: what the queue has forgotten and accounting does not say has left these. */
async function readGuards(cluster: Cluster, rows: TrackedAttemptRow[]): Promise<Map<number, string>> {
  const contents = await cluster.transport.read(rows.map((row) => ({ path: ownerPath(row.jobDirectory, row.attemptNumber), offsetBytes: 0, maxBytes: 200 })));
  return new Map(rows.flatMap((row, index) => {
    const owner = parseGuardOwner(contents[index]?.toString('utf8') ?? '');
    // Another batch's would be an earlier submission of the attempt: the row's own is still to be looked for.
    const isOwn = owner !== null && (owner.token === null || owner.token === row.token);
    return isOwn && owner.slurmJobId !== null ? [[row.taskIndex, owner.slurmJobId] as const] : [];
  }));
}
