import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { resolveOrphans } from '../../src/actions/resolve-orphans.ts';
import { retryJobs } from '../../src/actions/retry-jobs.ts';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import type { Stranger } from '../../src/cluster/executor.ts';
import type { OrphanFilter } from '../../src/db/read/orphans.ts';
import type { OrphanAction } from '../../src/domain/orphan.ts';
import { exitRecordPath, ownerPath } from '../../src/domain/layout.ts';
import { OrphanKeeper } from '../../src/reconcilers/orphans.ts';
import { smallSweep } from '../support/actions.ts';
import { statementsOf } from '../support/statements.ts';
import { fakeClusterTest, putFile, silent, type FakeCluster, type FakeClusterTest } from './fake-cluster.ts';

let at: FakeClusterTest;
let fake: FakeCluster;
let keeper: OrphanKeeper;
let strangers: Stranger[];
let clock: number;
let cancelled: string[][];

beforeEach(async () => {
  at = await fakeClusterTest();
  fake = at.fake;
  clock = 0;
  strangers = [];
  cancelled = [];
  const start = Date.now();
  keeper = new OrphanKeeper({ database: at.db.database, cluster: fake.cluster, logger: silent, now: () => new Date(start + clock * 1000) });
  const { observe } = fake.cluster.executor;
  fake.override({
    observe: async (attempts) => ({ ...await observe(attempts), strangers }),
    cancel: (slurmJobIds) => { cancelled.push(slurmJobIds); return Promise.resolve(); },
  });
});
afterEach(() => at.close());
const query = async (text: string): Promise<any[]> => (await at.db.pool.query(text)).rows;
const orphans = () => query('select * from orphans order by kind, key');
const jobs = () => query('select j.*, e.project, e.name as experiment from jobs j join experiments e on e.id = j.experiment_id order by j.name');

/** A look at the cluster some seconds after the last one, and what the keeper makes of it. */
async function look(afterSeconds = 1): Promise<boolean> {
  clock += afterSeconds;
  keeper.note(await fake.observe(at.db.database, clock));
  return keeper.run();
}

/** Submits two jobs as one array, and answers what the cluster then has: the script and the array. */
async function submitted(): Promise<{ script: string; token: string; ids: string[] }> {
  const { jobs: made } = await submitSweep(at.context, smallSweep({ space: { grid: [{ key: 'n', values: [0, 1] }] }, tags: ['kept'], priority: 7 }));
  await fake.dispatch(at.db.database);
  const [{ script, token }] = await query('select script, token from batches');
  return { script, token, ids: made.map(({ jobId }) => jobId ?? '') };
}

const task = (token: string, index: number | null, changes: Partial<Stranger> = {}): Stranger => (
  { token, slurmJobId: '77', taskIndexes: index === null ? null : [index], state: 'PENDING', submittedAt: new Date('2026-01-01T00:00:00Z'), nodeList: null, ...changes });

/** As after a database was replaced by an empty one. */
async function forgetAll(): Promise<void> {
  await at.db.pool.query('truncate attempts, batches, jobs, sweeps, experiments, events, orphans cascade');
}

const resolve = (action: OrphanAction, filter: OrphanFilter = { clusters: ['greene'] }) => resolveOrphans(at.context, { filter, action });

