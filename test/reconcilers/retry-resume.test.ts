/** From which checkpoint a job goes on that is tried again after a failure. */
import { v7 } from 'uuid';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { retryJobs } from '../../src/actions/retry-jobs.ts';
import { submitJob } from '../../src/actions/submit-job.ts';
import type { CheckpointState } from '../../src/domain/checkpoint-scan.ts';
import type { RetryRuleInput } from '../../src/domain/retry-policy.ts';
import { retryFailedJobs } from '../../src/reconcilers/retry.ts';
import { fakeClusterTest, silent, type FakeCluster, type FakeClusterTest } from './fake-cluster.ts';

let at: FakeClusterTest;
let fake: FakeCluster;
let scripts: string[];
beforeEach(async () => {
  at = await fakeClusterTest();
  fake = at.fake;
  scripts = [];
  const { submit } = fake.cluster.executor;
  fake.override({ submit: async (batch, script) => {
    scripts.push(script);
    return submit(batch, script);
  } });
});
afterEach(() => at.close());

const dispatch = () => fake.dispatch(at.db.database);
const retry = () => retryFailedJobs({
  database: at.db.database, settings: fake.cluster.settings, policies: { failureRules: [], retryPolicy: [] }, now: () => new Date(), random: () => 0, logger: silent,
});

async function submit(rule: RetryRuleInput): Promise<string> {
  const { jobs } = await submitJob(at.context, {
    project: 'vision', experiment: 'resume', name: 'long', command: ['train'], config: { batch_size: 64 }, resources: { memoryMiB: 1000, timeLimitMinutes: 60 }, retryPolicy: [rule],
  });
  await dispatch();
  return jobs[0]!.jobId!;
}

async function leaveCheckpoint(jobId: string, step: number, state: CheckpointState, writtenAt: string): Promise<void> {
  await at.db.pool.query(`insert into checkpoints (job_id, path, id, attempt_number, state, step, size_bytes, file_count, written_at) values ($1, $2, $3, 1, $4, $5, 9, 1, $6)`,
    [jobId, `/saved/step=${step}.ckpt`, v7(), state, step, writtenAt]);
}

async function endAs(state: 'OUT_OF_MEMORY' | 'TIMEOUT'): Promise<void> {
  fake.says.set(0, { state });
  await fake.observe(at.db.database, 0);
  fake.says.clear();
}

const resumedFrom = (): (string | undefined)[] => scripts.map((script) => /EXPGRAPH_RESUME_CHECKPOINT=(.*)/.exec(script)?.[1]);

test('a new attempt has the path of the last complete checkpoint among its parameters, not that of an unfinished or earlier one', async () => {
  const jobId = await submit({ failureClass: 'HOST_OUT_OF_MEMORY' });
  await endAs('OUT_OF_MEMORY');
  await leaveCheckpoint(jobId, 1, 'COMPLETE', '2030-01-03');
  await leaveCheckpoint(jobId, 3, 'COMPLETE', '2030-01-02');
  await leaveCheckpoint(jobId, 9, 'PARTIAL', '2030-01-04');
  expect(await retry()).toBe(1);
  await dispatch();
  expect(resumedFrom()).toEqual(["''", "'/saved/step=3.ckpt'"]);
});

