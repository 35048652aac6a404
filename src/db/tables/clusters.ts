import { bigint, boolean, integer, pgTable, text } from 'drizzle-orm/pg-core';
import type { BreakerState } from '../../domain/breaker-status.ts';
import type { Partition } from '../../domain/partition.ts';
import type { QueueWait } from '../../domain/queue-wait.ts';
import { json, moment } from './columns.ts';

/** A status of the circuit breaker, with moments as JSON has them. */
export interface StoredBreaker {
  state: BreakerState;
  reason: string | null;
  failureCount: number;
  openedAt: string | null;
  nextTryAt: string | null;
}

/** What a cluster said about itself when it was last asked. Written by the reconciler, read by the API. */
export const clusters = pgTable('clusters', {
  name: text('name').primaryKey(),
  kind: text('kind').$type<'SLURM' | 'LOCAL'>().notNull(),
  reachable: boolean('reachable').notNull(),
  lastContactAt: moment('last_contact_at'),
  lastError: text('last_error'),
  partitions: json<Partition[]>('partitions'),
  pendingJobCount: integer('pending_job_count'),
  runningJobCount: integer('running_job_count'),
  /** SLURM's MaxArraySize; null where there is none. */
  maxArraySize: integer('max_array_size'),
  schedulerVersion: text('scheduler_version'),
  /** Whether it keeps accounts of jobs that have ended; null where that is not known. */
  hasAccounting: boolean('has_accounting'),
  /** Whether changes are pushed to us or polled, and why they are not pushed. */
  watch: text('watch').$type<'LIVE' | 'POLLING'>().notNull().default('POLLING'),
  watchReason: text('watch_reason'),
  /** Whether it is tried at all; null until something went wrong. */
  breaker: json<StoredBreaker>('breaker'),
  /** Why jobs stay in our queue. */
  queueWaits: json<QueueWait[]>('queue_waits').notNull().default([]),
  updatedAt: moment('updated_at').notNull(),
});

/** How often a cluster has been taken over: what the reconciler of an earlier term still tries to write is refused. */
export const clusterTerms = pgTable('cluster_terms', {
  cluster: text('cluster').primaryKey(),
  term: bigint('term', { mode: 'number' }).notNull(),
});
