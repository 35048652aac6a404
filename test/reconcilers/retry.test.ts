/** Retries on a real database: what a policy makes of a failure, once, and what the queue then does with it. */
import { pino } from 'pino';
import { v7 } from 'uuid';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { retryJobs } from '../../src/actions/retry-jobs.ts';
import { submitJob } from '../../src/actions/submit-job.ts';
import type { SubmitJobInput } from '../../src/actions/submission.ts';
import { claimQueuedJobs, readNextQueued, readQueuedLanes, untilNextDue } from '../../src/db/write/dispatch.ts';
import { completeRetryPolicy, type RetryRuleInput } from '../../src/domain/retry-policy.ts';
import type { AttemptState } from '../../src/domain/states.ts';
import { retryFailedJobs, type FailurePolicies } from '../../src/reconcilers/retry.ts';
import { actionTest, type ActionTest } from '../support/actions.ts';

let at: ActionTest;
beforeEach(async () => { at = await actionTest(); });
afterEach(() => at.db.drop());

const now = new Date('2030-01-01T00:00:00Z');
const CUDA = 'torch.cuda.OutOfMemoryError: CUDA out of memory.\n';

async function submit(changes: Partial<SubmitJobInput> = {}): Promise<string> {
  const { jobs } = await submitJob(at.context, { project: 'vision', experiment: 'oom', name: 'big', command: ['train', '{overrides}'], config: { batch_size: 64, seed: 1 }, ...changes });
  return jobs[0]!.jobId!;
}

interface End {
  state?: AttemptState;
  stderr?: string;
  nodeList?: string;
  settled?: boolean;
}

/** What the reconciler writes when the newest attempt of a job fails. */
async function fail(jobId: string, { state = 'FAILED', stderr = '', nodeList = 'n1', settled = true }: End = {}): Promise<void> {
  const batchId = v7();
  await at.db.pool.query(`insert into batches (id, cluster, token, state, script, task_count) values ($1, 'greene', $2, 'SUBMITTED', '', 1)`, [batchId, `eg-${batchId}`]);
  await at.db.pool.query(`update jobs set state = 'FAILED', state_reason = 'exit code 1', attempt_count = attempt_count + 1, started_at = now(), finished_at = now(),
    harvested_at = case when $2 then now() end where id = $1`, [jobId, settled]);
  await at.db.pool.query(`insert into attempts (job_id, number, id, cluster, batch_id, task_index, state, reason, exit_code, node_list, stderr_tail)
    select id, attempt_count, $2, 'greene', $3, 0, $4, 'exit code 1', 1, $5, $6 from jobs where id = $1`, [jobId, v7(), batchId, state, nodeList, stderr]);
}

function retry(policies: Partial<FailurePolicies> = {}): Promise<number> {
  return retryFailedJobs({
    database: at.db.database, settings: { name: 'greene', kind: 'SLURM', rootDirectory: '/scratch/greene' },
    policies: { failureRules: [], retryPolicy: [], ...policies }, now: () => now, random: () => 0, logger: pino({ level: 'silent' }),
  });
}

async function jobRow(jobId: string): Promise<Record<string, any>> {
  return (await at.db.pool.query('select * from jobs where id = $1', [jobId])).rows[0];
}

async function retriesOf(jobId: string): Promise<Record<string, any>[]> {
  return (await at.db.pool.query('select * from jobs where retry_of = $1', [jobId])).rows;
}

const policy = (...rules: RetryRuleInput[]) => ({ retryPolicy: rules });
const site = (...rules: RetryRuleInput[]) => ({ retryPolicy: completeRetryPolicy(rules) });

