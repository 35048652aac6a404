import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createExperiment } from '../../src/actions/create-experiment.ts';
import { submitJob } from '../../src/actions/submit-job.ts';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import type { SubmitJobInput } from '../../src/actions/submission.ts';
import { claimQueuedJobs } from '../../src/db/write/dispatch.ts';
import { planBatches } from '../../src/domain/batching.ts';
import { UserError } from '../../src/domain/errors.ts';
import { renderBatchScript } from '../../src/domain/script/batch-script.ts';
import { actionTest, clusterSettings, smallSweep, type ActionTest } from '../support/actions.ts';

let at: ActionTest;
beforeEach(async () => { at = await actionTest(); });
afterEach(() => at.db.drop());

function job(changes: Partial<SubmitJobInput> = {}): SubmitJobInput {
  return { project: 'vision', experiment: 'baseline', command: ['python', 'train.py', '{overrides}'], config: { lr: 0.1 }, ...changes };
}

async function count(table: string): Promise<number> {
  return Number((await at.db.pool.query(`select count(*) from ${table}`)).rows[0].count);
}

async function faultsOf(promise: Promise<unknown>): Promise<{ field: string; message: string; code: string }[]> {
  const error = await promise.then(() => { throw new Error('was accepted'); }, (reason: unknown) => reason);
  if (!(error instanceof UserError)) throw error;
  return error.faults.map(({ field, message, code }) => ({ field: field.join('.'), message, code }));
}

test('a sweep with very many faults, and a configuration with very many values, are refused in words', async () => {
  const keys = Array.from({ length: 20 }, (_, index) => `k${index}`);
  const base = Object.fromEntries(keys.map((key) => [key, 'two\nlines']));
  const seeds = { values: Array.from({ length: 9_000 }, (_, index) => index) };
  const faults = await faultsOf(submitSweep(at.context, smallSweep({ tagKeys: keys, space: { base, seeds } })));
  expect(faults[0]).toEqual({ field: 'tags.0', message: expect.stringContaining('control character'), code: 'BAD_USER_INPUT' });
  const config = Object.fromEntries(Array.from({ length: 150_000 }, (_, index) => [`${index}`, 0]));
  expect(await faultsOf(submitJob(at.context, job({ config })))).toMatchObject([{ code: 'LIMIT_EXCEEDED' }]);
}, 60_000);

