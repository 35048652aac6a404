import pino from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { retryJobs } from '../../src/actions/retry-jobs.ts';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import { updateProject } from '../../src/actions/update-project.ts';
import { writePoints } from '../../src/db/write/metrics.ts';
import { rollUpDue, type PassedOver } from '../../src/reconcilers/roll-up.ts';
import { silent } from './fake-cluster.ts';
import { until } from '../rig/processes.ts';
import { actionTest, smallSweep, type ActionTest } from '../support/actions.ts';

const LONG_ENOUGH_MS = 600_000;

let at: ActionTest;
beforeAll(async () => { at = await actionTest(); });
afterAll(() => at.db.drop());

/** Jobs of a project of their own, each with a long history and a short one. */
async function jobsOf(project: string, count: number): Promise<string[]> {
  const { jobs } = await submitSweep(at.context, smallSweep({ project, space: { seeds: { values: Array.from({ length: count }, (_, seed) => seed) } } }));
  const ids = jobs.map(({ jobId }) => jobId!);
  const column = (length: number) => ({ steps: Array.from({ length }, (_, step) => step), values: Array.from({ length }, (_, step) => Math.sin(step / 10)), times: Array.from({ length }, () => 1.76e12) });
  await at.db.database.transaction((transaction) => writePoints(transaction, ids.map((jobId) => ({
    jobId, attemptNumber: 1, series: [{ key: 'loss', ...column(12_000) }, { key: 'val/loss', ...column(100) }] }))));
  return ids;
}

async function end(jobIds: string[], state: string, daysAgo: number, isHarvested = true): Promise<void> {
  await at.db.pool.query(`update jobs set state = $2, finished_at = now() - make_interval(days => $3), harvested_at = case when $4 then now() end where id = any($1)`, [jobIds, state, daysAgo, isHarvested]);
}

const retention = (project: string, exactDays: number | null, dryRun = false) => updateProject(at.context, { project, dryRun, metricRetention: { exactDays, pointsPerSeries: 500 } });

/** How many points each of the jobs has. */
async function countsOf(jobIds: string[]): Promise<number[]> {
  const { rows } = await at.db.pool.query<{ count: number }>('select (select count(*)::int from metric_points where job_id = id) as count from unnest($1::uuid[]) with ordinality as job(id, number) order by number', [jobIds]);
  return rows.map(({ count }) => count);
}