describe('a failure whose policy changes the configuration', () => {
  test('becomes a new job that is linked to the old one, in the same sweep and experiment', async () => {
    const old = await submit({ ...policy({ failureClass: 'CUDA_OUT_OF_MEMORY', backoffSeconds: 60, memoryFactor: 1.5 }), resources: { memoryMiB: 1000 } });
    await fail(old, { stderr: CUDA });
    expect(await retry()).toBe(1);
    const [made, ...others] = await retriesOf(old);
    expect(others).toEqual([]);
    expect(made).toMatchObject({
      name: 'big > batch_size=32', config: { batch_size: 32, seed: 1 }, state: 'QUEUED', tags: ['retry', 'CUDA_OUT_OF_MEMORY'], priority: 150, attempt_count: 0,
      command: ['train', '{overrides}'], resources: { memoryMiB: 1500 }, retry_counts: { CUDA_OUT_OF_MEMORY: 1 }, not_before: new Date('2030-01-01T00:01:00Z'), submitted_by: 'tester',
      state_reason: `made from ${old} after CUDA_OUT_OF_MEMORY, retry 1 of 2`, storage_path: expect.stringContaining(`/scratch/greene/vision/oom/${made!['id']}`),
    });
    const before = await jobRow(old);
    expect(before).toMatchObject({ state: 'FAILED', retry_decided_for: 1, config: { batch_size: 64, seed: 1 } });
    expect(made).toMatchObject({ experiment_id: before['experiment_id'], retry_policy: before['retry_policy'] });
  });

  test('is decided about once, whoever asks and how often', async () => {
    const old = await submit(policy({ failureClass: 'CUDA_OUT_OF_MEMORY' }));
    await fail(old, { stderr: CUDA });
    const counts = await Promise.all([retry(), retry(), retry()]);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(1);
    expect(await retry()).toBe(0);
    expect(await retriesOf(old)).toHaveLength(1);
  });

  test('goes on down the chain until its policy is used up, and then says so', async () => {
    let jobId = await submit(policy({ failureClass: 'CUDA_OUT_OF_MEMORY', maxRetries: 2 }));
    for (const batchSize of [32, 16]) {
      await fail(jobId, { stderr: CUDA });
      await retry();
      const [made] = await retriesOf(jobId);
      expect(made).toMatchObject({ config: { batch_size: batchSize } });
      jobId = made!['id'];
    }
    await fail(jobId, { stderr: CUDA });
    expect(await retry()).toBe(0);
    expect(await jobRow(jobId)).toMatchObject({ state: 'FAILED', state_reason: expect.stringMatching(/^exit code 1; CUDA_OUT_OF_MEMORY: .*CUDA out of memory.*; not tried again: it was tried again 2 times/) });
  });

  test('does not make a job that the experiment has already', async () => {
    await submit({ config: { batch_size: 32, seed: 1 } });
    const old = await submit(policy({ failureClass: 'CUDA_OUT_OF_MEMORY' }));
    await fail(old, { stderr: CUDA });
    expect(await retry()).toBe(0);
    expect(await jobRow(old)).toMatchObject({ state_reason: expect.stringContaining('exists already') });
  });

  test('is shown in the event log: the new job, and that the old one has one', async () => {
    const old = await submit(policy({ failureClass: 'CUDA_OUT_OF_MEMORY' }));
    await fail(old, { stderr: CUDA });
    await retry();
    const { rows } = await at.db.pool.query(`select job_id, kind, payload from events order by seq desc limit 2`);
    expect(rows).toMatchObject([
      { job_id: old, kind: 'JOB_UPDATED', payload: { changed: ['retriedBy', 'stateReason'] } },
      { kind: 'JOB_STATE_CHANGED', payload: { from: null, to: 'QUEUED', reason: expect.stringContaining('CUDA_OUT_OF_MEMORY') } },
    ]);
  });
});

