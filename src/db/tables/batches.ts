import { index, integer, pgTable, text, unique, uuid } from 'drizzle-orm/pg-core';
import { json, moment } from './columns.ts';

export const BATCH_STATES = ['SUBMITTING', 'SUBMITTED', 'REFUSED', 'ABANDONED'] as const;
/**
 * SUBMITTING: sent or about to be sent, the answer is not known. SUBMITTED: the cluster has it. REFUSED: the cluster said
 * no (see `error`). ABANDONED: looked up after the grace period and not there; its jobs went back to the queue.
 */
export type BatchState = (typeof BATCH_STATES)[number];

/** A task of a batch that is no attempt's any more. */
export interface FormerTask {
  taskIndex: number;
  jobId: string;
  /** The attempt that it was submitted for. */
  attemptNumber: number;
}

/** What one `sbatch` call submits: one script, one or many array tasks. Shown to users as a submission. */
export const batches = pgTable('batches', {
  id: uuid('id').primaryKey(),
  cluster: text('cluster').notNull(),
  /** The SLURM job name: what an ambiguous submission is looked up by. */
  token: text('token').notNull(),
  state: text('state').$type<BatchState>().notNull(),
  script: text('script').notNull(),
  taskCount: integer('task_count').notNull(),
  /** `123`: the id of the array or of the single job. */
  slurmJobId: text('slurm_job_id'),
  /** What the cluster printed on standard output. */
  answer: text('answer'),
  error: text('error'),
  submittedAt: moment('submitted_at').notNull().defaultNow(),
  answeredAt: moment('answered_at'),
  /**
   * Tasks that went back to our queue, or whose attempt another submission executes: should the cluster have them after all, this says whose
   * they are. Null where there are none.
   */
  formerTasks: json<FormerTask[]>('former_tasks'),
}, (table) => [
  unique('batches_token').on(table.token),
  index('batches_submitted').on(table.submittedAt, table.id),
  index('batches_open').on(table.cluster, table.state),
]);
