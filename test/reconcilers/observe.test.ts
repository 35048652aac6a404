import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { retryJobs } from '../../src/actions/retry-jobs.ts';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import { SubmitError } from '../../src/cluster/executor.ts';
import { TransportError } from '../../src/cluster/transport.ts';
import { eventsPath, exitRecordPath, metricsPath, ownerPath, resultPath } from '../../src/domain/layout.ts';
import { smallSweep } from '../support/actions.ts';
import { fakeClusterTest, putFile, type FakeCluster, type FakeClusterTest } from './fake-cluster.ts';

let at: FakeClusterTest;
let fake: FakeCluster;
beforeEach(async () => {
  at = await fakeClusterTest();
  fake = at.fake;
});
afterEach(() => at.close());

const database = () => at.db.database;
const dispatch = () => fake.dispatch(database());

interface JobRow { state: string; storage_path: string; dropped_line_count: number }
async function jobRows(): Promise<JobRow[]> {
  return (await at.db.pool.query<JobRow>('select j.state, j.storage_path, j.dropped_line_count from jobs j join attempts a on a.job_id = j.id order by a.task_index')).rows;
}
const statesOf = async (): Promise<string[]> => (await at.db.pool.query<{ state: string }>('select state from jobs order by id')).rows.map((row) => row.state);
async function submitJobs(count: number): Promise<void> {
  await submitSweep(at.context, smallSweep({ space: { grid: [{ key: 'n', values: Array.from({ length: count }, (_, index) => index) }] } }));
}

describe('a submission whose answer was lost', () => {
  test('is given the grace period from when it is first looked for, however long it took to break off', async () => {
    await submitJobs(1);
    fake.override({ submit: () => Promise.reject(new SubmitError('ambiguous', 'the command did not end within 120000 ms')) });
    await expect(dispatch()).rejects.toThrow('did not end');
    // sbatch was sent 120 s ago and given up just now.
    await fake.observe(database(), 120);
    expect(await statesOf()).toEqual(['SUBMITTING']);
    await fake.observe(database(), 145);
    expect(await statesOf()).toEqual(['SUBMITTING']);
    await fake.observe(database(), 151);
    expect(await statesOf()).toEqual(['QUEUED']);
  });

  test('is not taken for one that never came while accounting does not answer', async () => {
    await submitJobs(1);
    const { observe } = fake.cluster.executor;
    fake.override({
      submit: () => Promise.reject(new SubmitError('ambiguous', 'the connection was lost')),
      observe: async (attempts) => ({ ...await observe(attempts), isIncomplete: true }),
    });
    await expect(dispatch()).rejects.toThrow('was lost');
    await fake.observe(database(), 1);
    await fake.observe(database(), 1000);
    expect(await statesOf()).toEqual(['SUBMITTING']);
  });
});

describe('an attempt that the scheduler does not mention', () => {
  beforeEach(async () => {
    await submitJobs(1);
    await dispatch();
    fake.says.set(0, { state: 'RUNNING', startedAt: new Date() });
    await fake.observe(database(), 1);
    fake.says.clear();
  });

  test('is not lost because the cluster could not be asked for a long time', async () => {
    const { observe } = fake.cluster.executor;
    fake.override({ observe: () => Promise.reject(new TransportError('unreachable', 'no route')) });
    await expect(fake.observe(database(), 5)).rejects.toThrow('no route');
    fake.override({ observe });
    await fake.observe(database(), 3600);
    expect(await statesOf()).toEqual(['RUNNING']);
    await fake.observe(database(), 4201);
    expect(await statesOf()).toEqual(['LOST']);
  });

  test('is not lost while accounting does not answer', async () => {
    const { observe } = fake.cluster.executor;
    fake.override({ observe: async (attempts) => ({ ...await observe(attempts), isIncomplete: true }) });
    await fake.observe(database(), 1000);
    await fake.observe(database(), 2000);
    expect(await statesOf()).toEqual(['RUNNING']);
  });
});