describe('a failure that was not the job\'s fault', () => {
  test('becomes a new attempt on other nodes', async () => {
    const jobId = await submit({ ...policy({ failureClass: 'NODE_FAILURE', backoffSeconds: 0 }), resources: { sbatchOptions: { exclude: 'n7' } } });
    await fail(jobId, { state: 'NODE_FAIL', nodeList: 'n3' });
    expect(await retry()).toBe(1);
    expect(await jobRow(jobId)).toMatchObject({
      state: 'QUEUED', attempt_count: 1, resources: { sbatchOptions: { exclude: 'n7,n3' } }, tags: ['retry', 'NODE_FAILURE'], priority: 150, finished_at: null, harvested_at: null,
    });
  });

  test('waits in the queue until its back-off is over, and the queue knows when that is', async () => {
    const jobId = await submit(policy({ failureClass: 'PREEMPTED', backoffSeconds: 60 }));
    await fail(jobId, { state: 'PREEMPTED' });
    await retry();
    const claim = () => at.db.database.transaction(async (transaction) => {
      const next = await readNextQueued(transaction, 'greene', (await readQueuedLanes(transaction, 'greene')).map((lane) => ({ lane, most: 10, except: [] })));
      return claimQueuedJobs(transaction, 'greene', next.map(({ jobId: id }) => id));
    });
    expect(await jobRow(jobId)).toMatchObject({ state: 'QUEUED', not_before: new Date('2030-01-01T00:01:00Z') });
    expect(await claim()).toEqual([]);
    expect(await untilNextDue(at.db.database, 'greene')).toBeGreaterThan(0);
    await at.db.pool.query(`update jobs set not_before = now() - interval '1 second'`);
    expect(await claim()).toMatchObject([{ jobId, attemptNumber: 2 }]);
    expect(await untilNextDue(at.db.database, 'greene')).toBeNull();
  });

  test('gets more memory, up to what the partition has', async () => {
    await at.db.pool.query(`insert into clusters (name, kind, reachable, partitions, updated_at) values ('greene', 'SLURM', true, $1, now())`,
      [JSON.stringify([{ name: 'gpu', isDefault: true, availability: 'up', timeLimitMinutes: 100, nodeCount: 1, idleNodeCount: 1, cpuCount: 8, idleCpuCount: 8, memoryMiBPerNode: 1200, gpus: [] }])]);
    const jobId = await submit({ ...policy({ failureClass: 'HOST_OUT_OF_MEMORY' }), resources: { memoryMiB: 1000 } });
    await fail(jobId, { state: 'OUT_OF_MEMORY' });
    await retry();
    expect(await jobRow(jobId)).toMatchObject({ state: 'QUEUED', resources: { memoryMiB: 1200 } });
  });
});

describe('which policy counts', () => {
  test('the site\'s for jobs without one; a job\'s own, even an empty one, in its place', async () => {
    const plain = await submit();
    const never = await submit({ config: { batch_size: 64, seed: 2 }, retryPolicy: [] });
    for (const jobId of [plain, never]) await fail(jobId, { stderr: CUDA });
    expect(await retry(site({ failureClass: 'CUDA_OUT_OF_MEMORY' }))).toBe(1);
    expect([await retriesOf(plain), await retriesOf(never)]).toMatchObject([[{ config: { batch_size: 32 } }], []]);
  });

  test('without any nothing is tried again, nor later when there is one', async () => {
    const jobId = await submit();
    await fail(jobId, { stderr: CUDA });
    expect(await retry()).toBe(0);
    expect(await retry(site({ failureClass: 'CUDA_OUT_OF_MEMORY' }))).toBe(0);
    expect(await jobRow(jobId)).toMatchObject({ state: 'FAILED', state_reason: expect.stringMatching(/^exit code 1; CUDA_OUT_OF_MEMORY: .*CUDA out of memory/) });
    const { rows } = await at.db.pool.query("select payload from events where job_id = $1 and kind = 'JOB_UPDATED'", [jobId]);
    expect(rows).toEqual([{ payload: { changed: ['stateReason'], reason: (await jobRow(jobId))['state_reason'] } }]);
  });

  test('a failure that nothing explains is looked at again once its files are read', async () => {
    const jobId = await submit();
    await fail(jobId, { settled: false });
    await retry();
    expect(await jobRow(jobId)).toMatchObject({ state_reason: 'exit code 1', retry_decided_for: 0 });
    await at.db.pool.query("update attempts set stderr_tail = 'ValueError: bad value'; update jobs set harvested_at = now()");
    await retry();
    expect(await jobRow(jobId)).toMatchObject({ state_reason: 'exit code 1; ValueError: bad value', retry_decided_for: 1 });
  });

  test('the rules of the site say what a failure is', async () => {
    const jobId = await submit();
    await fail(jobId, { stderr: 'gremlins in rack 7\n' });
    expect(await retry({ ...site({ failureClass: 'NODE_FAILURE' }), failureRules: [{ class: 'NODE_FAILURE', patterns: [/gremlins/] }] })).toBe(1);
    expect(await jobRow(jobId)).toMatchObject({ state: 'QUEUED', resources: { sbatchOptions: { exclude: 'n1' } } });
  });
});

