import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as tables from '../../src/db/tables/index.ts';
import { openFixture, seedExperiment, seedJobs, seedSweep, shownErrors, type Fixture } from './fixture.ts';

let fixture: Fixture;
beforeAll(async () => { fixture = await openFixture(); });
afterAll(() => fixture?.close());

const BOARD = `query ($id: [ID!], $groupBy: [String!], $metric: String, $goal: Goal, $first: Int, $states: [JobState!]) { experiments(filter: {ids: $id}) { nodes {
  leaderboard(groupBy: $groupBy, metric: $metric, goal: $goal, first: $first, states: $states) {
    rank config n mean standardDeviation bestValue step job { name } checkpoint { step } } } } }`;

async function seedBoard(): Promise<string> {
  const id = await seedExperiment(fixture.db, { objectiveMetric: 'loss', objectiveGoal: 'MIN' });
  const job = (name: string, lr: number, seed: number, loss: [number, number][], state: 'COMPLETED' | 'FAILED' = 'COMPLETED') =>
    ({ name, state, config: { optim: { lr }, seed }, metrics: { loss }, checkpoints: [{ step: 1 }, { step: 2 }] });
  await seedJobs(fixture.db, id, [
    job('a1', 0.1, 1, [[1, 0.4], [2, 0.6]]), job('a2', 0.1, 2, [[1, 0.9], [2, 0.2]]),
    job('b1', 0.5, 1, [[1, 0.1]]), job('b2', 0.5, 2, [[1, 0.8]]),
    job('failed', 0.9, 1, [[1, 0.0]], 'FAILED'), { name: 'no metric', state: 'COMPLETED' }, job('nan', 0.9, 2, [[1, Number.NaN]]),
  ]);
  return id;
}

