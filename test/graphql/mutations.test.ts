import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openFixture, seedExperiment, seedJobs, shownErrors, type Fixture } from './fixture.ts';

let fixture: Fixture;
beforeAll(async () => { fixture = await openFixture(); });
afterAll(() => fixture?.close());

const SUBMIT_SWEEP = `mutation ($input: SubmitSweepInput!) { submitSweep(input: $input) { dryRun
  experiment { project name } sweep { name strategy jobCount } jobs { jobId name config tags priority job { id state } }
  duplicates { name existingJobId existingState existingJob { id } } scripts { cluster taskCount script } userErrors { field message code } } }`;
const TEMPLATE = { project: 'vision', command: ['python', 'train.py', '{overrides}'], cluster: 'hpc' };

describe('submitSweep', () => {
  it('makes a job of each point of the space, with priorities and tags', async () => {
    const result = await fixture.run(SUBMIT_SWEEP, { input: {
      ...TEMPLATE, experiment: 'sweep', name: 'coarse', tags: ['t'], tagKeys: ['lr'],
      space: { base: { net: { depth: 3 } }, grid: [{ key: 'lr', values: [0.1, 0.01] }], seeds: { values: [1, 2] } },
      priorityRules: [{ key: 'lr', equals: 0.1, priority: 900 }, { key: 'seed', gte: 2, priority: 50 }],
    } });
    expect(result.errors).toBeUndefined();
    const payload = result.data.submitSweep;
    expect(payload).toMatchObject({ dryRun: false, experiment: { project: 'vision', name: 'sweep' }, sweep: { name: 'coarse', strategy: 'GRID', jobCount: 4 }, duplicates: [], userErrors: [] });
    expect(payload.jobs.map((job: any) => [job.config.lr, job.config.seed, job.config.net.depth, job.priority, job.job.state])).toEqual([
      [0.1, 1, 3, 900, 'QUEUED'], [0.1, 2, 3, 900, 'QUEUED'], [0.01, 1, 3, 100, 'QUEUED'], [0.01, 2, 3, 50, 'QUEUED'],
    ]);
    expect(payload.jobs[0].tags).toEqual(expect.arrayContaining(['t', 'lr=0.1']));
  });

  it('reports known jobs, and shows scripts without touching anything in a dry run', async () => {
    const input = { ...TEMPLATE, experiment: 'dry', name: 's', space: { list: [{ a: 1 }, { a: null }] } };
    const dry = await fixture.run(SUBMIT_SWEEP, { input: { ...input, dryRun: true } });
    expect(dry.errors).toBeUndefined();
    expect(dry.data.submitSweep).toMatchObject({ dryRun: true, experiment: null, sweep: null, userErrors: [], jobs: [{ jobId: null, config: { a: 1 } }, { job: null, config: { a: null } }] });
    expect(dry.data.submitSweep.scripts[0]).toMatchObject({ cluster: 'hpc', script: expect.stringContaining('#!/bin/bash') });
    expect((await fixture.run('{ experiment(project: "vision", name: "dry") { id } }')).data.experiment).toBeNull();
    await fixture.run(SUBMIT_SWEEP, { input });
    const again = await fixture.run(SUBMIT_SWEEP, { input });
    expect(again.data.submitSweep.jobs).toEqual([]);
    expect(again.data.submitSweep.duplicates).toMatchObject([{ existingState: 'QUEUED', existingJob: { id: expect.any(String) } }, {}]);
  });

  it('takes random draws and keeps their seed', async () => {
    const result = await fixture.run(SUBMIT_SWEEP.replace('sweep {', 'sweep { space'), { input: {
      ...TEMPLATE, experiment: 'random', name: 'r', space: { random: { count: 3, seed: 7, parameters: [
        { key: 'lr', logRange: { min: 1e-5, max: 0.1 } }, { key: 'depth', range: { min: 1, max: 9 }, integer: true }, { key: 'act', choice: ['relu', null] },
      ] } },
    } });
    expect(result.data.submitSweep).toMatchObject({ userErrors: [], sweep: { strategy: 'RANDOM', space: { random: { count: 3, seed: 7 } } } });
    expect(result.data.submitSweep.jobs).toHaveLength(3);
  });

  it('names every fault of the input by its path and submits nothing', async () => {
    const result = await fixture.run(SUBMIT_SWEEP, { input: {
      ...TEMPLATE, cluster: 'nowhere', experiment: 'faulty', name: 's', priority: 2000, space: { grid: [{ key: 'a', values: [] }] },
    } });
    expect(result.errors).toBeUndefined();
    const { userErrors, ...payload } = result.data.submitSweep;
    expect(payload).toMatchObject({ experiment: null, sweep: null, jobs: [] });
    expect(userErrors.map((fault: any) => fault.field.join('.'))).toEqual(expect.arrayContaining(['cluster', 'priority', 'space.grid.0.values']));
    expect(userErrors.find((fault: any) => fault.field[0] === 'cluster')).toMatchObject({ message: expect.stringContaining('hpc') });
  });

  it('refuses a parameter that is drawn in no way or in two', async () => {
    const result = await fixture.run(SUBMIT_SWEEP, { input: { ...TEMPLATE, experiment: 'x', name: 's', space: { random: { count: 1, parameters: [{ key: 'a' }] } } } });
    expect(result.data.submitSweep.userErrors).toEqual([
      { field: ['space', 'random', 'parameters', '0'], code: 'BAD_USER_INPUT', message: 'give exactly one of range, logRange and choice' },
    ]);
  });
});

