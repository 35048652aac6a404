import { afterAll, beforeAll, expect, test } from 'vitest';
import { addDropped } from '../../src/db/write/harvest.ts';
import { actionTest, freshJobs, type ActionTest } from '../support/actions.ts';

let at: ActionTest;
beforeAll(async () => { at = await actionTest(); });
afterAll(() => at.db.drop());

test('what a job dropped is counted by reason, and in all as far as the number goes, so that no file keeps others from being read', async () => {
  const jobId = (await freshJobs(at, 1))();
  const drop = (...counts: number[]) => at.db.database.transaction((transaction) => addDropped(transaction, counts.map((count, index) => ({ jobId, reason: `reason ${index}`, count }))));
  const total = async () => (await at.db.pool.query('select dropped_line_count from jobs where id = $1', [jobId])).rows[0].dropped_line_count;
  await drop(3, 4);
  expect(await total()).toBe(7);
  await drop(2_000_000_000, 2_000_000_000);
  await drop(1);
  expect(await total()).toBe(2_147_483_647);
  expect((await at.db.pool.query('select reason, count::float8 from dropped_items where job_id = $1 order by reason', [jobId])).rows).toEqual([
    { reason: 'reason 0', count: 2_000_000_004 }, { reason: 'reason 1', count: 2_000_000_004 }]);
});
