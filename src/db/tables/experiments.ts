import { pgTable, text, unique, uuid } from 'drizzle-orm/pg-core';
import type { Goal } from '../../domain/job-spec.ts';
import { moment } from './columns.ts';

/** A named collection of jobs inside a project. */
export const experiments = pgTable('experiments', {
  id: uuid('id').primaryKey(),
  project: text('project').notNull(),
  name: text('name').notNull(),
  description: text('description'),
  tags: text('tags').array().notNull().default([]),
  /** What "best" means here; both null when nobody said. */
  objectiveMetric: text('objective_metric'),
  objectiveGoal: text('objective_goal').$type<Goal>(),
  createdAt: moment('created_at').notNull().defaultNow(),
}, (table) => [unique('experiments_project_name').on(table.project, table.name)]);