describe('where the last checkpoint is archived, or about to be, nothing begins anew unasked', () => {
  const askFor = async (jobId: string, action: 'ARCHIVE' | 'DELETE' | 'RESTORE', step: number): Promise<string> => {
    const requestId = v7();
    await at.db.pool.query(`insert into checkpoint_requests (id, action, place, requested_by) values ($1, $2, 'LOGIN_NODE', 'me')`, [requestId, action]);
    await at.db.pool.query(`insert into checkpoint_request_items (job_id, checkpoint_id, request_id, action, cluster, state, size_bytes, file_count, written_at)
      select job_id, id, $2, $3, 'greene', 'RUNNING', 9, 1, written_at from checkpoints where job_id = $1 and step = $4`, [jobId, requestId, action, step]);
    return requestId;
  };
  const reasonsOf = async (input: object): Promise<string[]> => (await retryJobs(at.context, { filter: { states: ['FAILED'] }, ...input })).unchanged.map(({ reason }) => reason);

  test('by hand: the job stays as it is and says what to do, until that is ignored on purpose', async () => {
    const jobId = await submit({ failureClass: 'TIME_LIMIT' });
    await endAs('OUT_OF_MEMORY');
    await leaveCheckpoint(jobId, 1, 'COMPLETE', '2030-01-03');
    await leaveCheckpoint(jobId, 3, 'ARCHIVED', '2030-01-02');
    const { rows: [{ id }] } = await at.db.pool.query("select id from checkpoints where state = 'ARCHIVED'");
    const archived = `its last checkpoint /saved/step=3.ckpt is archived: restore it first with restoreCheckpoints(input: { ids: ["${id}"] }), or retry it with ignoreArchived: true`;
    for (const input of [{}, { dryRun: true }, { resourceChanges: { cpus: 3 } }]) expect(await reasonsOf(input)).toEqual([archived]);
    const restoring = await askFor(jobId, 'RESTORE', 3);
    expect(await reasonsOf({})).toEqual([`its last checkpoint /saved/step=3.ckpt is being restored from its archive: retry it when request ${restoring} is DONE`]);
    await at.db.pool.query("update checkpoints set state = 'DELETED' where state = 'ARCHIVED'");
    const archiving = await askFor(jobId, 'ARCHIVE', 1);
    expect(await reasonsOf({})).toEqual([`its last checkpoint /saved/step=1.ckpt is about to be archived: withdraw that with cancelCheckpointRequest(input: { id: "${archiving}" }), or retry it with ignoreArchived: true`]);
    expect((await retryJobs(at.context, { ids: [jobId], dryRun: true, configChanges: { batch_size: 8 } })).changedJobIds).toEqual([jobId]);
    expect((await retryJobs(at.context, { ids: [jobId], ignoreArchived: true })).changedJobIds).toEqual([jobId]);
    await dispatch();
    expect(resumedFrom()).toEqual(["''", "''"]);
  });

  test('by a policy: it is not tried again, and its reason says why', async () => {
    const jobId = await submit({ failureClass: 'HOST_OUT_OF_MEMORY' });
    await endAs('OUT_OF_MEMORY');
    await leaveCheckpoint(jobId, 3, 'ARCHIVED', '2030-01-02');
    expect(await retry()).toBe(0);
    const { rows: [job] } = await at.db.pool.query('select state, state_reason from jobs');
    expect(job).toEqual({ state: 'FAILED', state_reason: expect.stringContaining('; not tried again: its last checkpoint /saved/step=3.ckpt is archived: restore it first') });
  });

  test('one that is archived holds nobody up where another of the same step is there', async () => {
    const jobId = await submit({ failureClass: 'HOST_OUT_OF_MEMORY' });
    await endAs('OUT_OF_MEMORY');
    await leaveCheckpoint(jobId, 3, 'COMPLETE', '2030-01-02');
    await leaveCheckpoint(jobId, 2, 'ARCHIVED', '2030-01-03');
    await at.db.pool.query('update checkpoints set step = 3');
    expect(await retry()).toBe(1);
    await dispatch();
    expect(resumedFrom()).toEqual(["''", "'/saved/step=3.ckpt'"]);
  });

  test.each([
    { action: 'RESTORE', before: 'ARCHIVED', ends: 'DONE', after: 'COMPLETE', retried: 1 },
    { action: 'RESTORE', before: 'ARCHIVED', ends: 'FAILED', after: 'ARCHIVED', retried: 0 },
    { action: 'ARCHIVE', before: 'COMPLETE', ends: 'CANCELLED', after: 'COMPLETE', retried: 1 },
    { action: 'ARCHIVE', before: 'COMPLETE', ends: 'DONE', after: 'ARCHIVED', retried: 0 },
  ] as const)('by a policy: while it is not known what comes of $action nothing is decided; when it is $ends, $retried is tried again', async ({ action, before, ends, after, retried }) => {
    const jobId = await submit({ failureClass: 'HOST_OUT_OF_MEMORY' });
    await endAs('OUT_OF_MEMORY');
    await leaveCheckpoint(jobId, 3, before, '2030-01-02');
    await askFor(jobId, action, 3);
    const decidedFor = async (): Promise<unknown> => (await at.db.pool.query('select retry_decided_for as decided from jobs')).rows[0]?.decided;
    expect([await retry(), await decidedFor()]).toEqual([0, 0]);
    await at.db.pool.query('update checkpoint_request_items set state = $1', [ends]);
    await at.db.pool.query('update checkpoints set state = $1', [after]);
    expect([await retry(), await decidedFor()]).toEqual([retried, 1]);
  });
});

test('a job made with another configuration begins anew', async () => {
  const jobId = await submit({ failureClass: 'HOST_OUT_OF_MEMORY', configChanges: [{ key: 'batch_size', multiply: 0.5 }] });
  await endAs('OUT_OF_MEMORY');
  await leaveCheckpoint(jobId, 1, 'COMPLETE', '2030-01-03');
  expect(await retry()).toBe(1);
  await dispatch();
  expect(resumedFrom()).toEqual(["''", "''"]);
});

test('at the time limit of its partition a job is tried again only where a complete checkpoint lets it go on', async () => {
  await at.db.pool.query(`insert into clusters (name, kind, reachable, partitions, updated_at) values ('greene', 'SLURM', true, $1, now())`,
    [JSON.stringify([{ name: 'gpu', isDefault: true, availability: 'up', timeLimitMinutes: 60, nodeCount: 1, idleNodeCount: 1, cpuCount: 8, idleCpuCount: 8, memoryMiBPerNode: 2000, gpus: [] }])]);
  const jobId = await submit({ failureClass: 'TIME_LIMIT' });
  await endAs('TIMEOUT');
  await leaveCheckpoint(jobId, 1, 'PARTIAL', '2030-01-03');
  expect(await retry()).toBe(0);
  const { rows: [{ state_reason: why }] } = await at.db.pool.query('select state_reason from jobs where id = $1', [jobId]);
  expect(why).toBe('the time limit of 60 min was reached; not tried again: its partition allows no more than 60 minutes, and it left no complete checkpoint to go on from');
  await leaveCheckpoint(jobId, 2, 'COMPLETE', '2030-01-04');
  await at.db.pool.query('update jobs set retry_decided_for = 0');
  expect(await retry()).toBe(1);
  await dispatch();
  expect(resumedFrom()).toEqual(["''", "'/saved/step=2.ckpt'"]);
});