describe('a submission', () => {
  test('writes the experiment, the sweep, its jobs and one event for each of them, in that order', async () => {
    const answer = await submitSweep(at.context, smallSweep({ tags: ['coarse'], objective: { metric: 'val/loss', goal: 'MIN' } }));
    expect(answer.jobs.map((planned) => planned.name)).toEqual(['lr=0.1 seed=1', 'lr=0.1 seed=2', 'lr=0.01 seed=1', 'lr=0.01 seed=2', 'lr=0.001 seed=1', 'lr=0.001 seed=2']);
    expect(answer.jobs[0]).toMatchObject({ config: { model: { depth: 4 }, optim: { lr: 0.1 }, seed: 1 }, tags: ['coarse'], priority: 100 });
    expect(answer.jobs[0]?.storagePath).toBe(`/scratch/greene/vision/baseline/${answer.jobs[0]?.jobId}`);
    const { rows } = await at.db.pool.query('select kind, sweep_id, job_id, payload from events order by seq');
    expect(rows.map((row) => row.kind)).toEqual(['EXPERIMENT_CREATED', 'SWEEP_CREATED', ...Array.from({ length: 6 }, () => 'JOB_STATE_CHANGED')]);
    expect(rows[1]).toMatchObject({ sweep_id: answer.sweepId, payload: { jobCount: 6 } });
    expect(rows.slice(2).map((row) => row.job_id)).toEqual(answer.jobs.map((planned) => planned.jobId));
    const stored = await at.db.pool.query('select submitted_by, state, cluster, resources, sweep_id from jobs limit 1');
    expect(stored.rows[0]).toMatchObject({ submitted_by: 'tester', state: 'QUEUED', cluster: 'greene', sweep_id: answer.sweepId, resources: { cpus: 2, gpus: 0 } });
    const experiment = await at.db.pool.query('select objective_metric, objective_goal from experiments');
    expect(experiment.rows).toEqual([{ objective_metric: 'val/loss', objective_goal: 'MIN' }]);
    expect((await at.db.pool.query('select strategy, job_count from sweeps')).rows).toEqual([{ strategy: 'GRID', job_count: 6 }]);
  });

  test('keeps the objective that an experiment has, and sets one where there is none', async () => {
    await createExperiment(at.context, { project: 'vision', name: 'baseline' });
    await submitJob(at.context, job({ objective: { metric: 'acc', goal: 'MAX' } }));
    await submitJob(at.context, job({ config: { lr: 0.2 } }));
    expect((await at.db.pool.query('select objective_metric from experiments')).rows).toEqual([{ objective_metric: 'acc' }]);
  });

  test('records the seed of its random draws, so that the same space comes out again', async () => {
    const space = { random: { count: 3, parameters: [{ key: 'lr', logRange: { min: 1e-4, max: 1e-1 } }] } };
    const first = await submitSweep(at.context, smallSweep({ space }));
    const stored = (await at.db.pool.query('select space from sweeps')).rows[0].space;
    expect(stored.random.seed).toEqual(expect.any(Number));
    const again = await submitSweep(at.context, smallSweep({ space: stored }));
    expect(again).toMatchObject({ jobs: [], sweepId: first.sweepId });
    expect(again.duplicates.map((duplicate) => duplicate.existingJobId)).toEqual(first.jobs.map((planned) => planned.jobId));
  });

  test('gives priorities by rule and tags by config value', async () => {
    const answer = await submitSweep(at.context, smallSweep({ priority: 200, priorityRules: [{ key: 'optim.lr', gte: 0.1, priority: 900 }], tagKeys: ['optim.lr', 'seed'] }));
    expect(answer.jobs.map((planned) => planned.priority)).toEqual([900, 900, 200, 200, 200, 200]);
    expect(answer.jobs[3]?.tags).toEqual(['optim.lr=0.01', 'seed=2']);
  });

  test('holds its jobs where that is asked for', async () => {
    await submitJob(at.context, job({ held: true }));
    expect((await at.db.pool.query('select state from jobs')).rows).toEqual([{ state: 'HELD' }]);
  });

  test('takes a string of 1 MB, quotes, newlines and shell words byte for byte', async () => {
    const text = 'x'.repeat(1_000_000);
    const nasty = `it's "quoted"\n$(rm -rf ~) \`id\` \\ \u{1F600} \r\n\t`;
    const answer = await submitJob(at.context, job({ command: ['python', 'train.py', '--config', '{config}'], config: { text, nasty } }));
    const { rows } = await at.db.pool.query('select config from jobs');
    expect(rows[0].config).toEqual({ text, nasty });
    expect(answer.jobs[0]?.config).toEqual({ text, nasty });
  });
});

