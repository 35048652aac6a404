import { integer, pgTable, text } from 'drizzle-orm/pg-core';

/** What was set for a project. A project is there once an experiment names it; one without a row has the defaults. */
export const projects = pgTable('projects', {
  name: text('name').primaryKey(),
  /** Days after the end of a job for which all points of its metrics are kept; null: for ever. */
  exactDays: integer('exact_days'),
  /** About how many points of a long history are left after that. */
  pointsPerSeries: integer('points_per_series').notNull(),
});
