import { bigint, index, integer, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import type { EventKind } from '../../domain/events.ts';
import type { JsonObject } from '../../domain/job-spec.ts';
import { json, moment } from './columns.ts';

/** The append-only log of facts; see domain/events.ts. Rows are appended under a lock, so `seq` follows commit order. */
export const events = pgTable('events', {
  seq: bigint('seq', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
  at: moment('at').notNull().defaultNow(),
  kind: text('kind').$type<EventKind>().notNull(),
  experimentId: uuid('experiment_id').notNull(),
  sweepId: uuid('sweep_id'),
  jobId: uuid('job_id'),
  attemptNumber: integer('attempt_number'),
  payload: json<JsonObject>('payload').notNull(),
}, (table) => [
  index('events_experiment').on(table.experimentId, table.seq),
  index('events_sweep').on(table.sweepId, table.seq),
  index('events_job').on(table.jobId, table.seq),
]);