describe('duplicates', () => {
  test('SKIP leaves known jobs out and says which they are', async () => {
    const first = await submitSweep(at.context, smallSweep());
    const wider = smallSweep({ space: { base: { 'model.depth': 4 }, grid: [{ key: 'optim.lr', values: [0.1, 0.5] }], seeds: { values: [1, 2] } } });
    const second = await submitSweep(at.context, wider);
    expect(second.jobs.map((planned) => planned.config['optim'])).toEqual([{ lr: 0.5 }, { lr: 0.5 }]);
    expect(second.duplicates.map((duplicate) => [duplicate.existingJobId, duplicate.existingState])).toEqual([[first.jobs[0]?.jobId, 'QUEUED'], [first.jobs[1]?.jobId, 'QUEUED']]);
    expect(second.sweepId).not.toBe(first.sweepId);
    expect(await count('jobs')).toBe(8);
  });

  test('the same job twice in one sweep is one job', async () => {
    const answer = await submitSweep(at.context, smallSweep({ space: { list: [{ lr: 1 }, { lr: 2 }, { lr: 1 }] } }));
    expect(answer.jobs).toHaveLength(2);
    expect(answer.duplicates).toMatchObject([{ config: { lr: 1 }, existingJobId: null, existingState: null }]);
  });

  test('ERROR refuses the whole submission and leaves nothing behind', async () => {
    await submitSweep(at.context, smallSweep());
    const wider = smallSweep({ onDuplicate: 'ERROR', space: { base: { model: { depth: 4 } }, grid: [{ key: 'optim.lr', values: [0.1, 0.7] }], seeds: { values: [1] } } });
    const faults = await faultsOf(submitSweep(at.context, wider));
    expect(faults).toMatchObject([{ field: 'space', code: 'ALREADY_EXISTS' }]);
    expect(await faultsOf(submitSweep(at.context, { ...wider, dryRun: true }))).toEqual(faults);
    expect([await count('jobs'), await count('sweeps')]).toEqual([6, 1]);
  });

  test('RUN_AGAIN runs every job once more, also one that stands twice in the request', async () => {
    await submitJob(at.context, job());
    const answer = await submitSweep(at.context, smallSweep({ onDuplicate: 'RUN_AGAIN', space: { list: [{ lr: 0.1 }, { lr: 0.1 }] } }));
    expect(answer).toMatchObject({ jobs: [{}, {}], duplicates: [] });
    expect((await at.db.pool.query('select repetition from jobs order by repetition')).rows).toEqual([{ repetition: 0 }, { repetition: 1 }, { repetition: 2 }]);
  });

  test('another command, variable, folder or version of the code is another job', async () => {
    await submitJob(at.context, job());
    for (const changes of [{ command: ['python', 'other.py'] }, { environment: { A: '1' } }, { workingDirectory: '/repo' }, { codeVersion: 'abc' }, { experiment: 'other' }]) {
      expect((await submitJob(at.context, job(changes))).jobs).toHaveLength(1);
    }
    for (const changes of [{ name: 'other' }, { tags: ['x'] }, { priority: 3 }, { cluster: 'torch' }, { resources: { cpus: 8 } }]) {
      expect((await submitJob(at.context, job(changes))).duplicates).toHaveLength(1);
    }
  });

  test('two submitters of the same sweep at once: each job exactly once, and one of the two answers has it', async () => {
    const space = { grid: [{ key: 'lr', values: Array.from({ length: 600 }, (_, index) => index) }] };
    const reversed = { grid: [{ key: 'lr', values: Array.from({ length: 600 }, (_, index) => 599 - index) }] };
    const answers = await Promise.all([space, reversed, space, reversed].map((each) => submitSweep(at.context, smallSweep({ space: each }))));
    expect(await count('jobs')).toBe(600);
    expect(await count('experiments')).toBe(1);
    expect(answers.reduce((sum, answer) => sum + answer.jobs.length, 0)).toBe(600);
    expect(answers.reduce((sum, answer) => sum + answer.duplicates.length, 0)).toBe(1_800);
    expect(await count("events where kind = 'JOB_STATE_CHANGED'")).toBe(600);
  });

  test('RUN_AGAIN by many at once gives every job a repetition of its own', async () => {
    await Promise.all(Array.from({ length: 6 }, () => submitSweep(at.context, smallSweep({ onDuplicate: 'RUN_AGAIN' }))));
    expect((await at.db.pool.query('select repetition, count(*)::int from jobs group by 1 order by 1')).rows)
      .toEqual(Array.from({ length: 6 }, (_, repetition) => ({ repetition, count: 6 })));
  });
});

describe('an idempotency key', () => {
  const keyed = smallSweep({ idempotencyKey: 'k1', space: { list: [{ lr: 1 }, { lr: 2 }, { lr: 1 }] } });

  test('gives the same answer to the same input, without doing it again', async () => {
    await submitJob(at.context, job({ config: { lr: 2 } }));
    const first = await submitSweep(at.context, keyed);
    expect(await submitSweep(at.context, keyed)).toEqual(first);
    expect(first).toMatchObject({ jobs: [{}], duplicates: [{}, {}] });
    expect(await count('jobs')).toBe(2);
  });

  test('also where the input would now be refused', async () => {
    const first = await submitSweep(at.context, keyed);
    expect(await submitSweep({ ...at.context, clusters: new Map([['torch', clusterSettings('torch')]]) }, keyed)).toEqual(first);
  });

  test('is refused for another input or another mutation, and is one token\'s own', async () => {
    await submitSweep(at.context, keyed);
    expect(await faultsOf(submitSweep(at.context, { ...keyed, priority: 7 }))).toMatchObject([{ code: 'IDEMPOTENCY_KEY_REUSED', field: 'idempotencyKey' }]);
    expect(await faultsOf(submitJob(at.context, job({ idempotencyKey: 'k1' })))).toMatchObject([{ code: 'IDEMPOTENCY_KEY_REUSED' }]);
    expect((await submitJob({ ...at.context, tokenName: 'other' }, job({ idempotencyKey: 'k1' }))).jobs).toHaveLength(1);
  });

  test('used by many at once is carried out once', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => submitSweep(at.context, { ...keyed, onDuplicate: 'RUN_AGAIN' as const })));
    expect(new Set(answers.map((answer) => JSON.stringify(answer.jobs.map((planned) => planned.jobId)))).size).toBe(1);
    expect(await count('jobs')).toBe(3);
  });

  test('of a submission that failed is free again', async () => {
    await submitJob(at.context, job());
    await faultsOf(submitJob(at.context, job({ idempotencyKey: 'k2', onDuplicate: 'ERROR' })));
    expect((await submitJob(at.context, job({ idempotencyKey: 'k2', config: { lr: 5 } }))).jobs).toHaveLength(1);
  });
});