describe('a leaderboard', () => {
  async function board(id: string, variables: object = {}): Promise<any[]> {
    const result = await fixture.run(BOARD, { id: [id], states: ['COMPLETED'], ...variables });
    expect(result.errors).toBeUndefined();
    return result.data.experiments.nodes[0].leaderboard;
  }

  it('ranks groups by the mean of the best values of their jobs', async () => {
    const rows = await board(await seedBoard(), { groupBy: ['optim.lr'] });
    expect(rows).toEqual([
      {
        rank: 1, config: { 'optim.lr': 0.1 }, n: 2, mean: expect.closeTo(0.3), standardDeviation: expect.closeTo(Math.SQRT2 / 10),
        bestValue: 0.2, step: 2, job: { name: 'a2' }, checkpoint: { step: 2 },
      },
      {
        rank: 2, config: { 'optim.lr': 0.5 }, n: 2, mean: expect.closeTo(0.45), standardDeviation: expect.closeTo(0.495, 3),
        bestValue: 0.1, step: 1, job: { name: 'b1' }, checkpoint: { step: 1 },
      },
    ]);
  });

  it('ranks a run that diverged to the edge of what a double holds', async () => {
    const id = await seedExperiment(fixture.db, { objectiveMetric: 'loss', objectiveGoal: 'MIN' });
    const job = (lr: number, seed: number, value: number) => ({ state: 'COMPLETED' as const, config: { optim: { lr }, seed }, metrics: { loss: [[1, value]] as [number, number][] } });
    await seedJobs(fixture.db, id, [job(0.1, 1, 2), job(0.1, 2, 4), job(0.5, 1, 3), job(0.5, 2, 1e200), job(0.9, 1, 1.5e308), job(0.9, 2, 1.7e308), job(2, 1, -1.7e308)]);
    const rows = await board(id, { groupBy: ['optim.lr'] });
    expect(rows.map(({ config, n, mean, standardDeviation }) => [config['optim.lr'], n, mean, standardDeviation])).toEqual([
      [2, 1, -1.7e308, null], [0.1, 2, 3, Math.SQRT2], [0.5, 2, 5e199, expect.closeTo(1e200 / Math.SQRT2, -190)], [0.9, 2, 1.6e308, expect.any(Number)],
    ]);
    const spread = await board(id, { groupBy: [] });
    expect(spread).toMatchObject([{ n: 7, standardDeviation: expect.any(Number) }]);
  });

  it('refuses more keys than Postgres takes, with the numbers', async () => {
    const result = await fixture.run(BOARD, { id: [await seedBoard()], states: ['COMPLETED'], groupBy: Array.from({ length: 101 }, (_, index) => `k${index}`) });
    expect(shownErrors(result)).toEqual([{ code: 'LIMIT_EXCEEDED', message: 'groupBy: names 101 keys; the limit is 100' }]);
  });

  it('of a metric or by a key that no job has is refused, with what there is', async () => {
    const id = await seedBoard();
    const refused = async (variables: object) => shownErrors(await fixture.run(BOARD, { id: [id], states: ['COMPLETED'], ...variables }));
    expect(await refused({ metric: 'los', goal: 'MIN' })).toMatchObject([{ message: expect.stringContaining('no job has a metric "los"; did you mean loss?') }]);
    expect(await refused({ groupBy: ['seed', 'optim.lrr'] })).toMatchObject([{ message: expect.stringContaining('"optim.lrr"') }]);
  });

  it('is empty while no job has completed, by whatever metric: it may still be logged', async () => {
    const id = await seedExperiment(fixture.db, { objectiveMetric: 'loss', objectiveGoal: 'MIN' });
    await seedJobs(fixture.db, id, [{ state: 'RUNNING', config: { lr: 1 }, metrics: { loss: [[1, 0.5]] } }, { state: 'FAILED', config: { lr: 2 }, metrics: { loss: [[1, 0.5]] } }]);
    expect(await board(id, { groupBy: ['lr'] })).toEqual([]);
    expect(await board(id, { metric: 'val/f1', goal: 'MAX' })).toEqual([]);
    // The query of a client that leaves the arguments out altogether.
    const result = await fixture.run('query ($id: [ID!]) { experiments(filter: {ids: $id}) { nodes { leaderboard(groupBy: ["lr"]) { rank } } } }', { id: [id] });
    expect([result.errors, result.data.experiments.nodes[0].leaderboard]).toEqual([undefined, []]);
  });

  it('shows every job by itself without groups, also where configurations are equal', async () => {
    const rows = await board(await seedBoard(), { first: 3 });
    expect(rows.map((row) => [row.rank, row.job.name, row.n, row.standardDeviation])).toEqual([[1, 'b1', 1, null], [2, 'a2', 1, null], [3, 'a1', 1, null]]);
    expect(rows[0].config).toEqual({ optim: { lr: 0.5 }, seed: 1 });
  });

  it('turns around for a metric that should be great', async () => {
    const rows = await board(await seedBoard(), { metric: 'loss', goal: 'MAX' });
    expect(rows.map((row) => [row.job.name, row.bestValue])).toEqual([['a2', 0.9], ['b2', 0.8], ['a1', 0.6], ['b1', 0.1]]);
  });

  it('counts other jobs than completed ones when asked', async () => {
    expect((await board(await seedBoard(), { states: ['FAILED'] })).map((row) => row.job.name)).toEqual(['failed']);
  });

  it('groups jobs that lack a key under null', async () => {
    const id = await seedBoard();
    // It has no metric, so that no row has its value.
    await seedJobs(fixture.db, id, [{ name: 'other', state: 'COMPLETED', config: { rare: 1 } }]);
    expect((await board(id, { groupBy: ['rare'] })).map((row) => [row.config, row.n])).toEqual([[{ rare: null }, 4]]);
  });

  it('has to be told what best means where the experiment does not say', async () => {
    const result = await fixture.run(BOARD, { id: [await seedExperiment(fixture.db)], states: ['COMPLETED'] });
    expect(shownErrors(result)).toEqual([{ code: 'BAD_USER_INPUT', message: expect.stringContaining('both `metric` and `goal`') }]);
  });
});

it('a sweep has the histories of its jobs, and of no others', async () => {
  const id = await seedExperiment(fixture.db);
  const sweepId = await seedSweep(fixture.db, id);
  const metrics = { loss: [[1, 0.5]] as [number, number][] };
  await seedJobs(fixture.db, id, [{ name: 'in', sweepId, state: 'COMPLETED', metrics }, { name: 'out', state: 'COMPLETED', metrics }]);
  const asked = async (args: string) => (await fixture.run(`query ($id: ID!) { sweep(id: $id) { metrics(keys: ["loss"]${args}) { values job { name } } } }`, { id: sweepId })).data.sweep.metrics;
  expect(await asked('')).toEqual([{ values: [0.5], job: { name: 'in' } }]);
  expect(await asked(`, filter: {sweepIds: ["${id}"]}`)).toEqual([]);
});

