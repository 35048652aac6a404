import { index, pgTable, uuid } from 'drizzle-orm/pg-core';
import type { JsonObject } from '../../domain/job-spec.ts';
import { json, moment } from './columns.ts';
import { jobs } from './jobs.ts';

export interface ArtifactRow {
  name: string;
  path: string;
  /** Null for a file outside of the job directory. */
  sizeBytes: number | null;
}

/** What a completed job yielded. */
export const results = pgTable('results', {
  jobId: uuid('job_id').primaryKey().references(() => jobs.id),
  /** Last value of every metric, overlaid with what the job wrote into result.json. */
  metrics: json<JsonObject>('metrics').notNull(),
  artifacts: json<ArtifactRow[]>('artifacts').notNull(),
  finishedAt: moment('finished_at').notNull(),
}, (table) => [index('results_finished').on(table.finishedAt, table.jobId)]);