describe('histories are rolled up', () => {
  test('of jobs that ended longer ago than their project keeps every point, and were read to the end; of no others', async () => {
    const jobs = await jobsOf('old', 6);
    const [other] = await jobsOf('kept for ever', 1);
    await end([jobs[0]!], 'COMPLETED', 31);
    await end([jobs[1]!], 'FAILED', 400);
    await end([jobs[2]!], 'COMPLETED', 29);
    await end([jobs[3]!], 'LOST', 31, false);
    await end([jobs[4]!], 'RUNNING', 31);
    await end([other!], 'COMPLETED', 1_000);
    expect(await rollUpDue(at.db.database, silent, LONG_ENOUGH_MS)).toBe(false);
    expect(await countsOf(jobs)).toEqual(jobs.map(() => 12_100));

    const estimate = await retention('old', 30, true);
    await rollUpDue(at.db.database, silent, LONG_ENOUGH_MS);
    expect(await countsOf(jobs)).toEqual(jobs.map(() => 12_100));

    expect(await retention('old', 30)).toEqual(estimate);
    expect(await rollUpDue(at.db.database, silent, LONG_ENOUGH_MS)).toBe(false);
    const counts = await countsOf([...jobs, other!]);
    expect(counts.slice(2)).toEqual([12_100, 12_100, 12_100, 12_100, 12_100]);
    for (const count of counts.slice(0, 2)) expect(count).toBeLessThan(3_000);
    const gone = 2 * 12_100 - counts[0]! - counts[1]!;
    expect(estimate).toMatchObject({ jobCount: 2, seriesCount: 2 });
    expect(estimate!.pointCount / gone).toBeGreaterThan(0.9);
    expect(estimate!.pointCount / gone).toBeLessThan(1.1);
    expect(estimate!.bytes).toBeGreaterThan(50 * gone);
    expect(await retention('old', 30, true)).toEqual({ jobCount: 0, seriesCount: 0, pointCount: 0, bytes: 0 });
  });

  test('once, when two processes do it at the same time', async () => {
    const jobs = await jobsOf('shared', 3);
    await end(jobs, 'COMPLETED', 10);
    await retention('shared', 7);
    await Promise.all([rollUpDue(at.db.database, silent, LONG_ENOUGH_MS), rollUpDue(at.db.database, silent, LONG_ENOUGH_MS)]);
    const counts = await countsOf(jobs);
    expect(new Set(counts).size).toBe(1);
    expect(counts[0]).toBeLessThan(3_000);
    const { rows } = await at.db.pool.query(`select distinct point_count::int as count from metric_series where job_id = any($1) order by 1`, [jobs]);
    expect(rows).toEqual([{ count: 100 }, { count: 12_000 }]);
  });

  test('of all other jobs, when one of them cannot be: that one is named, passed over, and tried again later', async () => {
    const [first, ...others] = await jobsOf('broken', 3);
    await end([first!, ...others], 'COMPLETED', 10);
    await retention('broken', 7);
    await at.db.pool.query(`create function refuse() returns trigger language plpgsql as $$ begin raise 'broken'; end $$`);
    await at.db.pool.query(`create trigger refuse before update on metric_series for each row when (old.job_id = '${first}') execute function refuse()`);
    const logged: { jobId?: string }[] = [];
    const logger = pino({ level: 'warn' }, { write: (line: string) => logged.push(JSON.parse(line)) });
    const passedOver: PassedOver = new Map();
    expect(await rollUpDue(at.db.database, logger, LONG_ENOUGH_MS, passedOver)).toBe(false);
    await rollUpDue(at.db.database, logger, LONG_ENOUGH_MS, passedOver);
    expect(logged).toEqual([expect.objectContaining({ jobId: first })]);
    const [left, ...done] = await countsOf([first!, ...others]);
    expect(left).toBe(12_100);
    for (const count of done) expect(count).toBeLessThan(3_000);
    await at.db.pool.query('drop trigger refuse on metric_series');
    passedOver.set(first!, 0);
    await rollUpDue(at.db.database, logger, LONG_ENOUGH_MS, passedOver);
    expect((await countsOf([first!]))[0]).toBeLessThan(3_000);
  });

  test('a little at a time, so that a stop need not wait for all of it', async () => {
    const jobs = await jobsOf('many', 4);
    await end(jobs, 'COMPLETED', 10);
    await retention('many', 7);
    expect(await rollUpDue(at.db.database, silent, 0)).toBe(true);
    expect((await countsOf(jobs)).filter((count) => count < 12_100)).toHaveLength(1);
    while (await rollUpDue(at.db.database, silent, 0));
    expect((await countsOf(jobs)).filter((count) => count < 12_100)).toHaveLength(4);
  });

  test('again of what came since, with a new attempt or without', async () => {
    const [job] = await jobsOf('again', 1);
    await end([job!], 'FAILED', 10);
    await retention('again', 7);
    await rollUpDue(at.db.database, silent, LONG_ENOUGH_MS);
    const [before] = await countsOf([job!]);
    // Few more, or those that are refused, make nothing that is to be rolled up.
    for (const steps of [[12_001], [1]]) {
      await at.db.database.transaction((transaction) => writePoints(transaction, [{ jobId: job!, attemptNumber: 1, series: [{ key: 'loss', steps, values: [0.5], times: [1.77e12] }] }]));
      await rollUpDue(at.db.database, silent, LONG_ENOUGH_MS);
      expect(await countsOf([job!])).toEqual([before! + 1]);
      expect((await at.db.pool.query('select rolled_up_at is not null as done from jobs where id = $1', [job])).rows).toEqual([{ done: true }]);
    }
    const steps = Array.from({ length: 20_000 }, (_, index) => 10_000 + index);
    const [written] = await at.db.database.transaction((transaction) => writePoints(transaction, [{ jobId: job!, attemptNumber: 2, series: [{ key: 'loss', steps, values: steps, times: steps.map(() => 1.77e12) }] }]));
    expect(written!.refusedCount + written!.series[0]!.count).toBe(20_000);
    expect((await countsOf([job!]))[0]).toBeGreaterThan(before! + 15_000);
    await rollUpDue(at.db.database, silent, LONG_ENOUGH_MS);
    expect((await countsOf([job!]))[0]).toBeLessThan(before! + 5_000);
    const { rows } = await at.db.pool.query(`select point_count::int as count, max_value, last_step::int as last from metric_series where job_id = $1 and key = 'loss'`, [job]);
    expect(rows).toEqual([{ count: 30_000, max_value: 29_999, last: 29_999 }]);
  });
});