describe('a dry run', () => {
  test('touches nothing', async () => {
    const answer = await submitSweep(at.context, smallSweep({ dryRun: true, idempotencyKey: 'dry' }));
    expect(answer).toMatchObject({ dryRun: true, experimentId: null, sweepId: null, duplicates: [] });
    expect(answer.jobs.every((planned) => planned.jobId === null)).toBe(true);
    for (const table of ['experiments', 'sweeps', 'jobs', 'events', 'idempotency_keys']) expect(await count(table)).toBe(0);
  });

  test('shows the script that the submission then leads to, but for ids', async () => {
    const input = smallSweep({
      space: { base: { zeta: 1, a: { longer: 1, b: 2 } }, grid: [{ key: 'optim.lr', values: [0.1, 1e-7] }] }, environment: { DATA: '/data/{config.zeta}' },
      resources: { gpus: 2, gpuType: 'rtx8000', timeLimitMinutes: 60 }, priorityRules: [{ key: 'optim.lr', lt: 0.01, priority: 500 }],
    });
    const [rendered] = (await submitSweep(at.context, { ...input, dryRun: true })).scripts;
    expect(rendered).toMatchObject({ cluster: 'greene', taskCount: 2 });
    expect(rendered?.script).toContain('#SBATCH --job-name=eg-dryrun0001-baseline');
    await submitSweep(at.context, input);
    const queued = (await at.db.pool.query<{ id: string }>("select id from jobs where state = 'QUEUED'")).rows.map(({ id }) => id);
    const claimed = await at.db.database.transaction((transaction) => claimQueuedJobs(transaction, 'greene', queued));
    const batches = planBatches(claimed, { settings: clusterSettings('greene'), maxArraySize: null });
    expect(batches).toHaveLength(1);
    const real = renderBatchScript(batches[0]!);
    const withoutIds = (script = ''): string => script.replaceAll(/eg-[a-z0-9]{10}-/g, 'eg-TOKEN-').replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'ID');
    expect(withoutIds(rendered?.script)).toBe(withoutIds(real));
  });

  test('tells new jobs from duplicates, and cuts scripts at the cluster\'s array size', async () => {
    const first = await submitSweep(at.context, smallSweep());
    const wider = smallSweep({ dryRun: true, space: { base: { model: { depth: 4 } }, grid: [{ key: 'optim.lr', values: [0.1, 3, 4, 5] }], seeds: { values: [1, 2] } } });
    const answer = await submitSweep({ ...at.context, maxArraySizeOf: () => Promise.resolve(4) }, wider);
    expect(answer.experimentId).toBe(first.experimentId);
    expect([answer.jobs.length, answer.duplicates.length]).toEqual([6, 2]);
    expect(answer.scripts.map((rendered) => rendered.taskCount)).toEqual([4, 2]);
  });
});