describe('progress', () => {
  it('counts by state, with shares, a rate and the time that remains', async () => {
    const id = await seedExperiment(fixture.db);
    const sweepId = await seedSweep(fixture.db, id);
    const ago = (minutes: number) => new Date(Date.now() - minutes * 60_000);
    await seedJobs(fixture.db, id, [
      { sweepId, state: 'COMPLETED', tags: ['a', 'b'], startedAt: ago(60), finishedAt: ago(30) },
      { sweepId, state: 'FAILED', tags: ['a'], startedAt: ago(60), finishedAt: ago(10) },
      { sweepId, state: 'RUNNING', tags: ['b'], startedAt: ago(5) }, { state: 'QUEUED' },
    ]);
    const result = await fixture.run(`query ($id: ID!) { sweep(id: $id) { progress { total done percentDone jobsPerHour etaSeconds states { state count percentage } }
      experiment { progress { total done } progressByTag { tag progress { total done } } } } }`, { id: sweepId });
    expect(result.errors).toBeUndefined();
    const { progress, experiment } = result.data.sweep;
    expect(progress).toMatchObject({ total: 3, done: 2, percentDone: expect.closeTo(66.67, 1), jobsPerHour: expect.closeTo(2, 1), etaSeconds: expect.closeTo(1800, -2) });
    expect(progress.states).toHaveLength(9);
    expect(progress.states).toContainEqual({ state: 'RUNNING', count: 1, percentage: expect.closeTo(33.33, 1) });
    expect(experiment).toEqual({
      progress: { total: 4, done: 2 },
      progressByTag: [{ tag: 'a', progress: { total: 2, done: 2 } }, { tag: 'b', progress: { total: 2, done: 1 } }],
    });
  });

  it('of nothing is nothing', async () => {
    const id = await seedExperiment(fixture.db);
    const result = await fixture.run('query ($id: [ID!]) { experiments(filter: {ids: $id}) { nodes { progress { total percentDone jobsPerHour etaSeconds } progressByTag { tag } } } }', { id: [id] });
    expect(result.data.experiments.nodes[0]).toEqual({ progress: { total: 0, percentDone: 0, jobsPerHour: null, etaSeconds: null }, progressByTag: [] });
  });
});

describe('clusters', () => {
  it('are those configured and those once contacted, unreachable until they answered', async () => {
    const answered = { lastContactAt: new Date(), updatedAt: new Date(), reachable: true, pendingJobCount: 3, runningJobCount: 4 };
    await fixture.db.database.insert(tables.clusters).values([
      { name: 'hpc', kind: 'SLURM', ...answered, partitions: [{
        name: 'gpu', isDefault: true, availability: 'up', timeLimitMinutes: null, nodeCount: 2, idleNodeCount: 1, cpuCount: 8, idleCpuCount: 4,
        memoryMiBPerNode: 1000, gpus: [{ type: 'rtx8000', total: 8, used: 2 }],
      }] },
      { name: 'retired', kind: 'SLURM', ...answered },
    ]);
    const result = await fixture.run('{ clusters { name kind reachable pendingJobs runningJobs partitions { name gpus { type total used } } } none: cluster(name: "x") { name } }');
    expect(result.data).toEqual({
      none: null,
      clusters: [
        { name: 'hpc', kind: 'SLURM', reachable: true, pendingJobs: 3, runningJobs: 4, partitions: [{ name: 'gpu', gpus: [{ type: 'rtx8000', total: 8, used: 2 }] }] },
        { name: 'local', kind: 'LOCAL', reachable: false, pendingJobs: null, runningJobs: null, partitions: null },
        { name: 'retired', kind: 'SLURM', reachable: false, pendingJobs: 3, runningJobs: 4, partitions: null },
      ],
    });
  });
});