describe('retryJobs', () => {
  test('leaves a job of whose metrics only a roll-up is left, says what to do instead, and makes a new job of it where the configuration changes', async () => {
    const [rolled, whole, running] = await jobsOf('tried again', 3) as [string, string, string];
    await end([rolled, running], 'FAILED', 10);
    await end([whole], 'FAILED', 2);
    await retention('tried again', 7);
    await rollUpDue(at.db.database, silent, LONG_ENOUGH_MS);
    await end([running], 'RUNNING', 1);
    const reason = expect.stringMatching(/roll-up.*RUN_AGAIN/);
    const answer = { changedJobIds: [whole], unchanged: expect.arrayContaining([{ jobId: rolled, reason }, { jobId: running, reason: expect.not.stringContaining('RUN_AGAIN') }]), matchedCount: 3 };
    expect(await retryJobs(at.context, { ids: [rolled, whole, running], dryRun: true })).toEqual(answer);
    expect(await retryJobs(at.context, { ids: [rolled, whole, running] })).toEqual(answer);
    const { rows } = await at.db.pool.query('select state from jobs where id = $1', [rolled]);
    expect(rows).toEqual([{ state: 'FAILED' }]);
    expect(await retryJobs(at.context, { ids: [rolled], resourceChanges: { cpus: 7 } })).toEqual({ changedJobIds: [], unchanged: [{ jobId: rolled, reason }], matchedCount: 1 });
    expect(await retryJobs(at.context, { ids: [rolled], configChanges: { other: 1 } })).toMatchObject({ changedJobIds: [expect.any(String)], unchanged: [] });
  });
});

describe('updateProject', () => {
  test('sets the retention also where the project is too large to count in time what that frees', async () => {
    const [job] = await jobsOf('large', 1);
    await end([job!], 'COMPLETED', 10);
    const holder = await at.db.pool.connect();
    try {
      await holder.query('begin');
      await holder.query('lock table metric_series in access exclusive mode');
      const answer = retention('large', 7);
      // As the time limit of a statement stops it.
      const stop = `select pg_cancel_backend(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%with rolled as%'`;
      await until('the estimate to wait', 30_000, async () => (await at.db.pool.query(stop)).rowCount === 1);
      expect(await answer).toBeNull();
    } finally {
      await holder.query('rollback');
      holder.release();
    }
    expect((await at.db.pool.query(`select exact_days from projects where name = 'large'`)).rows).toEqual([{ exact_days: 7 }]);
  });

  test('refuses what makes no sense, and a project that nobody named', async () => {
    await jobsOf('vision', 1);
    await expect(updateProject(at.context, { project: 'vision', dryRun: false, metricRetention: { exactDays: 0, pointsPerSeries: 7 } })).rejects.toMatchObject({ faults: [
      { field: ['metricRetention', 'exactDays'], code: 'BAD_USER_INPUT' }, { field: ['metricRetention', 'pointsPerSeries'], code: 'BAD_USER_INPUT' }] });
    await expect(retention('visoin', 7)).rejects.toMatchObject({ code: 'NOT_FOUND', faults: [{ field: ['project'], message: 'there is no project "visoin"; there are "vision"' }] });
    expect((await at.db.pool.query(`select from projects where name in ('vision', 'visoin')`)).rowCount).toBe(0);
  });

  test('tells each experiment of the project of a change, and nobody where there is none', async () => {
    const experiments = (await Promise.all(['one', 'two'].map((experiment) => submitSweep(at.context, smallSweep({ project: 'told', experiment }))))).map(({ jobs }) => jobs[0]!.jobId!);
    await jobsOf('not told', 1);
    const told = async () => (await at.db.pool.query(`select payload->>'reason' as reason, payload->'changed' as changed, count(distinct experiment_id)::int as experiments, count(*)::int as count,
      bool_and(experiment_id in (select experiment_id from jobs where id = any($1))) as own from events where kind = 'PROJECT_UPDATED' group by 1, 2 order by max(seq)`, [experiments])).rows;
    const change = (reason: string) => ({ reason, changed: ['metricRetention'], experiments: 2, count: 2, own: true });
    const before = await told();
    await retention('told', 7, true);
    // As it is when nobody has set anything.
    await updateProject(at.context, { project: 'told', dryRun: false, metricRetention: { exactDays: null, pointsPerSeries: 2000 } });
    expect(await told()).toEqual(before);
    await retention('told', 1_234);
    await Promise.all([retention('told', 1_234), retention('told', 1_234)]);
    const first = change(`set by ${at.context.tokenName}: every point is kept for 1234 days after the end of a job, then about 500 of a long history`);
    expect((await told()).slice(before.length)).toEqual([first]);
    await updateProject(at.context, { project: 'told', dryRun: false, metricRetention: { exactDays: null, pointsPerSeries: 499 } });
    expect((await told()).filter(({ own }) => own)).toEqual([first, change(`set by ${at.context.tokenName}: every point is kept for ever`)]);
  });

  test('takes back a retention, which lets everything stay from then on', async () => {
    const [job] = await jobsOf('undecided', 1);
    await end([job!], 'COMPLETED', 10);
    await retention('undecided', 7);
    expect(await retention('undecided', null)).toEqual({ jobCount: 0, seriesCount: 0, pointCount: 0, bytes: 0 });
    await rollUpDue(at.db.database, silent, LONG_ENOUGH_MS);
    expect(await countsOf([job!])).toEqual([12_100]);
  });
});
