import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect } from '../../src/db/connect.ts';
import { pointsOfSeries } from '../../src/db/read/metrics.ts';
import { writePoints } from '../../src/db/write/metrics.ts';
import { actionTest, freshJobs, type ActionTest } from '../support/actions.ts';

const LONG = 200_000;
const SHORT = 300;

let at: ActionTest;
beforeAll(async () => { at = await actionTest(); });
afterAll(() => at.db.drop());

describe('pointsOfSeries', () => {
  test('of a short series reads its points only, also beside a long one of another job', async () => {
    const jobId = (await freshJobs(at, 1))();
    // In the partition of this one, so that all that PostgreSQL has seen of it is one series.
    await at.db.pool.query(`
      with neighbour as (select id from (select gen_random_uuid() as id from generate_series(1, 1000)) as ids, generate_series(0, 7) as remainder
        where satisfies_hash_partition('metric_points'::regclass, 8, remainder, $1::uuid) and satisfies_hash_partition('metric_points'::regclass, 8, remainder, id) limit 1)
      insert into metric_points (job_id, series_number, step, attempt_number, value, time) select id, 1, step, 1, 0.5, now() from neighbour, generate_series(1, $2::int) as step`, [jobId, LONG]);
    await at.db.pool.query('analyze metric_points');
    const steps = Array.from({ length: SHORT }, (_, step) => step);
    await at.db.database.transaction((transaction) => writePoints(transaction, [{ jobId, attemptNumber: 1, series: [
      { key: 'loss', steps, values: steps.map((step) => step % 7), times: steps }] }]));
    const reader = await connect(at.db.url, { max: 1 });
    try {
      const [points] = await pointsOfSeries(reader.database, [{ jobId, seriesNumber: 1 }], 100);
      expect(points!.reduced).toBe(true);
      // Otherwise a session tells its counts a little later.
      await reader.pool.query('select pg_stat_force_next_flush()');
      const { rows: [read] } = await reader.pool.query<{ rows: number }>(`select sum(seq_tup_read)::int as rows from pg_stat_user_tables where relname like 'metric_points%'`);
      expect(read!.rows).toBe(0);
    } finally {
      await reader.close();
    }
  }, 60_000);
});
