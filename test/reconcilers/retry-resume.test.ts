/** From which checkpoint a job goes on that is tried again after a failure. */
import { v7 } from 'uuid';
import { afterEach, beforeEach, expect, test } from 'vitest';
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