describe('a job that has left the queue, and of which accounting says nothing', () => {
  const failure = JSON.stringify({ attempt: 1, exitCode: 143, signal: 15, terminated: true });
  /** As the executor of a site with or without accounting answers. */
  function withAccounting(hasAccounting: boolean, isIncomplete = false): void {
    const { observe } = fake.cluster.executor;
    fake.override({ observe: async (attempts) => ({ ...await observe(attempts), hasAccounting, isIncomplete }) });
  }
  async function leaves(exitRecord: string): Promise<void> {
    const [job] = await jobRows();
    await putFile(exitRecordPath(job!.storage_path, 1), exitRecord);
    fake.says.clear();
  }
  const attempts = async (): Promise<unknown> => (await at.db.pool.query('select state, reason from attempts')).rows;
  const announced = async (): Promise<unknown[]> => (await at.db.pool.query<{ to: string }>("select payload->>'to' as to from events where kind = 'JOB_STATE_CHANGED' order by seq")).rows.map((row) => row.to);

  beforeEach(async () => {
    await submitJobs(1);
    await dispatch();
    fake.says.set(0, { state: 'RUNNING', startedAt: new Date() });
  });

  test('has not FAILED by its exit record alone while accounting may still tell how it ended: it ends once, as accounting says', async () => {
    withAccounting(true);
    await fake.observe(database(), 1);
    await leaves(failure);
    for (const seconds of [5, 20, 34]) expect((await fake.observe(database(), seconds)).ending).toHaveLength(1);
    expect(await statesOf()).toEqual(['RUNNING']);
    fake.says.set(0, { state: 'TIMEOUT' });
    await fake.observe(database(), 34.5);
    expect(await attempts()).toEqual([{ state: 'TIMEOUT', reason: 'the time limit was reached' }]);
    expect(await announced()).toEqual(['QUEUED', 'SUBMITTING', 'PENDING', 'RUNNING', 'FAILED']);
  });

  test.each([false, true])('ends by its exit record after the time that accounting is given, whether or not that answers (%s: it does not)', async (isIncomplete) => {
    withAccounting(true, isIncomplete);
    await fake.observe(database(), 1);
    await leaves(failure);
    // The record may have been there for as long as a server was away: what counts is how long accounting was asked in vain.
    await fake.observe(database(), 400);
    expect(await statesOf()).toEqual(['RUNNING']);
    await fake.observe(database(), 431);
    expect(await statesOf()).toEqual(['FAILED']);
  });

  test('is seen to have run while accounting is waited for, though it waited when it was last seen', async () => {
    withAccounting(true);
    fake.says.set(0, { state: 'PENDING' });
    await fake.observe(database(), 1);
    const { rows: [row] } = await at.db.pool.query<{ slurm_job_id: string }>('select slurm_job_id from attempts');
    const [job] = await jobRows();
    await putFile(ownerPath(job!.storage_path, 1), `slurm ${row!.slurm_job_id}\n`);
    await leaves(failure);
    await fake.observe(database(), 5);
    expect(await statesOf()).toEqual(['RUNNING']);
  });

  test('has COMPLETED at once when its command ended well', async () => {
    withAccounting(true);
    await fake.observe(database(), 1);
    await leaves(JSON.stringify({ attempt: 1, exitCode: 0, signal: null, terminated: false }));
    await fake.observe(database(), 2);
    expect(await statesOf()).toEqual(['COMPLETED']);
  });

  test('has FAILED at once where there is no accounting to wait for', async () => {
    withAccounting(false);
    await fake.observe(database(), 1);
    await leaves(failure);
    await fake.observe(database(), 2);
    expect(await statesOf()).toEqual(['FAILED']);
  });
});

describe('a lost attempt', () => {
  test('whose job goes on writing is read on and commits', async () => {
    await submitJobs(1);
    await dispatch();
    fake.says.set(0, { state: 'RUNNING', startedAt: new Date() });
    await fake.observe(database(), 1);
    fake.says.clear();
    await fake.observe(database(), 700);
    expect(await statesOf()).toEqual(['LOST']);
    const [job] = await jobRows();
    await putFile(metricsPath(job!.storage_path), '{"step":1,"loss":0.5}\n');
    await fake.observe(database(), 701);
    const points = await at.db.pool.query('select step from metric_points');
    expect(points.rows).toEqual([{ step: '1' }]);
    fake.says.set(0, { state: 'COMPLETED', exitCode: 0 });
    await fake.observe(database(), 2000);
    expect(await statesOf()).toEqual(['COMPLETED']);
  });
});

describe('what the queue holds under tokens of ours and nobody asked about', () => {
  const stranger = { token: 'eg-aaaaaaaaaa-x', slurmJobId: '77', taskIndexes: [0], state: 'PENDING' as const, submittedAt: null, nodeList: null };

  test('is looked for now and then on a cluster on which nothing is tracked', async () => {
    let asked = 0;
    fake.override({ observe: async () => {
      asked += 1;
      return { observations: [], queueCounts: null, strangers: [stranger], problems: [] };
    } });
    expect(await fake.observe(database(), 0)).toMatchObject({ strangers: [stranger] });
    for (const seconds of [1, 10, 29]) expect(await fake.observe(database(), seconds)).toMatchObject({ strangers: null });
    expect(await fake.observe(database(), 31)).toMatchObject({ strangers: [stranger] });
    expect(asked).toBe(2);
  });
});

