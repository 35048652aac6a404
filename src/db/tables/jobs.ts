import { sql } from 'drizzle-orm';
import { boolean, index, integer, pgTable, text, unique, uuid, type AnyPgColumn } from 'drizzle-orm/pg-core';
import type { JsonObject, Resources } from '../../domain/job-spec.ts';
import type { RetryCounts } from '../../domain/retry-decision.ts';
import type { RetryRule } from '../../domain/retry-policy.ts';
import type { JobState } from '../../domain/states.ts';
import { json, moment } from './columns.ts';
import { experiments } from './experiments.ts';
import { sweeps } from './sweeps.ts';

/** One training run with one configuration. */
export const jobs = pgTable('jobs', {
  id: uuid('id').primaryKey(),
  experimentId: uuid('experiment_id').notNull().references(() => experiments.id),
  sweepId: uuid('sweep_id').references(() => sweeps.id),
  name: text('name').notNull(),
  config: json<JsonObject>('config').notNull(),
  /** Hash of command, configuration, environment, working directory and code version. */
  fingerprint: text('fingerprint').notNull(),
  /** 0 for the first job of a fingerprint in an experiment, then 1, 2, ... for RUN_AGAIN. */
  repetition: integer('repetition').notNull().default(0),
  tags: text('tags').array().notNull().default([]),
  /** 0-1000, higher first. */
  priority: integer('priority').notNull(),
  state: text('state').$type<JobState>().notNull(),
  /** Why pending, why failed, in words. */
  stateReason: text('state_reason'),
  cluster: text('cluster').notNull(),
  command: json<string[]>('command').notNull(),
  environment: json<Record<string, string>>('environment').notNull(),
  workingDirectory: text('working_directory'),
  codeVersion: text('code_version'),
  resources: json<Resources>('resources').notNull(),
  /** `laneKey` of the resources: what the limits of a site go by. */
  lane: text('lane').notNull().generatedAlwaysAs(
    sql`coalesce(resources->>'partition', '') || '|' || coalesce(resources->>'account', '') || '|' || coalesce(resources->>'qos', '')`),
  /** The job directory on the cluster, absolute. */
  storagePath: text('storage_path').notNull(),
  /** Number of the newest attempt, 0 before the first. */
  attemptCount: integer('attempt_count').notNull().default(0),
  /** Wishes that the reconcilers carry out on the cluster. */
  cancelRequested: boolean('cancel_requested').notNull().default(false),
  holdRequested: boolean('hold_requested').notNull().default(false),
  /** What the cluster was last told: true after it took the hold, false after it took the release. */
  heldOnCluster: boolean('held_on_cluster').notNull().default(false),
  /** The job whose configuration was changed to make this one. */
  retryOf: uuid('retry_of').references((): AnyPgColumn => jobs.id),
  /** It stays in our queue until then. */
  notBefore: moment('not_before'),
  /** Null: the policy of the site. */
  retryPolicy: json<RetryRule[]>('retry_policy'),
  /** Automatic retries that this job and those it came from have behind them, by class of failure. */
  retryCounts: json<RetryCounts>('retry_counts').notNull().default({}),
  /** The newest attempt about whose failure it was decided whether to try again. */
  retryDecidedFor: integer('retry_decided_for').notNull().default(0),
  submittedBy: text('submitted_by').notNull(),
  /** Metric or event lines that could not be read, and why the last one could not. */
  droppedLineCount: integer('dropped_line_count').notNull().default(0),
  lastDroppedLineReason: text('last_dropped_line_reason'),
  /** Files in its directory that are not looked at, because there are too many. */
  unlistedFileCount: integer('unlisted_file_count').notNull().default(0),
  createdAt: moment('created_at').notNull().defaultNow(),
  startedAt: moment('started_at'),
  finishedAt: moment('finished_at'),
  /** When its files were last read to the end after it finished; null while there may be more to read. */
  harvestedAt: moment('harvested_at'),
  /** When its long metrics were rolled up, as the retention of its project says; null where points came since, and from before `finished_at` where it ran again since. */
  rolledUpAt: moment('rolled_up_at'),
}, (table) => [
  unique('jobs_fingerprint').on(table.experimentId, table.fingerprint, table.repetition),
  index('jobs_queue').on(table.cluster, table.lane, table.priority.desc(), table.id).where(sql`state = 'QUEUED'`),
  index('jobs_active').on(table.cluster).where(sql`state in ('SUBMITTING', 'PENDING', 'RUNNING')`),
  index('jobs_settling').on(table.cluster).where(sql`finished_at is not null and harvested_at is null`),
  index('jobs_exact').on(table.experimentId, table.finishedAt).where(sql`harvested_at is not null and (rolled_up_at is null or rolled_up_at < finished_at)`),
  index('jobs_undecided').on(table.cluster, table.id).where(sql`state = 'FAILED' and retry_decided_for < attempt_count`),
  index('jobs_retry_of').on(table.retryOf).where(sql`retry_of is not null`),
  index('jobs_experiment').on(table.experimentId, table.createdAt, table.id),
  index('jobs_sweep').on(table.sweepId, table.state),
  index('jobs_created').on(table.createdAt, table.id),
  index('jobs_tags').using('gin', table.tags),
  index('jobs_config').using('gin', sql`${table.config} jsonb_path_ops`),
]);
