import { sql } from 'drizzle-orm';
import { bigint, boolean, doublePrecision, index, integer, pgTable, primaryKey, text, unique, uuid } from 'drizzle-orm/pg-core';
import type { CheckpointLayout, PositionConfidence, PositionSource } from '../../domain/checkpoint-layouts/layout.ts';
import type { CheckpointState } from '../../domain/checkpoint-scan.ts';
import { json, moment } from './columns.ts';
import { jobs } from './jobs.ts';

/** An archive of an earlier content of a checkpoint. */
export interface EarlierArchive {
  /** Absolute path on the cluster. */
  path: string;
  bytes: number;
  /** As ISO 8601. */
  archivedAt: string;
}

/** A saved model: one file, or a directory that counts as one. */
export const checkpoints = pgTable('checkpoints', {
  jobId: uuid('job_id').notNull().references(() => jobs.id),
  /** Absolute path on the cluster. */
  path: text('path').notNull(),
  id: uuid('id').notNull(),
  attemptNumber: integer('attempt_number').notNull(),
  state: text('state').$type<CheckpointState>().notNull(),
  /** As which it was recognised; null while it was not seen on disk. */
  layout: text('layout').$type<CheckpointLayout>(),
  step: bigint('step', { mode: 'number' }),
  stepSource: text('step_source').$type<PositionSource>(),
  stepConfidence: text('step_confidence').$type<PositionConfidence>(),
  /** Some frameworks count parts of epochs. */
  epoch: doublePrecision('epoch'),
  epochSource: text('epoch_source').$type<PositionSource>(),
  epochConfidence: text('epoch_confidence').$type<PositionConfidence>(),
  /** What the job said were its metrics: these beat what was logged at or before its step. */
  loggedMetrics: json<Record<string, number>>('logged_metrics'),
  /** The job or a call said that this is a checkpoint; others are found by their names. */
  isDeclared: boolean('is_declared').notNull().default(false),
  sizeBytes: bigint('size_bytes', { mode: 'number' }).notNull(),
  fileCount: integer('file_count').notNull(),
  /** `last`, `best`: what links or file names call it. */
  aliases: text('aliases').array().notNull().default([]),
  writtenAt: moment('written_at').notNull(),
  /** Of an ARCHIVED one: where its archive lies, how large that is, and since when. */
  archivePath: text('archive_path'),
  archiveBytes: bigint('archive_bytes', { mode: 'number' }),
  archivedAt: moment('archived_at'),
  /** Archives of what lay at its path before it was written anew, oldest first: expgraph leaves them where they are. */
  earlierArchives: json<EarlierArchive[]>('earlier_archives').notNull().default([]),
  /** SHA-256 of its content, in hex; null where nobody asked for it. */
  contentDigest: text('content_digest'),
}, (table) => [
  primaryKey({ columns: [table.jobId, table.path] }),
  unique('checkpoints_id').on(table.id),
  index('checkpoints_step').on(table.jobId, table.step),
  index('checkpoints_logged_metrics').on(table.jobId).where(sql`logged_metrics is not null`),
]);