describe('an array that the database does not know', () => {
  test('is one orphan with what the cluster shows of it, is not touched, and is gone when the cluster has it no more', async () => {
    const { token, script } = await submitted();
    await forgetAll();
    fake.override({ readScript: () => Promise.resolve({ script }) });
    strangers = [task(token, 0), task(token, 1, { state: 'RUNNING', nodeList: 'n2' })];
    await look();
    expect(await orphans()).toMatchObject([{
      kind: 'UNKNOWN_JOB', cluster: 'greene', token, slurm_job_id: '77', state: 'RUNNING', task_count: 2, node_list: 'n2', project: 'vision', experiment: 'baseline', origin_problem: null,
      submitted_at: new Date('2026-01-01T00:00:00Z'), wish: null,
    }]);
    strangers = [task(token, 1, { state: 'RUNNING', nodeList: 'n2' })];
    await look(31);
    expect(await orphans()).toMatchObject([{ task_count: 1 }]);
    strangers = [];
    await look(31);
    expect(await orphans()).toEqual([]);
    expect([cancelled, await jobs()]).toEqual([[], []]);
  });

  test('costs nothing while nothing changes, and neither do jobs that are known', async () => {
    const { token } = await submitted();
    strangers = [task(token, 0), task(token, 1)];
    await look();
    expect(await orphans()).toEqual([]);
    expect(await statementsOf(at.db.pool, async () => {
      keeper.note({ strangers, absent: [] });
      await keeper.run();
    })).toBe(0);
    strangers = [task('eg-abcdefghij-other', null)];
    await look();
    // What is wished about it, and no more.
    expect(await statementsOf(at.db.pool, async () => {
      keeper.note({ strangers, absent: [] });
      await keeper.run();
    })).toBe(1);
  });

  test('is adopted as it was: jobs, tags, priority, attempts; and once', async () => {
    const { token, script, ids } = await submitted();
    await forgetAll();
    fake.override({ readScript: (id) => Promise.resolve(id === '77' ? { script } : { problem: 'no such job' }) });
    strangers = [task(token, 0), task(token, 1)];
    await look();
    expect(await resolve('ADOPT')).toMatchObject([{ possible: true, message: expect.stringContaining('vision/baseline') }]);
    expect(await look()).toBe(true);
    expect(await jobs()).toMatchObject(ids.map((id, n) => ({
      id, project: 'vision', experiment: 'baseline', state: 'PENDING', config: { n }, tags: ['kept'], priority: 7, cluster: 'greene', attempt_count: 1, sweep_id: null, submitted_by: 'tester', repetition: 0,
    })));
    expect(await query('select slurm_job_id, task_index, number, restart, state, stdout_path from attempts order by task_index')).toMatchObject([
      { slurm_job_id: '77_0', task_index: 0, number: 1, restart: 0, state: 'PENDING', stdout_path: `${fake.cluster.settings.rootDirectory}/.expgraph/batches/${token}/77_0.out` }, { slurm_job_id: '77_1' },
    ]);
    expect(await query('select token, state, script, task_count, slurm_job_id from batches')).toEqual([{ token, state: 'SUBMITTED', script, task_count: 2, slurm_job_id: '77' }]);
    const events = await query(`select kind, payload from events order by seq`);
    expect(events.map(({ kind }) => kind)).toEqual(['EXPERIMENT_CREATED', 'ATTEMPT_STATE_CHANGED', 'JOB_STATE_CHANGED', 'ATTEMPT_STATE_CHANGED', 'JOB_STATE_CHANGED']);
    expect(events[2].payload).toEqual({ from: null, to: 'PENDING', reason: 'adopted from SLURM job 77 by tester' });
    strangers = [];
    fake.says.set(0, { state: 'RUNNING', startedAt: new Date() });
    await look();
    expect(await orphans()).toEqual([]);
    expect((await jobs()).map(({ state }) => state)).toEqual(['RUNNING', 'PENDING']);
  });

  test('is adopted though it has ended since somebody asked for it', async () => {
    const { token, script } = await submitted();
    await forgetAll();
    fake.override({ readScript: () => Promise.resolve({ script }) });
    strangers = [task(token, 0)];
    await look();
    await resolve('ADOPT');
    strangers = [];
    expect(await look()).toBe(true);
    expect(await jobs()).toHaveLength(2);
  });

  test('becomes the newest attempt of jobs that the database has, and leaves those alone that are ahead of it', async () => {
    const { token, script, ids } = await submitted();
    // A backup from before the submission: both were queued. One was submitted again since.
    await at.db.pool.query('truncate attempts, batches cascade');
    await at.db.pool.query(`update jobs set state = 'QUEUED', attempt_count = 0 where id = $1`, [ids[0]]);
    fake.override({ readScript: () => Promise.resolve({ script }) });
    strangers = [task(token, 0), task(token, 1)];
    await look();
    await resolve('ADOPT');
    await look();
    expect(await query('select job_id, number from attempts')).toEqual([{ job_id: ids[0], number: 1 }]);
    expect((await jobs()).map(({ state }) => state)).toEqual(['PENDING', 'PENDING']);
    expect(await query(`select payload from events where kind = 'JOB_STATE_CHANGED' and payload->>'reason' like 'adopted%'`)).toEqual([
      { payload: { from: 'QUEUED', to: 'PENDING', reason: 'adopted from SLURM job 77 by tester' } }]);
    expect(await orphans()).toEqual([]);
  });

  test('that the database is ahead of stays, with the reason', async () => {
    const { token, script, ids } = await submitted();
    await at.db.pool.query('truncate attempts, batches cascade');
    fake.override({ readScript: () => Promise.resolve({ script }) });
    strangers = [task(token, 0), task(token, 1)];
    await look();
    await resolve('ADOPT');
    expect(await look()).toBe(false);
    expect(await orphans()).toMatchObject([{ wish: null, wished_by: 'tester', wish_problem: `the database is ahead of it: of job ${ids[0]}, it has attempt 1 already, and this is attempt 1` }]);
  });

  test('that was requeued is adopted as the run that its start guards show', async () => {
    const { token, script, ids } = await submitted();
    const [{ storage_path: directory }] = await query(`select storage_path from jobs where id = '${ids[0]}'`);
    await forgetAll();
    fake.override({ readScript: () => Promise.resolve({ script }) });
    for (const attempt of [1, 2, 3]) await putFile(ownerPath(directory, attempt), 'slurm 77_0\n');
    // Of another submission.
    await putFile(ownerPath(directory, 4), 'slurm 99_0\n');
    strangers = [task(token, 0), task(token, 1)];
    await look();
    await resolve('ADOPT');
    await look();
    expect(await query('select number, restart, task_index from attempts order by task_index')).toEqual([{ number: 3, restart: 2, task_index: 0 }, { number: 1, restart: 0, task_index: 1 }]);
  });

  test('whose script is none of ours, or cannot be read, says so and is not adopted', async () => {
    fake.override({ readScript: (id) => Promise.resolve(id === '77' ? { script: '#!/bin/sh\nsleep 1\n' } : { problem: 'scontrol: Access denied (exit code 1)' }) });
    strangers = [task('eg-abcdefghij-other', null), task('eg-abcdefghik-other', null, { slurmJobId: '78' })];
    await look();
    expect((await orphans()).map(({ origin_problem }) => origin_problem)).toEqual([
      expect.stringContaining('does not say which jobs'), 'its script cannot be read: scontrol: Access denied (exit code 1)',
    ]);
    expect(await resolve('ADOPT')).toMatchObject([{ possible: false }, { possible: false }]);
    expect((await orphans()).map(({ wish }) => wish)).toEqual([null, null]);
  });

  test('has its script read in its turn: a few at a time, however many there are', async () => {
    const read: string[] = [];
    fake.override({ readScript: (id) => { read.push(id); return Promise.resolve({ problem: 'no script' }); } });
    strangers = ['71', '72', '73', '74'].map((slurmJobId, index) => task(`eg-abcdefghi${'abcd'[index]}-other`, null, { slurmJobId }));
    await look();
    await look();
    expect(read).toEqual(['71', '72', '73']);
    await look(10);
    await look(10);
    expect(read).toEqual(['71', '72', '73', '74']);
  });

  test('is cancelled when somebody asks, as a whole, and again only after a while', async () => {
    strangers = [task('eg-abcdefghij-other', 0), task('eg-abcdefghij-other', 1), task('eg-abcdefghik-other', null, { slurmJobId: '78' })];
    await look();
    await resolve('CANCEL', { slurmJobIds: ['77'] });
    await look();
    await look(10);
    expect(cancelled).toEqual([['77']]);
    await look(31);
    expect(cancelled).toEqual([['77'], ['77']]);
    // SLURM gave its id to somebody else's job.
    strangers = [task('eg-abcdefghil-other', null)];
    await look(31);
    expect(cancelled).toHaveLength(2);
  });

  test('that is ignored stays in the table and out of the list', async () => {
    strangers = [task('eg-abcdefghij-other', null)];
    await look();
    expect(await resolve('IGNORE')).toMatchObject([{ possible: true, orphan: { ignored: true } }]);
    await look();
    expect(await orphans()).toMatchObject([{ ignored: true }]);
    expect(await resolve('CANCEL')).toEqual([]);
  });
});