describe('what must not be tried again', () => {
  test('a job whose end was asked for', async () => {
    const jobId = await submit(policy({ failureClass: 'CUDA_OUT_OF_MEMORY' }));
    await fail(jobId, { stderr: CUDA });
    await at.db.pool.query('update jobs set cancel_requested = true');
    expect(await retry()).toBe(0);
    expect(await jobRow(jobId)).toMatchObject({ state: 'FAILED', retry_decided_for: 1 });
  });

  test('a job that a person put back into the queue meanwhile', async () => {
    const jobId = await submit(policy({ failureClass: 'CUDA_OUT_OF_MEMORY' }));
    await fail(jobId, { stderr: CUDA });
    await retryJobs(at.context, { ids: [jobId] });
    expect(await retry()).toBe(0);
    expect(await jobRow(jobId)).toMatchObject({ state: 'QUEUED' });
  });

  test('an unknown failure before its files were read to the end', async () => {
    const jobId = await submit(policy({ failureClass: 'CUDA_OUT_OF_MEMORY' }, { failureClass: 'UNKNOWN' }));
    await fail(jobId, { settled: false });
    expect(await retry()).toBe(0);
    await at.db.pool.query('update attempts set stderr_tail = $1', [CUDA]);
    expect(await retry()).toBe(1);
    expect(await retriesOf(jobId)).toHaveLength(1);
  });
});

test('more failures than one page holds are all decided about', async () => {
  const { database } = at.db;
  const first = await submit(policy({ failureClass: 'UNKNOWN', backoffSeconds: 0 }));
  const { rows: columns } = await at.db.pool.query<{ name: string }>("select column_name as name from information_schema.columns where table_name = 'jobs' and is_generated = 'NEVER'");
  await at.db.pool.query(`insert into jobs (${columns.map(({ name }) => name).join(', ')}) select ${columns.map(({ name }) => `copy.${name}`).join(', ')}
    from jobs j cross join generate_series(1, 249) n cross join lateral jsonb_populate_record(j, jsonb_build_object('id', gen_random_uuid(), 'fingerprint', n::text)) copy`);
  const { rows } = await at.db.pool.query('select id from jobs');
  for (const { id } of rows) await fail(id);
  expect(await retry()).toBe(250);
  expect(await jobRow(first)).toMatchObject({ state: 'QUEUED' });
  expect(await untilNextDue(database, 'greene')).toBeGreaterThan(0);
});

