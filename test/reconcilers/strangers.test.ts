/** What is done about jobs in the queue that carry a token of ours and are none of our attempts, and about attempts that turn up again. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import { SubmitError, type Stranger } from '../../src/cluster/executor.ts';
import { exitRecordPath, ownerPath } from '../../src/domain/layout.ts';
import { smallSweep } from '../support/actions.ts';
import { fakeClusterTest, putFile, type FakeCluster, type FakeClusterTest } from './fake-cluster.ts';

let at: FakeClusterTest;
let fake: FakeCluster;
let strangers: Stranger[];
let told: { waiting: string[]; all: string[] };
beforeEach(async () => {
  at = await fakeClusterTest();
  fake = at.fake;
  strangers = [];
  told = { waiting: [], all: [] };
  const { observe } = fake.cluster.executor;
  fake.override({
    observe: async (attempts) => ({ ...await observe(attempts), strangers }),
    cancelWaiting: async (ids) => { told.waiting.push(...ids); },
    cancel: async (ids) => { told.all.push(...ids); },
  });
});
afterEach(() => at.close());

const dispatch = () => fake.dispatch(at.db.database);
const look = (atSeconds: number) => fake.observe(at.db.database, atSeconds);
const stranger = (token: string, slurmJobId: string, change: Partial<Stranger> = {}): Stranger => ({ token, slurmJobId, taskIndexes: null, state: 'PENDING', submittedAt: null, nodeList: null, ...change });
const tokens = async (): Promise<string[]> => (await at.db.pool.query<{ token: string }>('select token from batches order by submitted_at')).rows.map(({ token }) => token);

interface AttemptRow { job: string; state: string; number: number; slurm_job_id: string | null; note: string | null; token: string; storage_path: string }
const attempts = async (): Promise<AttemptRow[]> => (await at.db.pool.query<AttemptRow>(
  'select j.state as job, a.state, a.number, a.slurm_job_id, a.note, b.token, j.storage_path from attempts a join jobs j on j.id = a.job_id join batches b on b.id = a.batch_id order by j.id, a.number')).rows;
const jobStates = async (): Promise<string[]> => (await at.db.pool.query<{ state: string }>('select state from jobs order by id')).rows.map(({ state }) => state);
const seconds = async (): Promise<unknown[]> => (await at.db.pool.query("select payload->>'slurmJobId' as id from events where kind = 'SECOND_EXECUTION' order by seq")).rows;

async function submitJobs(count: number): Promise<void> {
  await submitSweep(at.context, smallSweep({ space: { grid: [{ key: 'n', values: Array.from({ length: count }, (_, index) => index) }] } }));
}

/** A batch whose answer is lost and that is given up; answers its token. */
async function giveUp(count: number): Promise<string> {
  await submitJobs(count);
  const { submit } = fake.cluster.executor;
  fake.override({ submit: () => Promise.reject(new SubmitError('ambiguous', 'the connection was lost')) });
  await expect(dispatch()).rejects.toThrow();
  await look(1);
  await look(100);
  expect(await jobStates()).toEqual(Array(count).fill('QUEUED'));
  fake.override({ submit });
  return (await tokens())[0]!;
}

describe('a batch that was given up and comes late', () => {
  test('while its jobs still wait in our queue is taken as theirs, and nothing is submitted again', async () => {
    const token = await giveUp(2);
    strangers = [0, 1].map((index) => stranger(token, '7', { taskIndexes: [index] }));
    await look(131);
    expect(await attempts()).toMatchObject([0, 1].map((index) => ({ job: 'PENDING', state: 'PENDING', number: 1, slurm_job_id: `7_${index}`, token })));
    expect((await dispatch()).count).toBe(0);
    expect(told).toEqual({ waiting: [], all: [] });
    expect((await at.db.pool.query('select state, slurm_job_id from batches')).rows).toEqual([{ state: 'SUBMITTED', slurm_job_id: '7' }]);
  });

  test('in part before and in part after its jobs were submitted again: each attempt follows the one that runs it, the others are cancelled while they wait', async () => {
    const token = await giveUp(3);
    await dispatch();
    const rows = await attempts();
    const [first] = rows;
    await putFile(ownerPath(first!.storage_path, 1), `slurm 7_0\nbatch ${token}\n`);
    strangers = [stranger(token, '7', { taskIndexes: [0], state: 'RUNNING' }), stranger(token, '7', { taskIndexes: [1] }), stranger(token, '7', { taskIndexes: [2], state: 'RUNNING' })];
    await look(101);
    expect(await attempts()).toMatchObject([{ slurm_job_id: '7_0', token }, { slurm_job_id: '1001_1' }, { slurm_job_id: '1001_2' }]);
    expect(told).toEqual({ waiting: ['7_1'], all: [] });
    // The one that is overtaken is a stranger now; the one that was about to start has lost the guard.
    const [, again = ''] = await tokens();
    await putFile(ownerPath(rows[2]!.storage_path, 1), `slurm 1001_2\nbatch ${again}\n`);
    strangers = [stranger(again, '1001', { taskIndexes: [0] }), stranger(token, '7', { taskIndexes: [2], state: 'RUNNING' })];
    await look(102);
    await look(103);
    expect(told).toEqual({ waiting: ['7_1', '1001_0'], all: ['7_2'] });
    expect(await seconds()).toEqual(['1001_0', '7_1', '7_2'].map((id) => ({ id })));
    expect((await attempts()).map(({ note }) => note?.split('\n').length)).toEqual([1, 1, 1]);
  });

  test('and has run to its end before the other starts: the refusal of the other is no end of the attempt', async () => {
    const token = await giveUp(1);
    await dispatch();
    const [row] = await attempts();
    await putFile(ownerPath(row!.storage_path, 1), `slurm 7\nbatch ${token}\n`);
    await putFile(exitRecordPath(row!.storage_path, 1), '{"attempt":1,"exitCode":0,"signal":null,"terminated":false,"startedAt":null,"finishedAt":null,"host":"n1","slurmJobId":"7"}');
    fake.says.set(0, { state: 'FAILED', exitCode: 119, slurmJobId: '1001' });
    await look(101);
    expect(await attempts()).toMatchObject([{ job: 'COMPLETED', state: 'COMPLETED', slurm_job_id: '7', token, note: expect.stringContaining('SLURM job 1001: ') }]);
  });
});