describe('bad input', () => {
  test('is refused with all of its faults at once, before anything is written', async () => {
    const faults = await faultsOf(submitSweep(at.context, smallSweep({
      project: ' ', experiment: 'a\nb', name: 'x'.repeat(201), cluster: 'moon', command: ['python', '{confg}'], priority: 1001, tags: ['', 'y'.repeat(101)],
      resources: { gpus: -1, sbatchOptions: { 'job-name': 'mine' } }, objective: { metric: '', goal: 'MIN' }, tagKeys: ['nope'], idempotencyKey: 'é',
      priorityRules: [{ key: 'lr', priority: 5 }],
    })));
    expect(faults.map((fault) => fault.field).sort()).toEqual([
      'cluster', 'command.1', 'experiment', 'idempotencyKey', 'name', 'objective.metric', 'priority', 'priorityRules.0', 'priorityRules.0.key', 'project', 'resources.gpus',
      'resources.sbatchOptions.job-name', 'tagKeys.0', 'tags.0', 'tags.1',
    ]);
    expect(faults.find((fault) => fault.field === 'cluster')?.message).toBe('there is no cluster "moon"; there are greene, torch');
    expect(await count('experiments')).toBe(0);
  });

  test('a grid of 10^9 is refused before it is expanded, with its size and the limit', async () => {
    const values = Array.from({ length: 1_000 }, (_, index) => index);
    const started = performance.now();
    const faults = await faultsOf(submitSweep(at.context, smallSweep({ space: { grid: ['a', 'b', 'c'].map((key) => ({ key, values })) } })));
    expect(faults).toMatchObject([{ field: 'space', code: 'LIMIT_EXCEEDED' }]);
    expect(faults[0]?.message).toContain('1,000,000,000');
    expect(faults[0]?.message).toContain('10,000');
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  test('NUL bytes, halves of surrogate pairs and numbers that would change are refused where they stand', async () => {
    const faults = await faultsOf(submitJob(at.context, job({ config: { a: 'x\0y', b: { c: '\ud800' }, d: 2 ** 63 } })));
    expect(faults.map((fault) => fault.field).sort()).toEqual(['config.a', 'config.b.c', 'config.d']);
  });

  test('a fault that all jobs share is told once', async () => {
    expect(await faultsOf(submitSweep(at.context, smallSweep({ command: ['python', '{config.optim.lrr}'] })))).toHaveLength(1);
  });

  test('a partition or GPU type that the cluster has said it lacks is refused, with what there is', async () => {
    await at.db.pool.query(`insert into clusters (name, kind, reachable, partitions, updated_at) values ('greene', 'SLURM', true, $1, now())`, [JSON.stringify([
      { name: 'gpu', isDefault: true, availability: 'up', timeLimitMinutes: 2880, nodeCount: 1, idleNodeCount: 1, cpuCount: 8, idleCpuCount: 8, memoryMiBPerNode: 1000, gpus: [{ type: 'rtx8000', total: 4, used: 0 }] },
      { name: 'cpu', isDefault: false, availability: 'up', timeLimitMinutes: null, nodeCount: 1, idleNodeCount: 1, cpuCount: 8, idleCpuCount: 8, memoryMiBPerNode: 1000, gpus: [] },
    ])]);
    expect(await faultsOf(submitJob(at.context, job({ resources: { partition: 'gpus' } })))).toEqual([
      { field: 'resources.partition', message: 'the cluster has no partition "gpus"; it has gpu, cpu', code: 'BAD_USER_INPUT' }]);
    expect(await faultsOf(submitJob(at.context, job({ resources: { gpus: 1, gpuType: 'h100', timeLimitMinutes: 3000 } })))).toMatchObject([
      { field: 'resources.gpuType' }, { field: 'resources.timeLimitMinutes' }]);
    expect(await faultsOf(submitJob(at.context, job({ resources: { gpus: 1, partition: 'cpu' } })))).toMatchObject([{ field: 'resources.gpus' }]);
    expect(await faultsOf(submitJob(at.context, job({ resources: { gpus: 5, cpus: 9, memoryMiB: 1001 } })))).toMatchObject([
      { field: 'resources.gpus', message: '5 on each of 1 nodes come to 5; partition gpu has 4' },
      { field: 'resources.cpus', message: '9 on each of 1 nodes come to 9; partition gpu has 8 on 1 nodes' },
      { field: 'resources.memoryMiB', message: '1001 is more than the 1000 MiB of the largest node of partition gpu' }]);
    expect(await faultsOf(submitJob(at.context, job({ resources: { nodes: 2, partition: 'gpu,cpu' } })))).toMatchObject([
      { field: 'resources.nodes', message: '2 is more than the 1 nodes of partition gpu, cpu' }]);
    expect((await submitJob(at.context, job({ config: { two: 1 }, resources: { gpus: 1, partition: 'gpu,cpu' } }))).jobs).toHaveLength(1);
    expect((await submitJob(at.context, job({ resources: { gpus: 1, gpuType: 'rtx8000', partition: 'gpu' } }))).jobs).toHaveLength(1);
    expect((await submitJob(at.context, job({ cluster: 'torch', config: { other: 1 }, resources: { partition: 'anything' } }))).jobs).toHaveLength(1);
  });
});

test('a sweep of 10,000 jobs is planned and written in a few seconds', async () => {
  const values = Array.from({ length: 100 }, (_, index) => index / 7);
  const input = smallSweep({ tagKeys: ['optim.lr'], space: { base: { model: { depth: 4, width: 256 } }, grid: [{ key: 'optim.lr', values }, { key: 'optim.decay', values }] } });
  const started = performance.now();
  const answer = await submitSweep(at.context, input);
  // Two seconds alone on two cores; the bound leaves room for a busy machine.
  expect(performance.now() - started).toBeLessThan(15_000);
  expect(answer.jobs).toHaveLength(10_000);
  expect(await count('jobs')).toBe(10_000);
});
