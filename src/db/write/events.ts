/** The append-only log. */
import { sql } from 'drizzle-orm';
import type { NewEvent } from '../../domain/events.ts';
import type { Transaction } from '../database.ts';

/** Channel on which an append announces the newest sequence number. */
export const EVENTS_CHANNEL = 'expgraph_events';
/** Key of the advisory lock that puts appends in one order; any number that nobody else takes. */
const APPEND_LOCK_KEY = 7_305_511_002;

/**
 * Appends to the log and wakes whoever listens. Must be the last statement of its transaction: sequence numbers are handed
 * out under a lock held until commit, so that no reader ever sees a number while a smaller one is still to come. Whatever
 * runs after it makes every other writer wait.
 */
export async function appendEvents(transaction: Transaction, events: readonly NewEvent[]): Promise<void> {
  if (events.length === 0) return;
  await transaction.execute(sql`select pg_advisory_xact_lock(${APPEND_LOCK_KEY})`);
  await transaction.execute(sql`
    with appended as (
      insert into events (at, kind, experiment_id, sweep_id, job_id, attempt_number, payload)
      select statement_timestamp(), event.kind, event."experimentId", event."sweepId", event."jobId", event."attemptNumber", event.payload
      from rows from (jsonb_to_recordset(${JSON.stringify(events)}::jsonb)
        as (kind text, "experimentId" uuid, "sweepId" uuid, "jobId" uuid, "attemptNumber" int, payload jsonb)) with ordinality as event
      order by event.ordinality
      returning seq)
    select pg_notify(${EVENTS_CHANNEL}, max(seq)::text) from appended`);
}
