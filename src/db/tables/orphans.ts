import { boolean, index, integer, pgTable, text, unique, uuid } from 'drizzle-orm/pg-core';
import type { OrphanKind, OrphanWish } from '../../domain/orphan.ts';
import type { AttemptState } from '../../domain/states.ts';
import { moment } from './columns.ts';

/** Where cluster and database disagree at present. Written by the reconciler, which deletes what has ceased; wishes come from the API. */
export const orphans = pgTable('orphans', {
  id: uuid('id').primaryKey(),
  cluster: text('cluster').notNull(),
  kind: text('kind').$type<OrphanKind>().notNull(),
  /** What tells it from others of its kind: SLURM's id, or job and attempt. */
  key: text('key').notNull(),
  /** The SLURM job name. */
  token: text('token').notNull(),
  /** Of an unknown job the id without a task index. */
  slurmJobId: text('slurm_job_id'),
  state: text('state').$type<AttemptState>().notNull(),
  taskCount: integer('task_count').notNull(),
  nodeList: text('node_list'),
  /** Since when it is an orphan, as far as we know. */
  since: moment('since').notNull(),
  submittedAt: moment('submitted_at'),
  /** Of a missing attempt. */
  jobId: uuid('job_id'),
  attemptNumber: integer('attempt_number'),
  /** Of an unknown job, as its script says. All three null: not read yet. */
  project: text('project'),
  experiment: text('experiment'),
  originProblem: text('origin_problem'),
  /** What is to be done about it, by whom it is wished, and why the last wish came to nothing. */
  wish: text('wish').$type<OrphanWish>(),
  wishedBy: text('wished_by'),
  wishProblem: text('wish_problem'),
  ignored: boolean('ignored').notNull().default(false),
}, (table) => [
  unique('orphans_key').on(table.cluster, table.kind, table.key),
  index('orphans_since').on(table.since, table.id),
]);
