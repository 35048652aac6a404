import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/domain/job-spec.ts';
import { decideRetry, limitsOf, retriedName, type FailedJob, type RetryDecision, type RetryLimits } from '../../src/domain/retry-decision.ts';
import { completeRetryPolicy, MAX_BACKOFF_SECONDS, RETRYABLE_CLASSES, type RetryableClass, type RetryRuleInput } from '../../src/domain/retry-policy.ts';
import { plainResources } from '../support/batches.ts';

const now = new Date('2026-01-01T00:00:00Z');
const noLimits: RetryLimits = { timeLimitMinutes: null, memoryMiB: null, canExcludeNodes: true };
const failed = (changes: Partial<FailedJob> = {}): FailedJob => ({
  config: {}, resources: plainResources, priority: 100, tags: ['mine'], retryCounts: {}, nodeList: 'n1', hasCheckpoint: false, ...changes,
});
const decide = (job: FailedJob, failureClass: RetryableClass, rule: Partial<RetryRuleInput> = {}, limits: RetryLimits = noLimits, jitter = 0): RetryDecision =>
  decideRetry(job, failureClass, completeRetryPolicy([{ failureClass, ...rule }]), { limits, now, jitter });

describe('without a rule for the class', () => {
  test('nothing is tried again, and nothing is said', () => {
    expect(decideRetry(failed(), 'UNKNOWN', [], { limits: noLimits, now, jitter: 0 })).toEqual({ kind: 'NONE', reason: null });
    expect(decide(failed(), 'UNKNOWN', { maxRetries: 0 })).toEqual({ kind: 'NONE', reason: null });
  });
});

test('a rule that says no more than its class tries twice: at once where something is changed, after a minute where the same is tried again', () => {
  const rules = completeRetryPolicy(RETRYABLE_CLASSES.map((failureClass) => ({ failureClass })));
  expect(new Set(rules.map(({ maxRetries, priorityBoost }) => `${maxRetries} ${priorityBoost}`))).toEqual(new Set(['2 50']));
  const changing = rules.filter(({ memoryFactor, timeLimitFactor, configChanges }) => memoryFactor !== null || timeLimitFactor !== null || configChanges.length > 0);
  expect(changing.map(({ failureClass }) => failureClass).sort()).toEqual(['CUDA_OUT_OF_MEMORY', 'HOST_OUT_OF_MEMORY', 'NAN_LOSS', 'TIME_LIMIT']);
  for (const rule of rules) expect(rule.backoffSeconds).toBe(changing.includes(rule) ? 0 : 60);
});

describe('a configuration that failed is changed, which makes a new job', () => {
  test('CUDA_OUT_OF_MEMORY halves the batch and doubles the accumulation', () => {
    const config: JsonObject = { batch_size: 65, gradient_accumulation: 2, optim: { lr: 0.1 } };
    expect(decide(failed({ config }), 'CUDA_OUT_OF_MEMORY')).toMatchObject({
      kind: 'NEW_JOB', config: { batch_size: 32, gradient_accumulation: 4, optim: { lr: 0.1 } }, priority: 150, tags: ['mine', 'retry', 'CUDA_OUT_OF_MEMORY'],
      retryCounts: { CUDA_OUT_OF_MEMORY: 1 }, notBefore: now,
    });
    expect(config['batch_size']).toBe(65);
  });

  test('tags that tell a value tell the new one; others stay', () => {
    const config: JsonObject = { batch_size: 64, model: { name: 'big' } };
    const tags = ['batch_size=64', 'model.name=big', 'batch_size=1', 'x=64', '=', 'mine'];
    expect(decide(failed({ config, tags }), 'CUDA_OUT_OF_MEMORY')).toMatchObject({
      kind: 'NEW_JOB', config: { batch_size: 32 }, tags: ['batch_size=32', 'model.name=big', 'batch_size=1', 'x=64', '=', 'mine', 'retry', 'CUDA_OUT_OF_MEMORY'],
    });
  });

  test('NAN_LOSS sets the clipping that is there and halves the learning rate', () => {
    expect(decide(failed({ config: { grad_clip_norm: null, optim: { lr: 0.1, name: 'sgd' } } }), 'NAN_LOSS')).toMatchObject({
      kind: 'NEW_JOB', config: { grad_clip_norm: 1, optim: { lr: 0.05, name: 'sgd' } },
    });
    expect(decide(failed({ config: { optim: { lr: 0.1 } } }), 'NAN_LOSS')).toMatchObject({ kind: 'NEW_JOB', config: { optim: { lr: 0.05 } } });
  });

  test('the keys are the ones that the policy names', () => {
    const configChanges = [{ key: 'train.batch', multiply: 0.25, integer: true }, { key: 'amp', set: true }];
    expect(decide(failed({ config: { train: { batch: 64 } } }), 'CUDA_OUT_OF_MEMORY', { configChanges })).toMatchObject({ config: { train: { batch: 16 }, amp: true } });
  });

  test('what cannot be changed is not tried again, and the reason is said', () => {
    expect(decide(failed({ config: { batch_size: 1 } }), 'CUDA_OUT_OF_MEMORY')).toEqual({ kind: 'NONE', reason: '"batch_size" is 1 and cannot be changed further' });
    expect(decide(failed({ config: { gradient_accumulation: 1 } }), 'CUDA_OUT_OF_MEMORY')).toMatchObject({ kind: 'NONE', reason: expect.stringContaining('no number "batch_size"') });
    expect(decide(failed({ config: { model: 'x' } }), 'NAN_LOSS')).toMatchObject({ kind: 'NONE', reason: expect.stringContaining('none of the values') });
    expect(decide(failed({ config: { optim: 'adam' } }), 'NAN_LOSS', { configChanges: [{ key: 'optim.lr', set: 0.1 }] })).toMatchObject({ kind: 'NONE' });
  });
});