test('a refused execution whose guard does not show yet is waited for, and a command that ends with the same code has failed', async () => {
  await submitJobs(2);
  await dispatch();
  const [first, last] = await attempts();
  await putFile(ownerPath(last!.storage_path, 1), `slurm ${last!.slurm_job_id}\nbatch ${last!.token}\n`);
  for (const index of [0, 1]) fake.says.set(index, { state: 'FAILED', exitCode: 119, finishedAt: new Date() });
  await look(1);
  expect((await attempts()).map(({ state }) => state)).toEqual(['PENDING', 'FAILED']);
  await putFile(ownerPath(first!.storage_path, 1), `slurm 55_0\nbatch ${first!.token}\n`);
  await look(2);
  expect((await attempts())[0]).toMatchObject({ slurm_job_id: '55_0' });
});

test('what carries a token that we do not know, or whose submission is not resolved yet, is left alone', async () => {
  await submitJobs(1);
  fake.override({ submit: () => Promise.reject(new SubmitError('ambiguous', 'the connection was lost')) });
  await expect(dispatch()).rejects.toThrow();
  strangers = [stranger('eg-aaaaaaaaaa-other', '5'), stranger((await tokens())[0]!, '6')];
  await look(1);
  expect(told).toEqual({ waiting: [], all: [] });
  expect(await jobStates()).toEqual(['SUBMITTING']);
});

test('a job that had ended, was put back into the queue and has ended again before anybody looked gets an attempt for that run, and is no orphan', async () => {
  await submitJobs(1);
  await dispatch();
  const firstRun = { state: 'COMPLETED', exitCode: 0, startedAt: new Date(Date.now() - 60_000), finishedAt: new Date(Date.now() - 50_000) } as const;
  fake.says.set(0, firstRun);
  await look(1);
  await at.db.pool.query('update jobs set harvested_at = now()');
  fake.says.clear();
  const [row] = await attempts();
  strangers = [stranger(row!.token, row!.slurm_job_id!, { state: 'FAILED', submittedAt: new Date(Date.now() - 40_000) })];
  expect(await look(200)).toMatchObject({ isUnsettled: true, strangers: [] });
  fake.says.set(0, { state: 'FAILED', exitCode: 4, startedAt: new Date(Date.now() - 30_000), earlierRuns: [{ ...firstRun, reason: null, nodeList: null, signal: null, elapsedSeconds: 10, maxRssBytes: null }] });
  strangers = [];
  await look(203);
  expect(await attempts()).toMatchObject([{ job: 'FAILED', state: 'COMPLETED', number: 1 }, { job: 'FAILED', state: 'FAILED', number: 2, slurm_job_id: row!.slurm_job_id }]);
  expect(told).toEqual({ waiting: [], all: [] });
});

describe('an attempt that is LOST', () => {
  beforeEach(async () => {
    await submitJobs(1);
    await dispatch();
    fake.says.set(0, { state: 'RUNNING', startedAt: new Date() });
    await look(1);
    fake.says.clear();
    await look(700);
    expect(await attempts()).toMatchObject([{ job: 'LOST', state: 'LOST' }]);
  });

  test('and is seen running again is RUNNING, and ends as it ends', async () => {
    fake.says.set(0, { state: 'RUNNING', startedAt: new Date() });
    await look(701);
    expect(await attempts()).toMatchObject([{ job: 'RUNNING', state: 'RUNNING', number: 1 }]);
    const { rows } = await at.db.pool.query<{ to: string }>("select payload->>'to' as to from events where kind = 'JOB_STATE_CHANGED' order by seq");
    expect(rows.slice(-2).map(({ to }) => to)).toEqual(['LOST', 'RUNNING']);
    fake.says.set(0, { state: 'COMPLETED', exitCode: 0 });
    await look(702);
    expect(await attempts()).toMatchObject([{ job: 'COMPLETED' }]);
  });

  test('so long ago that nobody asks about it any more is found by its token in the queue', async () => {
    await at.db.pool.query("update attempts set submitted_at = now() - interval '30 days'");
    await at.db.pool.query('update jobs set harvested_at = now()');
    const [row] = await attempts();
    strangers = [stranger(row!.token, row!.slurm_job_id!, { state: 'RUNNING' })];
    await look(800);
    fake.says.set(0, { state: 'RUNNING', startedAt: new Date() });
    strangers = [];
    await look(801);
    expect(await attempts()).toMatchObject([{ job: 'RUNNING', state: 'RUNNING' }]);
  });
});