describe('an attempt that its cluster does not know', () => {
  const [first] = [0];
  beforeEach(async () => {
    await submitted();
    for (const index of [0, 1]) fake.says.set(index, { state: 'RUNNING', startedAt: new Date(), nodeList: 'n1' });
    await look();
    fake.says.delete(first);
  });

  test('is an orphan after a minute, also once it is LOST, and no more when its job is tried again', async () => {
    await look(1);
    await look(30);
    expect(await orphans()).toEqual([]);
    await look(40);
    const [{ job_id: jobId, since }] = await orphans();
    expect(await orphans()).toMatchObject([{ kind: 'MISSING_ATTEMPT', state: 'RUNNING', slurm_job_id: '1001_0', attempt_number: 1, node_list: 'n1', task_count: 1 }]);
    await look(600);
    await look(1);
    expect(await orphans()).toMatchObject([{ state: 'LOST', since }]);
    expect(await resolve('MARK_LOST')).toMatchObject([{ possible: false, message: expect.stringContaining('LOST already') }]);
    await retryJobs(at.context, { ids: [jobId] });
    await look();
    expect(await orphans()).toEqual([]);
  });

  test('is marked as LOST when somebody asks, which a word of its cluster overrules', async () => {
    await look(70);
    expect(await resolve('CANCEL')).toMatchObject([{ possible: false, message: expect.stringContaining('nothing to cancel') }]);
    expect(await resolve('ADOPT')).toMatchObject([{ possible: false, message: expect.stringContaining('nothing to adopt') }]);
    expect(await resolve('MARK_LOST')).toMatchObject([{ possible: true }]);
    await look();
    expect((await jobs()).map(({ state, state_reason: reason }) => [state, reason])).toEqual([['LOST', expect.stringContaining('marked as lost by tester')], ['RUNNING', null]]);
    expect(await orphans()).toMatchObject([{ wish: null }]);
    fake.says.set(first, { state: 'COMPLETED', exitCode: 0, finishedAt: new Date() });
    await look();
    await look();
    expect((await jobs()).map(({ state }) => state)).toEqual(['COMPLETED', 'RUNNING']);
    expect(await orphans()).toEqual([]);
  });

  test('is none when its exit record is there, nor while accounting does not answer', async () => {
    const { observe } = fake.cluster.executor;
    fake.override({ observe: async (attempts) => ({ ...await observe(attempts), isIncomplete: true }) });
    await look(70);
    await look(70);
    expect(await orphans()).toEqual([]);
    fake.override({ observe });
    const [{ storage_path: directory }] = await jobs();
    await putFile(exitRecordPath(directory, 1), '{"attempt":1,"exitCode":0,"signal":null}\n');
    await look(70);
    expect(await orphans()).toEqual([]);
  });

  test('stays one for a server that takes over', async () => {
    await look(70);
    const before = await orphans();
    expect(before).toHaveLength(1);
    keeper = new OrphanKeeper({ database: at.db.database, cluster: fake.cluster, logger: silent, now: () => new Date() });
    await look();
    expect(await orphans()).toEqual(before);
  });
});