describe('resources that were too small are raised, which makes a new attempt', () => {
  const resources = { ...plainResources, memoryMiB: 1000, timeLimitMinutes: 60 };

  test('memory by half, up to what a node of the partition has', () => {
    expect(decide(failed({ resources }), 'HOST_OUT_OF_MEMORY')).toMatchObject({ kind: 'NEW_ATTEMPT', resources: { memoryMiB: 1500, timeLimitMinutes: 60 } });
    expect(decide(failed({ resources }), 'HOST_OUT_OF_MEMORY', {}, { ...noLimits, memoryMiB: 1200 })).toMatchObject({ resources: { memoryMiB: 1200 } });
    expect(decide(failed({ resources }), 'HOST_OUT_OF_MEMORY', {}, { ...noLimits, memoryMiB: 1000 })).toMatchObject({ kind: 'NONE', reason: expect.stringContaining('1000 MiB') });
    expect(decide(failed(), 'HOST_OUT_OF_MEMORY')).toMatchObject({ kind: 'NONE', reason: expect.stringContaining('names no memory') });
  });

  test('time by half, up to the limit of the partition; at the limit a checkpoint makes another try worth while', () => {
    expect(decide(failed({ resources }), 'TIME_LIMIT')).toMatchObject({ kind: 'NEW_ATTEMPT', resources: { timeLimitMinutes: 90 } });
    const limits = { ...noLimits, timeLimitMinutes: 60 };
    expect(decide(failed({ resources }), 'TIME_LIMIT', {}, limits)).toMatchObject({ kind: 'NONE', reason: expect.stringContaining('no complete checkpoint') });
    expect(decide(failed({ resources, hasCheckpoint: true }), 'TIME_LIMIT', {}, limits)).toMatchObject({ kind: 'NEW_ATTEMPT', resources: { timeLimitMinutes: 60 } });
  });

  test('the limits are the tightest of the partitions that it may run in', () => {
    const partition = (name: string, timeLimitMinutes: number | null, memoryMiBPerNode: number | null) => ({ name, isDefault: name === 'a', timeLimitMinutes, memoryMiBPerNode });
    const partitions = [partition('a', 10, 100), partition('b', 20, 50), partition('c', null, null)];
    expect(limitsOf(plainResources, partitions)).toEqual({ timeLimitMinutes: 10, memoryMiB: 100 });
    expect(limitsOf({ ...plainResources, partition: 'b,c' }, partitions)).toEqual({ timeLimitMinutes: 20, memoryMiB: 50 });
    expect(limitsOf({ ...plainResources, partition: 'c' }, partitions)).toEqual({ timeLimitMinutes: null, memoryMiB: null });
    expect(limitsOf(plainResources, null)).toEqual({ timeLimitMinutes: null, memoryMiB: null });
  });
});

describe('the failed node is excluded', () => {
  const excluded = (nodeList: string | null, exclude?: string, limits = noLimits) => {
    const decision = decide(failed({ nodeList, resources: { ...plainResources, sbatchOptions: exclude === undefined ? {} : { exclude } } }), 'NODE_FAILURE', {}, limits);
    return decision.kind === 'NEW_ATTEMPT' ? decision.resources.sbatchOptions['exclude'] : decision;
  };

  test('beside those that were excluded already', () => {
    expect(excluded('n1')).toBe('n1');
    expect(excluded('n1', 'n[2-3,5],n7')).toBe('n[2-3,5],n7,n1');
    expect(excluded('n7', 'n7')).toBe('n7');
  });

  test('but not where nobody knows which of several it was, or where there are no nodes to choose from', () => {
    expect(excluded('n[1-4]')).toBeUndefined();
    expect(excluded(null)).toBeUndefined();
    expect(excluded('n1', undefined, { ...noLimits, canExcludeNodes: false })).toBeUndefined();
  });

  test('nor where the rule does not ask for it', () => {
    expect(decide(failed(), 'PREEMPTED')).toMatchObject({ kind: 'NEW_ATTEMPT', resources: { sbatchOptions: expect.not.objectContaining({ exclude: expect.anything() }) } });
  });
});

