import { bigint, index, integer, pgTable, primaryKey, text, unique, uuid } from 'drizzle-orm/pg-core';
import type { CheckpointState } from '../../domain/checkpoint-scan.ts';
import { moment } from './columns.ts';
import { jobs } from './jobs.ts';

/** A saved model: one file, or a directory that counts as one. */
export const checkpoints = pgTable('checkpoints', {
  jobId: uuid('job_id').notNull().references(() => jobs.id),
  /** Absolute path on the cluster. */
  path: text('path').notNull(),
  id: uuid('id').notNull(),
  attemptNumber: integer('attempt_number').notNull(),
  state: text('state').$type<CheckpointState>().notNull(),
  step: bigint('step', { mode: 'number' }),
  epoch: integer('epoch'),
  sizeBytes: bigint('size_bytes', { mode: 'number' }).notNull(),
  fileCount: integer('file_count').notNull(),
  /** `last`, `best`: what links or file names call it. */
  aliases: text('aliases').array().notNull().default([]),
  writtenAt: moment('written_at').notNull(),
}, (table) => [
  primaryKey({ columns: [table.jobId, table.path] }),
  unique('checkpoints_id').on(table.id),
  index('checkpoints_step').on(table.jobId, table.step),
]);
