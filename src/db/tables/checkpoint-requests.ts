import { sql } from 'drizzle-orm';
import { bigint, boolean, index, integer, pgTable, primaryKey, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import type { CheckpointAction, CheckpointItemState, CheckpointPlace } from '../../domain/checkpoint-requests/request.ts';
import type { Resources } from '../../domain/job-spec.ts';
import { json, moment } from './columns.ts';
import { jobs } from './jobs.ts';

/** What somebody asked for on checkpoints, all at once. */
export const checkpointRequests = pgTable('checkpoint_requests', {
  id: uuid('id').primaryKey(),
  action: text('action').$type<CheckpointAction>().notNull(),
  place: text('place').$type<CheckpointPlace>().notNull(),
  /** Of its SLURM jobs, as asked: the defaults of a cluster fill it up. */
  resources: json<Partial<Resources>>('resources').notNull().default({}),
  requestedBy: text('requested_by').notNull(),
  createdAt: moment('created_at').notNull().defaultNow(),
}, (table) => [index('checkpoint_requests_created').on(table.createdAt, table.id)]);

/** A request on one checkpoint. */
export const checkpointRequestItems = pgTable('checkpoint_request_items', {
  jobId: uuid('job_id').notNull().references(() => jobs.id),
  checkpointId: uuid('checkpoint_id').notNull(),
  requestId: uuid('request_id').notNull().references(() => checkpointRequests.id),
  /** As of the request. */
  action: text('action').$type<CheckpointAction>().notNull(),
  cluster: text('cluster').notNull(),
  state: text('state').$type<CheckpointItemState>().notNull(),
  /** Why it failed, or what it waits for; in words. */
  problem: text('problem'),
  /** Runs that began with it. */
  tries: integer('tries').notNull().default(0),
  /** What it is made of, as seen by the first run: names in its folder. Null before that. */
  members: json<string[]>('members'),
  /** It is a file, not a folder or several files. */
  isOneFile: boolean('is_one_file'),
  /** What was recorded of the checkpoint when somebody asked: what is anything else by now is left as it is. */
  sizeBytes: bigint('size_bytes', { mode: 'number' }).notNull(),
  fileCount: integer('file_count').notNull(),
  writtenAt: moment('written_at').notNull(),
  /** By how much less there is on disk; null while it is not done. */
  freedBytes: bigint('freed_bytes', { mode: 'number' }),
  /** The SLURM job that has it. */
  runId: uuid('run_id'),
  changedAt: moment('changed_at').notNull().defaultNow(),
}, (table) => [
  primaryKey({ columns: [table.jobId, table.checkpointId, table.requestId] }),
  index('checkpoint_request_items_request').on(table.requestId, table.state),
  index('checkpoint_request_items_open').on(table.cluster, table.requestId).where(sql`state in ('PENDING', 'RUNNING')`),
  uniqueIndex('checkpoint_request_items_one_open').on(table.checkpointId).where(sql`state in ('PENDING', 'RUNNING')`),
]);

/** A SLURM job that works on checkpoints. */
export const checkpointRuns = pgTable('checkpoint_runs', {
  id: uuid('id').primaryKey(),
  cluster: text('cluster').notNull(),
  /** The SLURM job name. */
  token: text('token').notNull(),
  /** Null while the answer to the submission is not known. */
  slurmJobId: text('slurm_job_id'),
  submittedAt: moment('submitted_at').notNull().defaultNow(),
  endedAt: moment('ended_at'),
}, (table) => [index('checkpoint_runs_open').on(table.cluster).where(sql`ended_at is null`)]);
