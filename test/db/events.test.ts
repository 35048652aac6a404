import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openFeed } from '../../src/db/feed.ts';
import { readEventsAfter } from '../../src/db/read/events.ts';
import type { EventCondition, LoggedEvent } from '../../src/domain/events.ts';
import { testDatabase, type TestDatabase } from '../support/database.ts';
import { take } from '../support/events.ts';

const FOREIGN = 100_000;
const OURS = 3;
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const [experimentId, sweepId, jobId, otherExperimentId] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
let db: TestDatabase;

/** Our events are the first, so that a walk through the log in either direction would come past all the others. */
beforeAll(async () => {
  db = await testDatabase();
  const append = (count: number, columns: string): Promise<unknown> => db.pool.query(`
    insert into events (kind, experiment_id, sweep_id, job_id, payload)
    select ${columns}, jsonb_build_object('changed', array['tags']) from generate_series(1, ${count}) as n`);
  await append(OURS, `'JOB_UPDATED', '${experimentId}', '${sweepId}', '${jobId}'`);
  await append(FOREIGN, `'JOB_UPDATED', '${otherExperimentId}', gen_random_uuid(), md5((n % 500)::text)::uuid`);
  await append(1, `'JOB_UPDATED', '${experimentId}', '${sweepId}', '${jobId}'`);
}, 120_000);
afterAll(() => db?.drop());

/** A page of the log, and how many rows of the table were read for it. */
async function readCounted(condition: EventCondition): Promise<{ events: LoggedEvent[]; rowsRead: number }> {
  return db.database.transaction(async (transaction) => {
    const rowsRead = async (): Promise<number> => {
      const { rows } = await transaction.execute<{ count: string }>("select seq_tup_read + coalesce(idx_tup_fetch, 0) as count from pg_stat_xact_user_tables where relname = 'events'");
      return Number(rows[0]?.count);
    };
    // What the session has read before may be in the count.
    const before = await rowsRead();
    const events = await readEventsAfter(transaction, 0, 1_000, condition);
    return { events, rowsRead: await rowsRead() - before };
  });
}

test.each<[string, EventCondition]>([
  ['one job', { jobIds: [jobId] }],
  ['some jobs, one named twice in other letters', { jobIds: [jobId, jobId.toUpperCase(), randomUUID(), 'no id'] }],
  ['a sweep and a kind', { sweepIds: [sweepId], kinds: ['JOB_UPDATED'] }],
  ['an experiment', { experimentIds: [experimentId] }],
  ['a job in an experiment', { jobIds: [jobId], experimentIds: [experimentId] }],
])('of a log with 100,000 events of others, only those of %s are read', async (_, condition) => {
  for (const statistics of ['none', 'fresh']) {
    if (statistics === 'fresh') await db.pool.query('analyze events');
    const { events, rowsRead } = await readCounted(condition);
    expect(events.map(({ seq }) => seq)).toEqual([1, 2, 3, FOREIGN + OURS + 1]);
    expect(events[0]).toMatchObject({ kind: 'JOB_UPDATED', at: expect.any(Date), experimentId, sweepId, jobId, attemptNumber: null, payload: { changed: ['tags'] } });
    expect(rowsRead, `with ${statistics} statistics`).toBeLessThanOrEqual(5);
  }
});

test('conditions must all hold, and an empty list matches nothing', async () => {
  for (const condition of [{ jobIds: [] }, { jobIds: [jobId], experimentIds: [otherExperimentId] }, { sweepIds: [sweepId], kinds: ['NOTE'] as const }]) {
    expect((await readCounted(condition)).events).toEqual([]);
  }
});

test('a subscription to one job is not shown the events of others, and comes past them to what happens now', async () => {
  const feed = await openFeed(db, silent);
  let shown = 0;
  const filter = (event: LoggedEvent): boolean => {
    shown += 1;
    return event.jobId === jobId;
  };
  const events = feed.subscribe({ after: 0, filter, condition: { jobIds: [jobId] } });
  expect((await take(events, OURS + 1)).map(({ seq }) => seq)).toEqual([1, 2, 3, FOREIGN + OURS + 1]);
  const next = take(events, 1);
  await db.pool.query(`insert into events (kind, experiment_id, job_id, payload) values ('JOB_UPDATED', '${experimentId}', '${jobId}', '{"changed": []}')`);
  await db.pool.query("select pg_notify('expgraph_events', max(seq)::text) from events");
  expect((await next).map(({ seq }) => seq)).toEqual([FOREIGN + OURS + 2]);
  expect(shown).toBeLessThan(20);
  await feed.close();
});
