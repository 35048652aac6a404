import { sql } from 'drizzle-orm';
import { bigint, boolean, doublePrecision, index, integer, pgTable, primaryKey, smallint, text, uuid } from 'drizzle-orm/pg-core';
import type { JsonObject } from '../../domain/job-spec.ts';
import type { ReaderName } from '../../domain/readers/reader.ts';
import { json, moment } from './columns.ts';
import { jobs } from './jobs.ts';

/** One metric of one job, with an exact summary of its points (NaN and infinities are counted, not summarised). */
export const metricSeries = pgTable('metric_series', {
  jobId: uuid('job_id').notNull().references(() => jobs.id),
  key: text('key').notNull(),
  /** Number of the series inside its job, 1, 2, ...: what the points carry instead of the key. */
  seriesNumber: integer('series_number').notNull(),
  pointCount: bigint('point_count', { mode: 'number' }).notNull().default(0),
  lastStep: bigint('last_step', { mode: 'number' }),
  lastValue: doublePrecision('last_value'),
  lastTime: moment('last_time'),
  minStep: bigint('min_step', { mode: 'number' }),
  minValue: doublePrecision('min_value'),
  minTime: moment('min_time'),
  maxStep: bigint('max_step', { mode: 'number' }),
  maxValue: doublePrecision('max_value'),
  maxTime: moment('max_time'),
  /** Steps in a bucket of level 0, as a power of two; null while the series is too short for buckets. */
  bucketShift: smallint('bucket_shift'),
  /** All points at steps below this are in the buckets; null without buckets. */
  bucketedBelowStep: bigint('bucketed_below_step', { mode: 'number' }),
  /** Of the steps below this, only the extremes of each bucket of `rolled_up_level` are left, and no bucket below that level; null: every point is there. */
  rolledUpBelowStep: bigint('rolled_up_below_step', { mode: 'number' }),
  rolledUpLevel: smallint('rolled_up_level'),
}, (table) => [
  primaryKey({ columns: [table.jobId, table.key] }),
  index('metric_series_key_last').on(table.key, table.lastValue),
  index('metric_series_rolled_up').on(table.jobId).where(sql`rolled_up_below_step is not null`),
]);

/**
 * One value of one series at one step, as one attempt logged it. Where two attempts logged the same step (a resumed run),
 * the later attempt's value is the series' value and the earlier one stays readable. Partitioned by hash of the job.
 */
export const metricPoints = pgTable('metric_points', {
  jobId: uuid('job_id').notNull(),
  seriesNumber: integer('series_number').notNull(),
  step: bigint('step', { mode: 'number' }).notNull(),
  attemptNumber: integer('attempt_number').notNull(),
  /** NaN and infinities are stored as they are. */
  value: doublePrecision('value').notNull(),
  time: moment('time').notNull(),
}, (table) => [primaryKey({ columns: [table.jobId, table.seriesNumber, table.step, table.attemptNumber] })]);

/**
 * What a long series looks like from afar, so that a chart costs the same however long the series is. A bucket of level n holds the
 * points whose step shifted right by `bucket_shift + 2 n` is its number, each step once, the later attempt's value. Partitioned by hash of the job.
 * A point is an array of value, step and time in milliseconds since 1970.
 */
export const metricBuckets = pgTable('metric_buckets', {
  jobId: uuid('job_id').notNull(),
  seriesNumber: integer('series_number').notNull(),
  level: smallint('level').notNull(),
  bucket: bigint('bucket', { mode: 'number' }).notNull(),
  pointCount: bigint('point_count', { mode: 'number' }).notNull(),
  /** How many of them are neither NaN nor infinite: what `value_sum` adds up, for the mean. */
  finiteCount: bigint('finite_count', { mode: 'number' }).notNull(),
  valueSum: doublePrecision('value_sum'),
  /** The first of the points with the least value, and with the greatest; null where none is finite. */
  least: doublePrecision('least').array(),
  greatest: doublePrecision('greatest').array(),
  /** A point that is NaN or infinite, if there is one. */
  nonFinite: doublePrecision('non_finite').array(),
}, (table) => [primaryKey({ columns: [table.jobId, table.seriesNumber, table.level, table.bucket] })]);

/** How far a file of a job was read. */
export const fileCursors = pgTable('file_cursors', {
  jobId: uuid('job_id').notNull(),
  path: text('path').notNull(),
  /** Bytes taken in: just after a newline, unless `skipping`. */
  offsetBytes: bigint('offset_bytes', { mode: 'number' }).notNull(),
  /** Inode of the file that was read: another one means that the file was replaced and is read anew. */
  inode: text('inode').notNull(),
  /** Steps given so far to lines that name none. */
  nextStep: bigint('next_step', { mode: 'number' }).notNull().default(0),
  /** Whether the offset lies inside an over-long line, whose rest is to be passed over. */
  skipping: boolean('skipping').notNull().default(false),
  /** What the reader of the file remembers of it. */
  memory: json<JsonObject>('memory'),
  /** Digest of the bytes just before the offset: others there mean that the file was emptied and written anew. */
  overlapDigest: text('overlap_digest'),
}, (table) => [primaryKey({ columns: [table.jobId, table.path] })]);

/**
 * Which kind of file a metric of a job is read from, for those that neither `metrics.jsonl` nor a call of ours brought: the same key in
 * another kind of file is then the same measurement again, and left out.
 */
export const seriesReaders = pgTable('series_readers', {
  jobId: uuid('job_id').notNull(),
  key: text('key').notNull(),
  reader: text('reader').$type<ReaderName>().notNull(),
}, (table) => [primaryKey({ columns: [table.jobId, table.key] })]);

/** What could not be read in the files of a job, by reason. */
export const droppedItems = pgTable('dropped_items', {
  jobId: uuid('job_id').notNull(),
  /** Names the kind of file, never a single one: few for each job. */
  reason: text('reason').notNull(),
  count: bigint('count', { mode: 'number' }).notNull(),
  lastAt: moment('last_at').notNull(),
}, (table) => [primaryKey({ columns: [table.jobId, table.reason] })]);
