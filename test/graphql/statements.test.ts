import { execute, parse } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openFixture, schema, seedExperiment, seedJobs, seedSweep, type Fixture } from './fixture.ts';

let fixture: Fixture;
let experimentIds: string[];
let jobIds: string[];

beforeAll(async () => {
  fixture = await openFixture();
  experimentIds = [];
  jobIds = [];
  for (let experiment = 0; experiment < 4; experiment += 1) {
    const experimentId = await seedExperiment(fixture.db, { objectiveMetric: 'val/loss', objectiveGoal: 'MIN' });
    const sweepId = await seedSweep(fixture.db, experimentId);
    experimentIds.push(experimentId);
    jobIds.push(...await seedJobs(fixture.db, experimentId, Array.from({ length: 50 }, (_, index) => ({
      sweepId, state: 'COMPLETED' as const, cluster: index % 2 === 0 ? 'hpc' : 'local', tags: ['t'], config: { seed: index },
      attempts: [{ state: 'FAILED' as const, errorText: 'boom' }, {}],
      metrics: { 'val/loss': [[1, 0.5], [2, 0.25]] as [number, number][], acc: [[1, 0.1]] as [number, number][] },
      checkpoints: [{ step: 1 }, { step: 2, attemptNumber: 2 }], result: { metrics: { acc: 0.1 } },
    }))));
  }
}, 60_000);
afterAll(() => fixture?.close());

const NESTED = `query ($first: Int) { jobs(first: $first) { totalCount nodes {
  id experiment { name objective { metric } progress { done } } sweep { id progress { total } experiment { id } }
  attempts { number job { id } script failure { class evidence } pending { reason } logTail } currentAttempt { number }
  checkpoints { path uri attempt { id } cluster { name } job { id } metrics { key value } }
  metrics { key steps values times nonFinite { index } sampled last { checkpoint { id } } min { checkpoint { id } } max { value } }
  result { metrics bestCheckpoint { path } job { id } artifacts { uri } } bestCheckpoint { path } cluster { name reachable } pending { explanation } retryOf { id } retriedBy { id retryOf { name } }
} } }`;

describe('a query over many jobs', () => {
  it('takes as many statements for 200 jobs as for 100', async () => {
    const hundred = await fixture.counted(NESTED, { first: 100 });
    const twoHundred = await fixture.counted(NESTED, { first: 200 });
    expect(hundred.result.errors).toBeUndefined();
    expect(hundred.result.data.jobs.nodes).toHaveLength(100);
    expect(twoHundred.result.data.jobs.nodes).toHaveLength(200);
    expect(twoHundred.statements).toBe(hundred.statements);
    expect(hundred.statements).toBeLessThanOrEqual(24);
    expect(twoHundred.result.data.jobs.nodes[199]).toMatchObject({
      attempts: [{ failure: { class: 'UNKNOWN', evidence: 'boom' } }, { failure: null }], currentAttempt: { number: 2 },
      bestCheckpoint: { path: expect.stringContaining('1.ckpt') }, metrics: [{ key: 'acc' }, { key: 'val/loss', steps: [1, 2], values: [0.5, 0.25] }],
    });
  });

  it('reads the nested lists of all experiments together', async () => {
    const query = `query ($ids: [ID!]) { experiments(filter: {ids: $ids}) { nodes {
      jobs(first: 10, filter: {states: [COMPLETED]}) { totalCount nodes { name bestCheckpoint { id } } } sweeps { totalCount nodes { jobs(first: 5) { nodes { id } } } }
      leaderboard(groupBy: ["seed"]) { mean job { id } checkpoint { path } } progress { done } progressByTag { tag }
      metrics(keys: ["val/loss"], maxPoints: 10) { key values job { id } } } } }`;
    const one = await fixture.counted(query, { ids: experimentIds.slice(0, 1) });
    const four = await fixture.counted(query, { ids: experimentIds });
    expect(four.result.errors).toBeUndefined();
    expect(four.result.data.experiments.nodes).toHaveLength(4);
    expect(four.result.data.experiments.nodes[3].metrics).toHaveLength(50);
    // Which loads meet in one batch depends on which answers come first, so the count may differ by a few; one a job would be hundreds.
    expect(Math.max(one.statements, four.statements)).toBeLessThanOrEqual(20);
  });

  it('resolves the references of a gateway in one statement for each type', async () => {
    const representations = [
      ...jobIds.slice(0, 50).map((id) => ({ __typename: 'Job', id })),
      ...experimentIds.map((id) => ({ __typename: 'Experiment', id })),
      { __typename: 'Cluster', name: 'hpc' }, { __typename: 'Job', id: 'nonsense' }, { __typename: 'Cluster', name: 'nowhere' },
    ];
    const { result, statements } = await fixture.counted(`query ($r: [_Any!]!) { _entities(representations: $r) {
      ... on Job { id state } ... on Experiment { id name } ... on Cluster { name kind } } }`, { r: representations });
    expect(result.errors).toBeUndefined();
    expect(result.data._entities.slice(0, 50).map((job: any) => job.id)).toEqual(jobIds.slice(0, 50));
    expect(result.data._entities.slice(-3)).toEqual([{ name: 'hpc', kind: 'SLURM' }, null, null]);
    expect(statements).toBe(3);
  });

  it('answers null for references that are no references', async () => {
    const representations = [{ __typename: 'Job', id: 5 }, { __typename: 'Cluster', name: ['hpc'] }, { __typename: 'Experiment', project: 5, name: { a: 1 } }, { __typename: 'Sweep' }];
    const result = await fixture.run('query ($r: [_Any!]!) { _entities(representations: $r) { __typename } }', { r: representations });
    expect(result).toEqual({ data: { _entities: [null, null, null, null] } });
  });

  it('resolves every entity by each of its keys', async () => {
    const found = (await fixture.run('query ($id: ID!) { job(id: $id) { id sweep { id } experiment { id project name } currentAttempt { id } checkpoints { id } } }', { id: jobIds[0] })).data.job;
    const document = parse(`query ($r: [_Any!]!) { _entities(representations: $r) { __typename
      ... on Experiment { id } ... on Sweep { id } ... on Job { id } ... on Attempt { id } ... on Checkpoint { id } } }`);
    const representations = [
      { __typename: 'Experiment', project: found.experiment.project, name: found.experiment.name }, { __typename: 'Experiment', id: found.experiment.id },
      { __typename: 'Sweep', id: found.sweep.id }, { __typename: 'Job', id: found.id }, { __typename: 'Attempt', id: found.currentAttempt.id },
      { __typename: 'Checkpoint', id: found.checkpoints[0].id },
    ];
    const result = await execute({ schema, document, contextValue: fixture.context(), variableValues: { r: representations } });
    expect(result.errors).toBeUndefined();
    expect(result.data!['_entities']).toEqual([
      { __typename: 'Experiment', id: found.experiment.id }, ...representations.slice(1),
    ]);
  });
});