describe('submitJob', () => {
  const SUBMIT_JOB = `mutation ($input: SubmitJobInput!) { submitJob(input: $input) {
    job { id name config environment resources { gpus gpuType sbatchOptions } state } planned { jobId } duplicates { name } userErrors { field message code } } }`;

  it('keeps every value as it came', async () => {
    const config = { text: 'quote " \' $(rm -rf ~) `x` \n ü 🎉', none: null, list: [1, [null]], tiny: 1e-300 };
    const input = { ...TEMPLATE, experiment: 'job', name: 'one', config, environment: { A: "it's $HOME" }, held: true, resources: { gpus: 1, gpuType: 'rtx8000' } };
    const result = await fixture.run(SUBMIT_JOB, { input });
    expect(result.errors).toBeUndefined();
    expect(result.data.submitJob.userErrors).toEqual([]);
    expect(result.data.submitJob.job).toMatchObject({ config, environment: { A: "it's $HOME" }, state: 'HELD', resources: { gpus: 1, gpuType: 'rtx8000' } });
    const again = await fixture.run(SUBMIT_JOB, { input });
    expect(again.data.submitJob).toMatchObject({ planned: null, job: { id: result.data.submitJob.job.id }, duplicates: [{}] });
  });

  it.each([['config', { config: 'text' }], ['config', { config: { a: 'x\0y' } }], ['environment', { config: {}, environment: ['A'] }], ['A', { config: {}, environment: { A: 1 } }],
    ['constraint', { config: {}, resources: { sbatchOptions: { constraint: null } } }]])(
    'refuses a wrong %s with its path', async (field, over) => {
      const result = await fixture.run(SUBMIT_JOB, { input: { ...TEMPLATE, experiment: 'wrong', ...over } });
      expect(result.errors).toBeUndefined();
      expect(result.data.submitJob.userErrors[0]).toMatchObject({ code: 'BAD_USER_INPUT', field: expect.arrayContaining([field]) });
    });
});

describe('sbatch options that are no texts', () => {
  it.each([[true, 'an option without a value such as "exclusive" is written ""'], [false, 'leave the option out'], [2, 'write "2"']])('%j is answered with what to write', async (value, words) => {
    const input = { ...TEMPLATE, experiment: 'flags', config: {}, resources: { sbatchOptions: { exclusive: value } } };
    const { data } = await fixture.run('mutation ($input: SubmitJobInput!) { submitJob(input: $input) { userErrors { field message } } }', { input });
    expect(data.submitJob.userErrors).toEqual([{ field: ['resources', 'sbatchOptions', 'exclusive'], message: expect.stringContaining(words) }]);
  });
});

describe('createExperiment', () => {
  it('makes one once', async () => {
    const query = 'mutation ($input: CreateExperimentInput!) { createExperiment(input: $input) { experiment { name tags objective { metric goal } } userErrors { field code } } }';
    const input = { project: 'p', name: 'n', tags: ['x'], description: null, objective: { metric: 'val/loss', goal: 'MIN' } };
    expect((await fixture.run(query, { input })).data.createExperiment).toEqual({
      experiment: { name: 'n', tags: ['x'], objective: { metric: 'val/loss', goal: 'MIN' } }, userErrors: [],
    });
    expect((await fixture.run(query, { input })).data.createExperiment).toEqual({ experiment: null, userErrors: [{ field: ['name'], code: 'ALREADY_EXISTS' }] });
  });
});

