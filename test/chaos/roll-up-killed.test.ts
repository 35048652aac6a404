/** The server is killed while it rolls up a history: what should stay stays, the summaries stay exact, and the next life finishes it as though nothing had been. */
import { stringify } from 'yaml';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writePoints } from '../../src/db/write/metrics.ts';
import { rollUpDue } from '../../src/reconcilers/roll-up.ts';
import { ensureBuilt } from '../cli/built.ts';
import { seedExperiment, seedJobs } from '../graphql/fixture.ts';
import { silent } from '../reconcilers/fake-cluster.ts';
import { until } from '../rig/processes.ts';
import { testDatabase, type TestDatabase } from '../support/database.ts';
import { openVictim, type Victim } from './victim.ts';

const DEADLINE_MS = 120_000;
/** Several transactions. */
const STEPS = 110_000;
const SHORTER_STEPS = 20_000;
const CHECKPOINT_STEPS = [1_234, 55_555, 105_555];

let db: TestDatabase;
let victim: Victim;
/** Two jobs with the same history: of one the server is killed while it rolls it up, of the other nothing disturbs it. */
let killed: string;
let undisturbed: string;
beforeAll(async () => {
  await ensureBuilt();
  db = await testDatabase();
  victim = await openVictim(db.url, stringify({ clusters: { here: { kind: 'local' } } }));
  killed = await seedJob('killed');
  undisturbed = await seedJob('undisturbed');
}, DEADLINE_MS);
afterAll(async () => {
  await victim?.remove();
  await db?.drop();
}, DEADLINE_MS);

async function seedJob(project: string): Promise<string> {
  const experimentId = await seedExperiment(db, { project });
  const [jobId] = await seedJobs(db, experimentId, [{
    cluster: 'here', state: 'COMPLETED', finishedAt: new Date(Date.now() - 30 * 86_400_000), attempts: [{}, {}],
    checkpoints: CHECKPOINT_STEPS.map((step) => ({ step })),
  }]) as [string];
  await db.pool.query('update jobs set harvested_at = finished_at where id = $1', [jobId]);
  const column = (from: number, end: number, attempt: number) => {
    const steps = Array.from({ length: end - from }, (_, index) => from + index);
    return { steps, values: steps.map((step) => (step % 9_973 === 5 ? Number.NaN : (step * 7_919 + attempt) % 1_000)), times: steps.map((step) => 1.76e12 + step) };
  };
  // The second attempt logged some steps again.
  for (const [attempt, from, end] of [[1, 0, STEPS], [2, STEPS - 10_000, STEPS + 10_000]] as const) {
    await db.database.transaction((transaction) => writePoints(transaction, [{ jobId, attemptNumber: attempt, series: [
      { key: 'loss', ...column(from, end, attempt) }, ...(attempt === 1 ? [{ key: 'val/loss', ...column(0, SHORTER_STEPS, 1) }, { key: 'short', ...column(0, 1_000, 1) }] : [])] }]));
  }
  return jobId;
}

const summariesOf = async (jobId: string) => (await db.pool.query(`select key, point_count, last_step, last_value, last_time, min_step, min_value, min_time, max_step, max_value, max_time
  from metric_series where job_id = $1 order by key`, [jobId])).rows;
const bucketsOf = async (jobId: string) => (await db.pool.query(`select series_number, level, bucket, point_count, finite_count, value_sum, least, greatest, non_finite
  from metric_buckets where job_id = $1 order by series_number, level, bucket`, [jobId])).rows;
/** How many points of a job another one does not have. */
const missing = async (jobId: string, of: string): Promise<number> => (await db.pool.query<{ count: number }>(`select count(*)::int as count from (
  select series_number, step, attempt_number, value, time from metric_points where job_id = $2 except select series_number, step, attempt_number, value, time from metric_points where job_id = $1) as lost`,
[jobId, of])).rows[0]!.count;
const countOf = async (jobId: string): Promise<number> => (await db.pool.query<{ count: number }>('select count(*)::int as count from metric_points where job_id = $1', [jobId])).rows[0]!.count;
const isDone = async (): Promise<boolean> => (await db.pool.query('select from jobs where id = $1 and rolled_up_at is not null', [killed])).rowCount === 1;
const retain = (project: string) => db.pool.query('insert into projects (name, exact_days, points_per_series) values ($1, 7, 1000)', [project]);

test('a server that is killed while it rolls up a history loses nothing that should stay, and finishes when it runs again', async () => {
  const summaries = await summariesOf(killed);
  const all = await countOf(killed);
  await retain('undisturbed');
  while (await rollUpDue(db.database, silent, DEADLINE_MS));
  const final = await countOf(undisturbed);
  expect(final).toBeLessThan(all / 4);
  await retain('killed');

  const expectNothingLost = async (): Promise<number> => {
    expect(await summariesOf(killed)).toEqual(summaries);
    expect(await missing(killed, undisturbed)).toBe(0);
    return countOf(killed);
  };
  await victim.start('roll-up-before-commit');
  expect(await victim.died()).toBe('SIGKILL');
  expect(await expectNothingLost()).toBe(all);
  await victim.start('roll-up-after-commit');
  expect(await victim.died()).toBe('SIGKILL');
  const begun = await expectNothingLost();
  expect(begun).toBeLessThan(all);
  expect(begun).toBeGreaterThan(final);
  // And at any moment of the rest.
  await victim.start();
  await until('another part to be rolled up', DEADLINE_MS, async () => await countOf(killed) < begun);
  await victim.kill();
  await expectNothingLost();

  await victim.start();
  await until('the rest to be rolled up', DEADLINE_MS, isDone);
  expect([await missing(killed, undisturbed), await missing(undisturbed, killed)]).toEqual([0, 0]);
  expect(await bucketsOf(killed)).toEqual(await bucketsOf(undisturbed));
  expect(await summariesOf(killed)).toEqual(summaries);
  const { job } = await victim.request('query ($id: ID!) { job(id: $id) { metrics(maxPoints: 100) { key pointCount sampled rolledUpBelowStep } } }', { id: killed });
  expect(job.metrics).toEqual([
    { key: 'loss', pointCount: STEPS + 10_000, sampled: true, rolledUpBelowStep: expect.any(Number) }, { key: 'short', pointCount: 1_000, sampled: true, rolledUpBelowStep: null },
    { key: 'val/loss', pointCount: SHORTER_STEPS, sampled: true, rolledUpBelowStep: expect.any(Number) },
  ]);
}, 4 * DEADLINE_MS);