test('the wait doubles with each retry of the class, with jitter on top', () => {
  const waits = [0, 1, 2].map((retries) => {
    const decision = decide(failed({ retryCounts: { PREEMPTED: retries, UNKNOWN: 5 } }), 'PREEMPTED', { maxRetries: 5, backoffSeconds: 10 }, noLimits, 1);
    return decision.kind === 'NONE' ? null : (decision.notBefore.getTime() - now.getTime()) / 1000;
  });
  expect(waits).toEqual([12.5, 25, 50]);
});

test('the wait is a day at the most, however often it has doubled', () => {
  expect(decide(failed({ retryCounts: { PREEMPTED: 19 } }), 'PREEMPTED', { maxRetries: 20 })).toMatchObject({ notBefore: new Date(now.getTime() + MAX_BACKOFF_SECONDS * 1000) });
});

test('the name of the new job tells what is different, also after several retries', () => {
  const once = retriedName('lr=0.1', { batch_size: 64, a: 1 }, { batch_size: 32, a: 1 });
  expect(once).toBe('lr=0.1 > batch_size=32');
  expect(retriedName(once, { batch_size: 32 }, { batch_size: 16 })).toBe('lr=0.1 > batch_size=16');
});

describe('whatever job, failure and policy', () => {
  const whole = (max: number) => fc.integer({ min: 0, max });
  const job = fc.record({
    config: fc.dictionary(fc.constantFrom('batch_size', 'gradient_accumulation', 'grad_clip_norm', 'other'), fc.oneof(fc.integer(), fc.double({ noNaN: true }), fc.string())),
    memoryMiB: fc.option(fc.integer({ min: 1, max: 10_000 })), timeLimitMinutes: fc.option(fc.integer({ min: 1, max: 10_000 })), priority: whole(1000), hasCheckpoint: fc.boolean(),
  });
  const limits = fc.record({ memoryMiB: fc.option(fc.integer({ min: 1, max: 10_000 })), timeLimitMinutes: fc.option(fc.integer({ min: 1, max: 10_000 })), canExcludeNodes: fc.boolean() });
  const rules = fc.uniqueArray(fc.record({
    failureClass: fc.constantFrom(...RETRYABLE_CLASSES), maxRetries: whole(5), backoffSeconds: fc.double({ min: 0, max: MAX_BACKOFF_SECONDS, noNaN: true }), excludeFailedNode: fc.boolean(),
    memoryFactor: fc.option(fc.double({ min: 1, max: 10, noNaN: true })), timeLimitFactor: fc.option(fc.double({ min: 1, max: 10, noNaN: true })), priorityBoost: fc.integer({ min: -1000, max: 1000 }),
  }), { selector: (rule) => rule.failureClass });

  test('a job is never tried again more often than its policy says, nor beyond a limit', () => {
    fc.assert(fc.property(job, limits, rules, fc.array(fc.constantFrom(...RETRYABLE_CLASSES), { maxLength: 40 }), fc.double({ min: 0, max: 1, noNaN: true }), (given, bounds, inputs, failures, jitter) => {
      const { memoryMiB, timeLimitMinutes, ...rest } = given;
      const policy = completeRetryPolicy(inputs);
      let current = failed({ ...rest, config: rest.config as JsonObject, resources: { ...plainResources, memoryMiB, timeLimitMinutes } });
      const made = new Map<string, number>();
      for (const failureClass of failures) {
        const decision = decideRetry(current, failureClass, policy, { limits: bounds, now, jitter });
        if (decision.kind === 'NONE') continue;
        made.set(failureClass, (made.get(failureClass) ?? 0) + 1);
        const { resources, priority, tags, retryCounts, notBefore } = decision;
        expect(resources.memoryMiB ?? 0).toBeLessThanOrEqual(Math.max(memoryMiB ?? 0, bounds.memoryMiB ?? Infinity));
        expect(resources.timeLimitMinutes ?? 0).toBeLessThanOrEqual(Math.max(timeLimitMinutes ?? 0, bounds.timeLimitMinutes ?? Infinity));
        expect(resources.memoryMiB ?? 0).toBeGreaterThanOrEqual(memoryMiB ?? 0);
        expect(priority).toBeGreaterThanOrEqual(0);
        expect(priority).toBeLessThanOrEqual(1000);
        expect(notBefore.getTime() - now.getTime()).toBeLessThanOrEqual(MAX_BACKOFF_SECONDS * 1250);
        current = { ...current, resources, priority, tags, retryCounts, ...(decision.kind === 'NEW_JOB' && { config: decision.config }) };
      }
      for (const [failureClass, count] of made) expect(count).toBeLessThanOrEqual(policy.find((rule) => rule.failureClass === failureClass)?.maxRetries ?? 0);
    }));
  });
});
