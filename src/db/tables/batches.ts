import { index, integer, pgTable, text, unique, uuid } from 'drizzle-orm/pg-core';
import { moment } from './columns.ts';

export const BATCH_STATES = ['SUBMITTING', 'SUBMITTED', 'REFUSED', 'ABANDONED'] as const;
/**
 * SUBMITTING: sent or about to be sent, the answer is not known. SUBMITTED: the cluster has it. REFUSED: the cluster said
 * no (see `error`). ABANDONED: looked up after the grace period and not there; its jobs went back to the queue.
 */
export type BatchState = (typeof BATCH_STATES)[number];

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
}, (table) => [
  unique('batches_token').on(table.token),
  index('batches_submitted').on(table.submittedAt, table.id),
  index('batches_open').on(table.cluster, table.state),
]);
