import { describe, expect, it } from 'vitest';
import { isBatchToken, MAX_TASKS_PER_BATCH, planBatches, type QueuedTask } from '../../src/domain/batching.ts';
import { MAX_SCRIPT_BYTES, renderBatchScript } from '../../src/domain/script/batch-script.ts';
import { identityOf, plainResources, taskOf } from '../support/batches.ts';

const ROOT = '/scratch/ada';
const settings = { rootDirectory: ROOT, setupScript: 'module load cuda' };
const queued = (name: string, task: Partial<QueuedTask> = {}): QueuedTask => ({ ...taskOf(ROOT, name), resources: plainResources, ...task });
const many = (count: number): QueuedTask[] => Array.from({ length: count }, (_, index) => queued(`job-${index}`));
const names = (batches: { tasks: { jobName: string }[] }[]): string[][] => batches.map(({ tasks }) => tasks.map(({ jobName }) => jobName));

describe('batches of queued jobs', () => {
  it('hold jobs of equal resources and experiment, in priority order, batches in the order of their first job', () => {
    const large = { ...plainResources, gpus: 2 };
    const queue = [queued('a'), queued('b', { resources: large }), queued('c'), queued('d', { experiment: 'vit' }), queued('e', { resources: { ...large } })];
    const batches = planBatches(queue, { settings, maxArraySize: 1001 });
    expect(names(batches)).toEqual([['a', 'c'], ['b', 'e'], ['d']]);
    expect(batches.map(({ resources, setupScript, rootDirectory }) => ({ gpus: resources.gpus, setupScript, rootDirectory }))).toEqual(
      [0, 2, 0].map((gpus) => ({ gpus, setupScript: 'module load cuda', rootDirectory: ROOT })));
  });

  it('see equal resources in any order of keys', () => {
    const one = { ...plainResources, sbatchOptions: { constraint: 'a', nice: '1' } };
    const other = { ...Object.fromEntries(Object.entries(plainResources).reverse()), sbatchOptions: { nice: '1', constraint: 'a' } } as typeof one;
    expect(planBatches([queued('a', { resources: one }), queued('b', { resources: other })], { settings, maxArraySize: null })).toHaveLength(1);
  });

  it('are cut at the array size of the cluster', () => {
    expect(names(planBatches(many(5), { settings, maxArraySize: 2 }))).toEqual([['job-0', 'job-1'], ['job-2', 'job-3'], ['job-4']]);
    expect(planBatches(many(3), { settings, maxArraySize: 0 })).toHaveLength(3);
    expect(planBatches(many(MAX_TASKS_PER_BATCH + 1), { settings, maxArraySize: null }).map(({ tasks }) => tasks.length)).toEqual([MAX_TASKS_PER_BATCH, 1]);
  });

  it('are cut before their script becomes too large, and one job that is too large stands alone', () => {
    const config = (bytes: number): Partial<QueuedTask> => ({ identity: identityOf({ config: { text: 'x'.repeat(bytes) } }) });
    const queue = [queued('a', config(1_000_000)), queued('b', config(1_000_000)), queued('c', config(1_500_000)), queued('d', config(4_000_000)), queued('e')];
    const batches = planBatches(queue, { settings, maxArraySize: 1001 });
    expect(names(batches)).toEqual([['a', 'b'], ['c'], ['d'], ['e']]);
    expect(batches.map((batch) => renderBatchScript(batch).length < MAX_SCRIPT_BYTES + 20_000)).toEqual([true, true, false, true]);
  });

  it('have names of their own that say which experiment they are of', () => {
    const batches = planBatches(many(50), { settings, maxArraySize: 1 });
    expect(new Set(batches.map(({ token }) => token)).size).toBe(50);
    for (const { token } of batches) expect(token).toMatch(/^eg-[a-z2-7]{10}-resnet$/);
    const odd = planBatches(['', '-.-', 'ünïcode / slash', 'x'.repeat(300)].map((experiment) => queued('a', { experiment })), { settings, maxArraySize: 1 });
    expect([...batches, ...odd].every(({ token }) => isBatchToken(token))).toBe(true);
    expect(['eg-', 'eg-abc-resnet', 'wrap', 'eg-abcdefghij-', 'my-eg-abcdefghij-resnet', 'eg-abcdefghij-res net'].filter(isBatchToken)).toEqual([]);
  });

  it('of an empty queue are none', () => {
    expect(planBatches([], { settings, maxArraySize: 10 })).toEqual([]);
  });
});