describe('changes of jobs', () => {
  async function change(name: string, input: object): Promise<any> {
    const type = `${name.slice(0, 1).toUpperCase()}${name.slice(1)}Input`;
    const result = await fixture.run(`mutation ($input: ${type}!) { ${name}(input: $input) { changedCount jobs { id state priority tags } unchanged { jobId reason job { id } } userErrors { field code message } } }`, { input });
    expect(shownErrors(result)).toEqual([]);
    return result.data[name];
  }

  it('hold, release, cancel, retry, prioritise and tag by id', async () => {
    const experimentId = await seedExperiment(fixture.db);
    const [id, failed] = await seedJobs(fixture.db, experimentId, [{ state: 'QUEUED' }, { state: 'FAILED' }]);
    expect(await change('holdJobs', { ids: [id] })).toMatchObject({ changedCount: 1, jobs: [{ id, state: 'HELD' }], userErrors: [] });
    expect(await change('releaseJobs', { ids: [id] })).toMatchObject({ jobs: [{ state: 'QUEUED' }] });
    expect(await change('setPriority', { ids: [id], priority: 700 })).toMatchObject({ jobs: [{ priority: 700 }] });
    expect(await change('tagJobs', { ids: [id], add: ['a', 'b'] })).toMatchObject({ jobs: [{ tags: ['a', 'b'] }] });
    expect(await change('tagJobs', { ids: [id], remove: ['a'] })).toMatchObject({ jobs: [{ tags: ['b'] }] });
    expect(await change('cancelJobs', { ids: [id] })).toMatchObject({ jobs: [{ state: 'CANCELLED' }] });
    expect(await change('retryJobs', { ids: [failed], priorityBoost: 50, tags: ['retry'] })).toMatchObject({ jobs: [{ id: failed, state: 'QUEUED', priority: 150, tags: ['retry'] }] });
    expect(await change('holdJobs', { ids: [id] })).toMatchObject({ changedCount: 0, unchanged: [{ jobId: id, job: { id } }] });
  });

  it('take a filter, and never everything by mistake', async () => {
    const experimentId = await seedExperiment(fixture.db);
    await seedJobs(fixture.db, experimentId, [{ config: { lr: 0.1 } }, { config: { lr: 0.2 } }]);
    const filter = { experimentIds: [experimentId], config: [{ key: 'lr', gt: 0.1 }] };
    expect(await change('cancelJobs', { filter, dryRun: true })).toMatchObject({ changedCount: 1, jobs: [{ state: 'QUEUED' }] });
    expect(await change('cancelJobs', { filter })).toMatchObject({ changedCount: 1 });
    expect((await change('cancelJobs', {})).userErrors).toMatchObject([{ code: 'BAD_USER_INPUT' }]);
    expect((await change('cancelJobs', { ids: ['nonsense'] })).userErrors).toMatchObject([{ code: 'NOT_FOUND' }]);
    expect((await change('cancelJobs', { filter: { config: [{ key: 'lr' }] } })).userErrors).toMatchObject([{ field: ['filter', 'config', '0'] }]);
    for (const everything of [{ tagsAll: [] }, { tagsNone: [] }, { config: [] }, { metrics: [] }, { createdAt: {} }, { nameContains: '' }]) {
      expect((await change('cancelJobs', { filter: everything })).userErrors).toMatchObject([{ code: 'BAD_USER_INPUT', message: expect.stringContaining('every job') }]);
    }
    expect(await change('cancelJobs', { filter: { tagsAny: [] } })).toMatchObject({ changedCount: 0, userErrors: [] });
    const left = await fixture.run('query ($id: [ID!]) { jobs(filter: {experimentIds: $id, states: [QUEUED]}) { totalCount } }', { id: [experimentId] });
    expect(left.data.jobs.totalCount).toBe(1);
  });
});

describe('recording', () => {
  it('takes metrics and checkpoints, twice as once', async () => {
    const experimentId = await seedExperiment(fixture.db, { objectiveMetric: 'loss', objectiveGoal: 'MIN' });
    const [jobId] = await seedJobs(fixture.db, experimentId, [{ state: 'RUNNING', attempts: [{ state: 'RUNNING' }] }]);
    const metrics = { jobId, series: [{ key: 'loss', steps: [1, 2, 3], values: [0.5, null, 0.25], times: ['2026-01-01T00:00:00Z', '2026-01-01T00:00:01Z', '2026-01-01T00:00:02Z'], nonFinite: [{ index: 1, value: 'NEGATIVE_INFINITY' }] }] };
    for (let time = 0; time < 2; time += 1) {
      const result = await fixture.run(`mutation ($input: RecordMetricsInput!) { recordMetrics(input: $input) { pointCount userErrors { field message }
        job { metrics { pointCount steps values nonFinite { value } } } } }`, { input: metrics });
      expect(result.errors).toBeUndefined();
      expect(result.data.recordMetrics).toMatchObject({ userErrors: [], job: { metrics: [{ pointCount: 3, steps: [1, 2, 3], values: [0.5, null, 0.25], nonFinite: [{ value: 'NEGATIVE_INFINITY' }] }] } });
    }
    const recorded = await fixture.run('mutation ($input: RecordCheckpointInput!) { recordCheckpoint(input: $input) { checkpoint { step state uri job { bestCheckpoint { step } } } userErrors { message } } }',
      { input: { jobId, path: '/scratch/me/x.ckpt', step: 3, sizeBytes: 5 } });
    expect(recorded.data.recordCheckpoint).toEqual({
      userErrors: [], checkpoint: { step: 3, state: 'COMPLETE', uri: 'ssh://me@login.example.org:2222/scratch/me/x.ckpt', job: { bestCheckpoint: { step: 3 } } },
    });
  });
});
