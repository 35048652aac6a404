/** Reads of the log, in order. */
import { and, asc, gt, sql, type SQL } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';
import type { EventCondition, LoggedEvent } from '../../domain/events.ts';
import type { Reader } from '../database.ts';
import { events } from '../tables/index.ts';
import { textIn, uuidIn } from './job-filter.ts';
import { onlyUuids } from './uuid.ts';

/**
 * The first events after a cursor that meet the condition, at most `limit`. Where the condition names jobs, sweeps or experiments,
 * the events of others are not read.
 */
export async function readEventsAfter(reader: Reader, seq: number, limit: number, condition: EventCondition = {}): Promise<LoggedEvent[]> {
  const { experimentIds, sweepIds, jobIds, kinds } = condition;
  const page = (belongs?: SQL) => reader.select().from(events).where(and(
    gt(events.seq, seq), belongs, uuidIn(events.jobId, jobIds), uuidIn(events.sweepId, sweepIds), uuidIn(events.experimentId, experimentIds), textIn(events.kind, kinds),
  )).orderBy(asc(events.seq)).limit(limit);
  const index = narrowestIndex(condition);
  // Every row was appended as a NewEvent, whose kind and payload belong together.
  if (index === null) return await page() as unknown as LoggedEvent[];
  // Id by id: for a list of them the planner would rather walk through the whole log.
  const each = page(sql`${index.column} = wanted.id`).as('each');
  const { at, kind, experimentId, sweepId, jobId, attemptNumber, payload } = each;
  const rows = await reader.select({ seq: each.seq, at, kind, experimentId, sweepId, jobId, attemptNumber, payload })
    .from(sql`unnest(${sql.param(onlyUuids([...new Set(index.ids.map((id) => id.toLowerCase()))]))}::uuid[]) as wanted(id)`).crossJoinLateral(each).orderBy(asc(each.seq)).limit(limit);
  return rows as unknown as LoggedEvent[];
}

/** The sequence number of the newest event; 0 when there is none. */
export async function readNewestSeq(reader: Reader): Promise<number> {
  const { rows } = await reader.execute<{ seq: string }>(sql`select coalesce(max(seq), 0) as seq from events`);
  return Number(rows[0]?.seq ?? 0);
}

/** The index with the fewest events for an id of the condition; null where it names no ids. */
function narrowestIndex({ experimentIds, sweepIds, jobIds }: EventCondition): { column: PgColumn; ids: readonly string[] } | null {
  if (jobIds !== undefined) return { column: events.jobId, ids: jobIds };
  if (sweepIds !== undefined) return { column: events.sweepId, ids: sweepIds };
  return experimentIds === undefined ? null : { column: events.experimentId, ids: experimentIds };
}
