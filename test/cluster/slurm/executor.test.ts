/** What only SLURM has: refusals, a queue to be held in, arrays whose waiting tasks share one record. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { TrackedAttempt } from '../../../src/cluster/executor.ts';
import { openCluster } from '../../../src/cluster/open-cluster.ts';
import { renderBatchScript } from '../../../src/domain/script/batch-script.ts';
import { ensureRig, rigUnavailableReason, slurm, startRequeued, type Rig } from '../../rig/rig.ts';
import { openOnRig, shellBatch, submit, untilStates, type TestCluster } from '../executors.ts';

describe.skipIf(rigUnavailableReason() !== null)('the SLURM executor', () => {
  let rig: Rig;
  let test: TestCluster;
  beforeAll(async () => {
    rig = await ensureRig();
    test = openOnRig(rig, 'beta');
  }, 180_000);
  afterAll(async () => { await test?.close(); });

  /** Waiting, but able to run when released. */
  const held = { hold: '' };

  it.each([
    ['partition', { partition: 'nowhere' }, /partition/],
    ['account', { account: 'nobody' }, /account/],
    ['GPUs', { gpus: 99 }, /not available/],
  ])('passes on why SLURM refused: %s', async (_, resources, message) => {
    const batch = shellBatch(test, ['true'], resources);
    await expect(test.cluster.executor.submit(batch, renderBatchScript(batch))).rejects.toMatchObject({ name: 'SubmitError', failure: 'refused', message: expect.stringMatching(message) });
  });

  it('calls it "not now" when nobody answers at the door', async () => {
    const { settings } = test.cluster;
    const closed = openCluster({ ...settings, ssh: { ...settings.ssh!, port: 1 } });
    const batch = shellBatch(test, ['true']);
    await expect(closed.executor.submit(batch, renderBatchScript(batch))).rejects.toMatchObject({ name: 'SubmitError', failure: 'transient' });
    await expect(closed.executor.observe([{ ...trackedOne }])).rejects.toMatchObject({ name: 'TransportError' });
    await closed.close();
  });

  it('holds and releases waiting tasks', async () => {
    const { submitted, tracked } = await submit(test, shellBatch(test, ['true', 'true', 'true'], { sbatchOptions: held }));
    const reasons = async (): Promise<(string | null)[]> => (await test.cluster.executor.observe(tracked)).observations
      .sort((a, b) => a.taskIndex - b.taskIndex).map(({ state, reason }) => (state === 'PENDING' ? reason : state));
    expect(await reasons()).toEqual(['JobHeldUser', 'JobHeldUser', 'JobHeldUser']);
    await test.cluster.executor.setHeld(submitted.taskSlurmJobIds.slice(1), false);
    await test.cluster.executor.setHeld(submitted.taskSlurmJobIds.slice(0, 1), true);
    await untilStates(test.cluster, tracked, ['PENDING', 'COMPLETED', 'COMPLETED']);
    await test.cluster.executor.setHeld(submitted.taskSlurmJobIds, false);
    await untilStates(test.cluster, tracked, ['COMPLETED', 'COMPLETED', 'COMPLETED']);
  });

  it('finds a job by its name, waiting and ended, and nothing under another', async () => {
    const batch = { ...shellBatch(test, ['true'], { sbatchOptions: held }), token: `expgraph-checkpoints-${randomBytes(6).toString('hex')}` };
    const { slurmJobId } = await test.cluster.executor.submit(batch, '#!/bin/bash\ntrue\n');
    expect(await test.cluster.executor.findByName(batch.token)).toEqual({ slurmJobId, state: 'PENDING' });
    await test.cluster.executor.cancel([slurmJobId!]);
    await vi.waitFor(async () => expect(await test.cluster.executor.findByName(batch.token)).toEqual({ slurmJobId, state: 'CANCELLED' }), { timeout: 60_000 });
    expect(await test.cluster.executor.findByName(`${batch.token}x`)).toBeNull();
    // Its name is not of the form of those of attempts.
    expect((await test.cluster.executor.observe([])).strangers.filter(({ token }) => token === batch.token)).toEqual([]);
  });

  it('sees the end of tasks that were cancelled while they waited, also of some of an array', async () => {
    const { submitted, tracked } = await submit(test, shellBatch(test, ['true', 'true', 'true', 'true'], { sbatchOptions: held }));
    await untilStates(test.cluster, tracked, ['PENDING', 'PENDING', 'PENDING', 'PENDING']);
    await test.cluster.executor.cancel([submitted.taskSlurmJobIds[1]!, submitted.taskSlurmJobIds[3]!]);
    const seen = await untilStates(test.cluster, tracked, ['PENDING', 'CANCELLED', 'PENDING', 'CANCELLED']);
    expect(seen[1]).toMatchObject({ startedAt: null, nodeList: null });
    await test.cluster.executor.cancel(submitted.taskSlurmJobIds);
    await untilStates(test.cluster, tracked, ['CANCELLED', 'CANCELLED', 'CANCELLED', 'CANCELLED']);
  });

  it('sees a whole array that somebody else cancelled', async () => {
    const { submitted, tracked } = await submit(test, shellBatch(test, ['true', 'true'], { sbatchOptions: held }));
    await slurm(rig, 'beta', ['scancel', submitted.slurmJobId!]);
    await untilStates(test.cluster, tracked, ['CANCELLED', 'CANCELLED']);
  });

  it('submits an array as large as the cluster allows, in one go', async () => {
    const { maxArraySize } = await test.cluster.executor.describe();
    const commands = Array.from({ length: maxArraySize! }, () => 'true');
    const { submitted, tracked } = await submit(test, shellBatch(test, commands, { sbatchOptions: held }));
    expect(submitted.taskSlurmJobIds).toHaveLength(maxArraySize!);
    await untilStates(test.cluster, tracked, commands.map(() => 'PENDING'));
    await test.cluster.executor.cancel(submitted.taskSlurmJobIds);
    await untilStates(test.cluster, tracked, commands.map(() => 'CANCELLED'));
  });

  it('tells of what waits under a token of ours and is none of the attempts asked about, with no further command', async () => {
    const { executor } = test.cluster;
    const batch = shellBatch(test, ['true', 'true', 'true'], { sbatchOptions: held });
    const first = await submit(test, batch);
    const second = await submit(test, batch);
    const single = await submit(test, shellBatch(test, ['true'], { sbatchOptions: held }));
    const ours = [first, second, single].map(({ submitted }) => submitted.slurmJobId);
    const strangers = async (asked: TrackedAttempt[]): Promise<string[]> => (await executor.observe(asked)).strangers
      .filter(({ slurmJobId }) => ours.includes(slurmJobId)).map(({ slurmJobId, taskIndexes }) => [slurmJobId, ...taskIndexes ?? []].join('_')).sort();
    const squeueCount = (): number => test.cluster.commandCounts.get('squeue') ?? 0;
    const before = squeueCount();
    expect(await strangers([])).toEqual([first, second, single].flatMap(({ submitted }) => submitted.taskSlurmJobIds).sort());
    expect(await strangers([...first.tracked.slice(1), ...single.tracked])).toEqual([first.submitted.taskSlurmJobIds[0], ...second.submitted.taskSlurmJobIds].sort());
    expect(squeueCount() - before).toBe(2);
    await executor.cancel([first, second, single].flatMap(({ submitted }) => submitted.taskSlurmJobIds));
    await vi.waitFor(async () => expect(await strangers([])).toEqual([]), { timeout: 30_000, interval: 200 });
  });

  it('tells of a job that had ended, was put back into the queue and has ended again while nobody looked', async () => {
    const { executor } = test.cluster;
    const batch = shellBatch(test, ['true']);
    const { submitted, tracked } = await submit(test, batch);
    const id = submitted.slurmJobId!;
    await untilStates(test.cluster, tracked, ['COMPLETED']);
    const onBeta = (...argv: string[]): Promise<string> => slurm(rig, 'beta', argv);
    const states = async (): Promise<string[]> => (await executor.observe([])).strangers.filter(({ slurmJobId }) => slurmJobId === id).map(({ state }) => state);
    expect(await states()).toEqual([]);
    const queue = (): Promise<string> => onBeta('squeue', '-h', '-t', 'all', '-j', id, '-o', '%T %V');
    const before = await queue();
    expect(before).toMatch(/^COMPLETED /);
    // Its times are whole seconds.
    await vi.waitFor(() => expect(Date.now() - Date.parse(`${before.trim().split(' ')[1]}Z`)).toBeGreaterThan(2_000), { timeout: 30_000, interval: 100 });
    await onBeta('scontrol', 'requeue', id);
    await startRequeued(onBeta, id);
    await vi.waitFor(async () => {
      const now = await queue();
      expect(now).toMatch(/^COMPLETED /);
      expect(now).not.toBe(before);
    }, { timeout: 60_000, interval: 200 });
    expect(await states()).toEqual(['COMPLETED']);
  });

  it('gives the job its GPUs', async () => {
    const batch = shellBatch(test, ['test "$(echo "$CUDA_VISIBLE_DEVICES" | tr , "\\n" | wc -l)" = 2'], { gpus: 2, gpuType: 'a100' });
    const { tracked } = await submit(test, batch);
    await untilStates(test.cluster, tracked, ['COMPLETED']);
  });

  it('describes partitions with their GPUs', async () => {
    const { partitions, schedulerVersion } = await test.cluster.executor.describe();
    expect(partitions.find(({ name }) => name === 'gpu')?.gpus).toEqual([{ type: 'a100', total: 8, used: expect.any(Number) as number }]);
    expect(schedulerVersion).toMatch(/^\d+\.\d+/);
  });
});

const trackedOne = {
  token: 'eg-x', taskIndex: 0, taskCount: 1, slurmJobId: '1', jobDirectory: '/nowhere', attemptNumber: 1, submittedAt: new Date(), timeLimitMinutes: null,
  startedAt: null, restart: 0,
};
