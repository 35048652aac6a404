/** Carries out what people asked for on jobs that a cluster already has: cancel, hold, release. */
import type { Logger } from 'pino';
import type { Cluster } from '../cluster/executor.ts';
import { NotTriedError, TransportError } from '../cluster/transport.ts';
import type { Database } from '../db/database.ts';
import type { TrackedAttemptRow } from '../db/read/tracked-attempts.ts';
import { transact } from '../db/transaction.ts';
import { markHeldOnCluster } from '../db/write/attempts.ts';
import { crashPoint } from './crash-point.ts';

/** A cancel that has shown no effect is sent again after this. */
const CANCEL_AGAIN_AFTER_MS = 30_000;

export interface WishDependencies {
  database: Database;
  cluster: Cluster;
  /** When each attempt was last told to end, by its id on the cluster. */
  cancelledAt: Map<string, number>;
  logger: Logger;
  now: () => Date;
}

/**
 * What the cluster will not do now is asked again in the next round: it keeps nobody from seeing how the jobs are.
 * Answers whether the cluster was told anything, of which the effect is then to be observed.
 */
export async function carryOutWishes({ database, cluster, cancelledAt, logger, now }: WishDependencies, tracked: TrackedAttemptRow[]): Promise<boolean> {
  const rows = tracked.filter((row) => row.slurmJobId !== null && row.state !== 'LOST');
  const time = now().getTime();
  const due = rows.filter((row) => row.cancelRequested && time - (cancelledAt.get(row.slurmJobId!) ?? 0) > CANCEL_AGAIN_AFTER_MS);
  if (due.length > 0) {
    crashPoint('cancel-before');
    const isTold = await tell(logger, () => cluster.executor.cancel(idsToCancel(due, tracked)));
    crashPoint('cancel-after');
    if (isTold) for (const row of due) cancelledAt.set(row.slurmJobId!, time);
  }
  const present = new Set(rows.map((row) => row.slurmJobId));
  for (const id of cancelledAt.keys()) if (!present.has(id)) cancelledAt.delete(id);
  const toHold = rows.filter((row) => row.state === 'PENDING' && row.holdRequested !== row.heldOnCluster);
  for (const held of [true, false]) await tell(logger, () => setHeld(database, cluster, toHold.filter((row) => row.holdRequested === held), held));
  return due.length > 0 || toHold.length > 0;
}

/**
 * Where all that is known of an array is to end, the array is named and not its tasks: SLURM then ends thousands of waiting tasks in one step,
 * while for tasks that are named it first makes a record of each.
 */
function idsToCancel(due: TrackedAttemptRow[], tracked: TrackedAttemptRow[]): string[] {
  const spared = new Set(tracked.filter((row) => !row.cancelRequested).map((row) => row.batchId));
  return [...new Set(due.map((row) => (spared.has(row.batchId) ? row.slurmJobId! : row.slurmJobId!.split('_')[0]!)))];
}

async function tell(logger: Logger, command: () => Promise<void>): Promise<boolean> {
  try {
    await command();
    return true;
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    if (!(error instanceof NotTriedError)) logger.warn({ err: error }, 'the cluster did not do what it was asked to');
    return false;
  }
}

async function setHeld(database: Database, cluster: Cluster, rows: TrackedAttemptRow[], held: boolean): Promise<void> {
  if (rows.length === 0) return;
  await cluster.executor.setHeld(rows.map((row) => row.slurmJobId!), held);
  await transact(database, (transaction) => markHeldOnCluster(transaction, rows.map((row) => row.jobId), held));
}