describe('a job that is retried while a round is under way', () => {
  /** Retries all jobs after the round has read what it works on. */
  function retryDuringList(): void {
    const { list } = fake.cluster.transport;
    fake.cluster.transport.list = async (request) => {
      await retryJobs(at.context, { filter: { states: ['FAILED', 'LOST'] } });
      return list(request);
    };
  }

  test('stays in the queue when the run before still writes, and has no result of it', async () => {
    await submitJobs(1);
    await dispatch();
    fake.says.set(0, { state: 'FAILED', exitCode: 1 });
    await fake.observe(database(), 1);
    retryDuringList();
    const [job] = await jobRows();
    await putFile(metricsPath(job!.storage_path), '{"step":1,"loss":0.5}\n');
    await fake.observe(database(), 2);
    expect(await statesOf()).toEqual(['QUEUED']);
    expect((await at.db.pool.query('select 1 from results')).rowCount).toBe(0);
  });

  test('stays in the queue when late evidence of the run before comes in', async () => {
    await submitJobs(1);
    await dispatch();
    fake.says.set(0, { state: 'RUNNING', startedAt: new Date() });
    await fake.observe(database(), 1);
    fake.says.clear();
    await fake.observe(database(), 700);
    retryDuringList();
    fake.says.set(0, { state: 'FAILED', exitCode: 1 });
    await fake.observe(database(), 701);
    expect(await statesOf()).toEqual(['QUEUED']);
    expect((await at.db.pool.query<{ state: string }>('select state from attempts')).rows).toEqual([{ state: 'FAILED' }]);
  });
});

describe('what a job wrote that the database cannot hold', () => {
  const deep = `{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}`;
  test.each([['half of a surrogate pair', String.raw`{"file":"run\udcff.txt"}`], ['very deep nesting', deep], ['a NUL', String.raw`{"a":"\u0000"}`]])(
    'loses itself only: %s', async (_, line) => {
      await submitJobs(2);
      await dispatch();
      for (const index of [0, 1]) fake.says.set(index, { state: 'RUNNING', startedAt: new Date() });
      const jobs = await jobRows();
      await putFile(eventsPath(jobs[0]!.storage_path), `{"ok":1}\n${line}\n`);
      await putFile(metricsPath(jobs[1]!.storage_path), '{"step":1,"loss":0.5}\n');
      await fake.observe(database(), 1);
      for (const index of [0, 1]) fake.says.set(index, { state: 'COMPLETED', exitCode: 0 });
      await putFile(resultPath(jobs[0]!.storage_path), `{"metrics":{"x":${line}}}`);
      await fake.observe(database(), 2);
      const after = await jobRows();
      expect(after.map((row) => [row.state, row.dropped_line_count])).toEqual([['COMPLETED', 1], ['COMPLETED', 0]]);
    });

  test.each([
    ['an exit code', '{"attempt":1,"exitCode":1000000000000,"signal":null}'], ['a time', '{"attempt":1,"exitCode":1,"startedAt":"-100000-01-01T00:00:00Z"}'],
    ['a host', String.raw`{"attempt":1,"exitCode":1,"host":"n\u0000"}`],
  ])('an exit record with %s that no database takes keeps no other job from its end', async (_, exitRecord) => {
    await submitJobs(2);
    await dispatch();
    for (const index of [0, 1]) fake.says.set(index, { state: 'FAILED', exitCode: 1, finishedAt: new Date() });
    const [{ storage_path: directory }] = await jobRows() as [JobRow];
    await putFile(exitRecordPath(directory, 1), exitRecord);
    await fake.observe(database(), 1);
    expect(await statesOf()).toEqual(['FAILED', 'FAILED']);
  });

  test('a great many notes are taken in over several rounds, all of them', async () => {
    await submitJobs(1);
    await dispatch();
    fake.says.set(0, { state: 'RUNNING', startedAt: new Date() });
    const [job] = await jobRows();
    await putFile(eventsPath(job!.storage_path), '{}\n'.repeat(5_000));
    fake.says.set(0, { state: 'COMPLETED', exitCode: 0 });
    const counts: number[] = [];
    const notes = async (): Promise<number> => Number((await at.db.pool.query<{ count: string }>(`select count(*) from events where kind = 'NOTE'`)).rows[0]!.count);
    for (let round = 1; round <= 4; round += 1) {
      await fake.observe(database(), round);
      counts.push(await notes());
    }
    expect(counts).toEqual([2_000, 4_000, 5_000, 5_000]);
    expect(await statesOf()).toEqual(['COMPLETED']);
  });
});
