import { sql } from 'drizzle-orm';
import { bigint, doublePrecision, index, integer, pgTable, primaryKey, text, unique, uuid } from 'drizzle-orm/pg-core';
import type { AttemptState } from '../../domain/states.ts';
import { batches } from './batches.ts';
import { moment } from './columns.ts';
import { jobs } from './jobs.ts';

/** One execution of a job. */
export const attempts = pgTable('attempts', {
  jobId: uuid('job_id').notNull().references(() => jobs.id),
  number: integer('number').notNull(),
  id: uuid('id').notNull(),
  cluster: text('cluster').notNull(),
  batchId: uuid('batch_id').notNull().references(() => batches.id),
  /** Index of the array task inside the batch; 0 for a batch of one. */
  taskIndex: integer('task_index').notNull(),
  /** How often SLURM had put the job back into its queue before this attempt: attempts of one submission share its id. */
  restart: integer('restart').notNull().default(0),
  state: text('state').$type<AttemptState>().notNull(),
  reason: text('reason'),
  /** What became of further executions of it that turned up, in words, a line each; null when none did. */
  note: text('note'),
  /** `123` or `123_4`; on the local executor `pid.startTicks`. */
  slurmJobId: text('slurm_job_id'),
  nodeList: text('node_list'),
  exitCode: integer('exit_code'),
  signal: integer('signal'),
  submittedAt: moment('submitted_at').notNull().defaultNow(),
  /** When the cluster expects to start it; null where it does not say, and once it has started. */
  estimatedStartAt: moment('estimated_start_at'),
  /** While it waits for jobs of higher priority: how many there were when the cluster was last asked. Null where that is not known. */
  jobsAhead: integer('jobs_ahead'),
  startedAt: moment('started_at'),
  finishedAt: moment('finished_at'),
  elapsedSeconds: doublePrecision('elapsed_seconds'),
  maxRssBytes: bigint('max_rss_bytes', { mode: 'number' }),
  /** GPUs x elapsed seconds. */
  gpuSeconds: doublePrecision('gpu_seconds'),
  stdoutPath: text('stdout_path'),
  stderrPath: text('stderr_path'),
  /** The end of standard output and of standard error, at most LOG_TAIL_BYTES each. */
  stdoutTail: text('stdout_tail'),
  stderrTail: text('stderr_tail'),
  /** What the job's error.txt says, at most LOG_TAIL_BYTES. */
  errorText: text('error_text'),
}, (table) => [
  primaryKey({ columns: [table.jobId, table.number] }),
  unique('attempts_id').on(table.id),
  unique('attempts_batch_task').on(table.batchId, table.taskIndex, table.restart),
  index('attempts_active').on(table.cluster)
    .where(sql`state in ('SUBMITTING', 'PENDING', 'CONFIGURING', 'RUNNING', 'SUSPENDED', 'COMPLETING')`),
  index('attempts_slurm_job').on(table.cluster, table.slurmJobId),
]);
