/** The emergency brake on jobs that no cluster has yet. */
import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cancelJobs } from '../../src/actions/cancel-jobs.ts';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import { actionTest, smallSweep, type ActionTest } from '../support/actions.ts';

const JOBS = 10_000;
const MAX_STATEMENTS = 10;

let at: ActionTest;
beforeAll(async () => {
  at = await actionTest();
  await submitSweep(at.context, smallSweep({ space: { grid: [{ key: 'n', values: Array.from({ length: JOBS }, (_, index) => index) }] } }));
}, 120_000);
afterAll(() => at?.db.drop());

/** How many statements the work sends to the database, on whichever connection. */
async function statementsOf(pool: pg.Pool, work: () => Promise<unknown>): Promise<number> {
  let statements = 0;
  const counted = new Map<pg.PoolClient, pg.PoolClient['query']>();
  const count = (client: pg.PoolClient): void => {
    if (counted.has(client)) return;
    const original = client.query;
    counted.set(client, original);
    client.query = ((...args: unknown[]) => {
      statements += 1;
      return Reflect.apply(original, client, args);
    }) as never;
  };
  pool.on('acquire', count);
  try {
    await work();
  } finally {
    pool.off('acquire', count);
    for (const [client, original] of counted) client.query = original;
  }
  return statements;
}

test('10,000 queued jobs are cancelled by a filter in a few statements, each with an event, and no cluster is asked', async () => {
  const filter = { project: 'vision', states: ['QUEUED' as const] };
  const dry = await cancelJobs(at.context, { filter, dryRun: true });
  expect(dry.changedJobIds).toHaveLength(JOBS);
  const { rows: [before] } = await at.db.pool.query('select max(seq)::int as seq from events');
  const statements = await statementsOf(at.db.pool, async () => {
    expect((await cancelJobs(at.context, { filter })).changedJobIds).toHaveLength(JOBS);
  });
  expect(statements).toBeGreaterThan(2);
  expect(statements).toBeLessThanOrEqual(MAX_STATEMENTS);
  const { rows } = await at.db.pool.query(`select state, cancel_requested, count(*)::int from jobs group by 1, 2`);
  expect(rows).toEqual([{ state: 'CANCELLED', cancel_requested: false, count: JOBS }]);
  const { rows: [events] } = await at.db.pool.query(`select count(*)::int from events where seq > $1 and kind = 'JOB_STATE_CHANGED'`, [before.seq]);
  expect(events.count).toBe(JOBS);
}, 60_000);
