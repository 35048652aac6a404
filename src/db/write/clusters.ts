/** What a cluster said about itself, or that it could not be asked. */
import { sql } from 'drizzle-orm';
import type { Database } from '../database.ts';
import { transact } from '../transaction.ts';
import type { BreakerStatus } from '../../domain/breaker-status.ts';
import type { Partition } from '../../domain/partition.ts';
import type { QueueWait } from '../../domain/queue-wait.ts';
import { clusters } from '../tables/index.ts';

export interface ClusterReport {
  partitions: Partition[];
  pendingJobCount: number;
  runningJobCount: number;
  maxArraySize: number | null;
  schedulerVersion: string | null;
  hasAccounting: boolean | null;
}

type Kind = 'SLURM' | 'LOCAL';

export async function recordClusterReport(database: Database, name: string, kind: Kind, report: ClusterReport): Promise<void> {
  const values = { kind, reachable: true, lastContactAt: sql`now()`, lastError: null, ...report, updatedAt: sql`now()` };
  await transact(database, (transaction) => transaction.insert(clusters).values({ name, ...values }).onConflictDoUpdate({ target: clusters.name, set: values }));
}

/** What was known of it stays, with the error beside it. */
export async function recordClusterUnreachable(database: Database, name: string, kind: Kind, error: string): Promise<void> {
  const values = { kind, reachable: false, lastError: error, updatedAt: sql`now()` };
  await transact(database, (transaction) => transaction.insert(clusters).values({ name, ...values }).onConflictDoUpdate({ target: clusters.name, set: values }));
}

/** Whether changes on it are pushed to us or polled, and why they are not pushed. */
export async function recordClusterWatch(database: Database, name: string, kind: Kind, watch: 'LIVE' | 'POLLING', reason: string | null): Promise<void> {
  const values = { watch, watchReason: reason, updatedAt: sql`now()` };
  await transact(database, (transaction) => transaction.insert(clusters).values({ name, kind, reachable: false, ...values }).onConflictDoUpdate({ target: clusters.name, set: values }));
}

/** Whether it is tried at all, and when again. */
export async function recordClusterBreaker(database: Database, name: string, kind: Kind, status: BreakerStatus): Promise<void> {
  const breaker = { ...status, openedAt: status.openedAt?.toISOString() ?? null, nextTryAt: status.nextTryAt?.toISOString() ?? null };
  const values = { breaker, updatedAt: sql`now()` };
  await transact(database, (transaction) => transaction.insert(clusters).values({ name, kind, reachable: false, ...values }).onConflictDoUpdate({ target: clusters.name, set: values }));
}

/** Why jobs stay in our queue for it. */
export async function recordQueueWaits(database: Database, name: string, kind: Kind, queueWaits: QueueWait[]): Promise<void> {
  const values = { queueWaits, updatedAt: sql`now()` };
  await transact(database, (transaction) => transaction.insert(clusters).values({ name, kind, reachable: false, ...values }).onConflictDoUpdate({ target: clusters.name, set: values }));
}
