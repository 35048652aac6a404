/** The emergency brake on jobs that no cluster has yet. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cancelJobs } from '../../src/actions/cancel-jobs.ts';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import { actionTest, smallSweep, type ActionTest } from '../support/actions.ts';
import { statementsOf } from '../support/statements.ts';

const JOBS = 10_000;
const MAX_STATEMENTS = 10;

let at: ActionTest;
beforeAll(async () => {
  at = await actionTest();
  await submitSweep(at.context, smallSweep({ space: { grid: [{ key: 'n', values: Array.from({ length: JOBS }, (_, index) => index) }] } }));
}, 120_000);
afterAll(() => at?.db.drop());

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