describe('an attempt', () => {
  it('shows the end of its logs and why it failed', async () => {
    const id = await seedExperiment(fixture.db);
    const [jobId] = await seedJobs(fixture.db, id, [{ state: 'FAILED', attempts: [
      { state: 'TIMEOUT', reason: 'the time limit of 5 min was reached', stdoutTail: 'one\ntwo\nthree\n', stderrTail: 'warned\n\n' }, { state: 'FAILED', errorText: 'Traceback\n  ...\nValueError: no\n' }, { state: 'RUNNING' },
    ] }]);
    const result = await fixture.run(`query ($id: ID!) { job(id: $id) { retryable attempts { logTail(lines: 2) stderr: logTail(stream: STDERR) errorText failure { class evidence advice } script } } }`, { id: jobId });
    expect(result.errors).toBeUndefined();
    expect(result.data.job.retryable).toBe(true);
    expect(result.data.job.attempts).toMatchObject([
      { logTail: 'two\nthree\n', stderr: 'warned\n\n', failure: { class: 'TIME_LIMIT', evidence: 'the time limit of 5 min was reached' }, script: expect.stringContaining('#!/bin/bash') },
      { logTail: null, errorText: 'Traceback\n  ...\nValueError: no\n', failure: { class: 'UNKNOWN', evidence: 'ValueError: no' } },
      { failure: null },
    ]);
  });
});

describe('a waiting attempt', () => {
  it('explains its reason, with the estimate of its start, on the job too', async () => {
    const id = await seedExperiment(fixture.db);
    const estimatedStartAt = new Date('2030-01-01T00:00:00Z');
    const [pendingId, oddId, runningId] = await seedJobs(fixture.db, id, [
      { state: 'PENDING', attempts: [{ state: 'PENDING', reason: 'Resources', estimatedStartAt }] },
      { state: 'PENDING', attempts: [{ state: 'PENDING', reason: 'SolarFlare' }] },
      { state: 'RUNNING', attempts: [{ state: 'RUNNING', reason: null }] },
    ]);
    const query = `query ($id: ID!) { job(id: $id) { pending { reason explanation advice willStartByItself estimatedStartAt } currentAttempt { pending { reason } estimatedStartAt } } }`;
    const jobOf = async (jobId: string | undefined) => (await fixture.run(query, { id: jobId })).data.job;
    expect(await jobOf(pendingId)).toMatchObject({
      pending: { reason: 'Resources', explanation: expect.stringContaining('next in line'), willStartByItself: true, estimatedStartAt },
      currentAttempt: { pending: { reason: 'Resources' }, estimatedStartAt },
    });
    expect(await jobOf(oddId)).toMatchObject({ pending: { reason: 'SolarFlare', explanation: null, advice: null, willStartByItself: null, estimatedStartAt: null } });
    expect(await jobOf(runningId)).toMatchObject({ pending: null, currentAttempt: { pending: null } });
  });
});

describe('a job tried again with another configuration', () => {
  it('and the one it came from show one another', async () => {
    const id = await seedExperiment(fixture.db);
    const [oldId] = await seedJobs(fixture.db, id, [{ state: 'FAILED', name: 'old', attempts: [{ state: 'FAILED' }] }]);
    const notBefore = new Date('2030-01-01T00:00:00Z');
    await seedJobs(fixture.db, id, [{ state: 'QUEUED', name: 'new', retryOf: oldId!, notBefore }]);
    const result = await fixture.run('query ($id: ID!) { job(id: $id) { retryOf { id } notBefore retriedBy { name notBefore retryOf { name } } } }', { id: oldId });
    expect(result.data.job).toMatchObject({ retryOf: null, notBefore: null, retriedBy: [{ name: 'new', notBefore, retryOf: { name: 'old' } }] });
  });
});

it('finds a job by its id in capital letters', async () => {
  const [jobId] = await seedJobs(fixture.db, await seedExperiment(fixture.db), [{}]);
  const result = await fixture.run('query ($id: ID!) { job(id: $id) { id } }', { id: jobId!.toUpperCase() });
  expect(result.data.job).toEqual({ id: jobId });
});

it('answers null for what does not exist', async () => {
  const result = await fixture.run('{ job(id: "x") { id } sweep(id: "0190163d-8694-739b-aea5-966c26f8ad90") { id } experiment(project: "a", name: "b") { id } }');
  expect(result).toEqual({ data: { job: null, sweep: null, experiment: null } });
});
