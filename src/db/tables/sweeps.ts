import { index, integer, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import type { JsonObject } from '../../domain/job-spec.ts';
import { json, moment } from './columns.ts';
import { experiments } from './experiments.ts';

/** One search space expanded into jobs. */
export const sweeps = pgTable('sweeps', {
  id: uuid('id').primaryKey(),
  experimentId: uuid('experiment_id').notNull().references(() => experiments.id),
  name: text('name').notNull(),
  /** The space as it was asked for, with the recorded seed of the random draws. */
  space: json<JsonObject>('space').notNull(),
  strategy: text('strategy').notNull(),
  jobCount: integer('job_count').notNull(),
  createdAt: moment('created_at').notNull().defaultNow(),
}, (table) => [index('sweeps_experiment').on(table.experimentId, table.createdAt)]);