describe('a retry by hand with changes', () => {
  test('of the configuration makes new jobs', async () => {
    const old = await submit();
    await fail(old);
    const answer = await retryJobs(at.context, { ids: [old], configChanges: { 'optim.lr': 0.1, batch_size: 8 } });
    const [made] = await retriesOf(old);
    expect(answer).toEqual({ changedJobIds: [made!['id']], unchanged: [], matchedCount: 1 });
    expect(made).toMatchObject({ config: { batch_size: 8, seed: 1, optim: { lr: 0.1 } }, state: 'QUEUED', tags: ['retry'], priority: 150, not_before: null });
    expect(await jobRow(old)).toMatchObject({ state: 'FAILED' });
    expect((await retryJobs(at.context, { ids: [old], configChanges: { 'optim.lr': 0.1, batch_size: 8 } })).unchanged).toMatchObject([{ reason: expect.stringContaining('exists already') }]);
  });

  test('of a value that a tag tells changes the tag', async () => {
    const old = await submit({ tags: ['batch_size=64', 'mine'] });
    await fail(old);
    await retryJobs(at.context, { ids: [old], configChanges: { batch_size: 8 } });
    expect([await jobRow(old), ...await retriesOf(old)]).toMatchObject([{ tags: ['batch_size=64', 'mine'] }, { config: { batch_size: 8 }, tags: ['batch_size=8', 'mine', 'retry'] }]);
  });

  test('of the resources only makes new attempts', async () => {
    const old = await submit({ resources: { memoryMiB: 1000, cpus: 4 } });
    await fail(old);
    expect(await retryJobs(at.context, { ids: [old], resourceChanges: { memoryMiB: 2000 } })).toEqual({ changedJobIds: [old], unchanged: [], matchedCount: 1 });
    expect(await jobRow(old)).toMatchObject({ state: 'QUEUED', resources: { memoryMiB: 2000, cpus: 4 }, attempt_count: 1 });
  });

  test('of the resources mend what the cluster refused, within what its partitions have', async () => {
    await at.db.pool.query(`insert into clusters (name, kind, reachable, partitions, updated_at) values ('greene', 'SLURM', true, $1, now())`, [JSON.stringify([
      { name: 'cpu', isDefault: true, availability: 'up', timeLimitMinutes: 60, nodeCount: 1, idleNodeCount: 1, cpuCount: 8, idleCpuCount: 8, memoryMiBPerNode: 1000, gpus: [] }])]);
    const old = await submit({ resources: { account: 'nobody', memoryMiB: 500, timeLimitMinutes: 10 } });
    await fail(old, { state: 'TIMEOUT' });
    const tooMuch = await retryJobs(at.context, { ids: [old], resourceChanges: { memoryMiB: 4000 } });
    expect(tooMuch.unchanged).toEqual([{ jobId: old, reason: 'resourceChanges.memoryMiB: 4000 is more than the 1000 MiB of the largest node of partition cpu' }]);
    expect((await retryJobs(at.context, { ids: [old], resourceChanges: { account: 'lab', timeLimitMinutes: 60 } })).changedJobIds).toEqual([old]);
    expect(await jobRow(old)).toMatchObject({ state: 'QUEUED', resources: { account: 'lab', memoryMiB: 500, timeLimitMinutes: 60 } });
  });

  test('says what cannot be done, and does nothing in a dry run', async () => {
    const old = await submit();
    const waiting = await submit({ config: { batch_size: 1 } });
    await fail(old);
    const dry = await retryJobs(at.context, { ids: [old, waiting], configChanges: { seed: 9 }, dryRun: true });
    expect(dry).toEqual({ changedJobIds: [old], unchanged: [{ jobId: waiting, reason: 'has not ended: QUEUED' }], matchedCount: 2 });
    expect(await retriesOf(old)).toEqual([]);
    expect((await retryJobs(at.context, { ids: [old], configChanges: { 'seed.x': 9 } })).unchanged).toMatchObject([{ reason: expect.stringContaining('"seed" is a plain value') }]);
    expect((await retryJobs(at.context, { ids: [old], resourceChanges: { cpus: -1 } })).unchanged).toMatchObject([{ reason: expect.stringContaining('CPU cores') }]);
    await expect(retryJobs(at.context, { ids: [old], configChanges: { '': 9 } })).rejects.toMatchObject({ faults: [{ field: ['configChanges', ''] }] });
  });
});

test('a job of whose metrics only a roll-up is left by then gets no new attempt, which is said once; with another configuration it is tried again', async () => {
  const [same, changed] = [await submit(policy({ failureClass: 'NODE_FAILURE' })), await submit({ ...policy({ failureClass: 'CUDA_OUT_OF_MEMORY' }), config: { batch_size: 8 } })];
  await at.db.pool.query(`insert into metric_series (job_id, key, series_number, rolled_up_below_step) select unnest($1::uuid[]), 'loss', 1, 1000`, [[same, changed]]);
  await fail(same, { state: 'NODE_FAIL' });
  await fail(changed, { stderr: CUDA });
  expect(await retry()).toBe(1);
  expect(await jobRow(same)).toMatchObject({ state: 'FAILED', state_reason: expect.stringMatching(/exit code 1; not tried again: only a roll-up is left.*RUN_AGAIN/), retry_decided_for: 1 });
  expect(await retriesOf(changed)).toMatchObject([{ state: 'QUEUED', config: { batch_size: 4 } }]);
  expect((await at.db.pool.query(`select payload from events where job_id = $1 and kind = 'JOB_UPDATED'`, [same])).rows).toEqual([{ payload: { changed: ['stateReason'], reason: (await jobRow(same))['state_reason'] } }]);
  expect(await retry()).toBe(0);
});

test('a policy with faults refuses the submission, and names them', async () => {
  await expect(submit({ retryPolicy: [{ failureClass: 'LOST' as never, maxRetries: 99 }, { failureClass: 'NAN_LOSS', memoryFactor: 0.5 }] })).rejects.toMatchObject({
    faults: [{ field: ['retryPolicy', '0', 'failureClass'] }, { field: ['retryPolicy', '0', 'maxRetries'] }, { field: ['retryPolicy', '1', 'memoryFactor'] }],
  });
});
