/** What a subscriber must have been told, whatever happened meanwhile. */
import { expect } from 'vitest';
import type { TestDatabase } from '../support/database.ts';
import type { StateEvent } from './victim.ts';

/** Every event of the log once and in order, and each job's changes joining up without a gap. */
export async function expectWholeStory({ pool }: TestDatabase, events: StateEvent[]): Promise<void> {
  const { rows } = await pool.query<{ seq: string }>("select seq from events where kind = 'JOB_STATE_CHANGED' order by seq");
  expect(events.map(({ cursor }) => cursor)).toEqual(rows.map(({ seq }) => seq));
  const states = new Map<string, string | null>();
  for (const { job, fromState, toState } of events) {
    expect(fromState, `job ${job.id} before ${toState}`).toBe(states.get(job.id) ?? null);
    states.set(job.id, toState);
  }
}
