/** Which checkpoint to load, and what is known of it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openFixture, seedExperiment, seedJobs, seedSweep, shownErrors, type Fixture } from './fixture.ts';

let fixture: Fixture;
beforeAll(async () => { fixture = await openFixture(); });
afterAll(() => fixture?.close());

const objective = { objectiveMetric: 'loss', objectiveGoal: 'MIN' as const };

async function ask(query: string, id: string): Promise<any> {
  const result = await fixture.run(`query ($id: ID!) { ${query} }`, { id });
  expect(result.errors).toBeUndefined();
  return Object.values(result.data)[0];
}

it('a checkpoint says how its step and epoch are known, and which metrics it had how many steps before', async () => {
  const experiment = await seedExperiment(fixture.db, objective);
  const [id] = await seedJobs(fixture.db, experiment, [{
    metrics: { loss: [[1, 0.5], [7, 0.25]], acc: [[9, 1]] },
    checkpoints: [
      { step: 8, stepSource: 'FILE', stepConfidence: 'CERTAIN', epoch: 1.5, epochSource: 'NAME', epochConfidence: 'LIKELY', layout: 'HUGGING_FACE', loggedMetrics: { acc: 0.75 } },
      { loggedMetrics: { loss: 0.125 } },
    ],
  }]);
  const job = await ask(`job(id: $id) { checkpoints { step stepSource stepConfidence epoch epochSource epochConfidence layout metrics { key step stepsApart value } only: metrics(keys: ["loss"]) { key } } }`, id!);
  expect(job.checkpoints).toEqual([
    {
      step: 8, stepSource: 'FILE', stepConfidence: 'CERTAIN', epoch: 1.5, epochSource: 'NAME', epochConfidence: 'LIKELY', layout: 'HUGGING_FACE',
      metrics: [{ key: 'acc', step: 8, stepsApart: 0, value: 0.75 }, { key: 'loss', step: 7, stepsApart: 1, value: 0.25 }], only: [{ key: 'loss' }],
    },
    {
      step: null, stepSource: null, stepConfidence: null, epoch: null, epochSource: null, epochConfidence: null, layout: null,
      metrics: [{ key: 'loss', step: null, stepsApart: 0, value: 0.125 }], only: [{ key: 'loss' }],
    },
  ]);
});

describe('best and last', () => {
  it('are aliases of those that exist: best by the objective, last by the highest step', async () => {
    const experiment = await seedExperiment(fixture.db, objective);
    const [id] = await seedJobs(fixture.db, experiment, [{
      metrics: { loss: [[1, 0.1], [2, 0.3], [3, 0.2], [4, 0.4]] },
      checkpoints: [{ step: 1, state: 'DELETED' }, { step: 2 }, { step: 3 }, { step: 4, aliases: ['mine'] }, { step: 5, state: 'WRITING' }],
    }]);
    const job = await ask('job(id: $id) { checkpoints { step aliases } lastCheckpoint { step } bestCheckpoint { step } }', id!);
    expect(job.checkpoints.map((each: any) => each.aliases)).toEqual([[], [], ['best'], ['last', 'mine'], []]);
    expect(job).toMatchObject({ lastCheckpoint: { step: 4 }, bestCheckpoint: { step: 3 } });
  });

  it('last is what a link, a name or a pointer file calls so, if that is whole', async () => {
    const experiment = await seedExperiment(fixture.db);
    const ids = await seedJobs(fixture.db, experiment, [
      { checkpoints: [{ step: 1, aliases: ['last'] }, { step: 2 }] }, { checkpoints: [{ step: 1, aliases: ['last'], state: 'PARTIAL' }, { step: 2 }, {}] },
      { checkpoints: [{ step: 1, state: 'PARTIAL' }] },
    ]);
    const last = await Promise.all(ids.map((id) => ask('job(id: $id) { lastCheckpoint { step } }', id)));
    expect(last.map(({ lastCheckpoint }) => lastCheckpoint?.step)).toEqual([1, 2, undefined]);
  });
});

describe('the best checkpoint of many jobs', () => {
  const best = (id: string, args = '') => ask(`sweep(id: $id) { bestCheckpoint${args} { path step job { name } } experiment { bestCheckpoint${args} { path } } }`, id);

  async function seed(jobs: Parameters<typeof seedJobs>[2], values = objective as Parameters<typeof seedExperiment>[1]): Promise<string> {
    const experiment = await seedExperiment(fixture.db, values);
    const sweepId = await seedSweep(fixture.db, experiment);
    await seedJobs(fixture.db, experiment, jobs.map((job) => ({ sweepId, ...job })));
    return sweepId;
  }

  it('is chosen among checkpoints that exist, not among values', async () => {
    const id = await seed([
      { name: 'best value, checkpoint gone', metrics: { loss: [[1, 0.01]] }, checkpoints: [{ step: 1, state: 'DELETED' }] },
      { name: 'good value, but not at a checkpoint', metrics: { loss: [[1, 0.5], [2, 0.02], [3, 0.6]] }, checkpoints: [{ step: 1 }, { step: 3 }] },
      { name: 'the one', state: 'FAILED', metrics: { loss: [[1, 0.4], [2, 0.3]] }, checkpoints: [{ step: 1 }, { step: 2 }] },
      { name: 'no checkpoint', metrics: { loss: [[1, 0.001]] } },
      { name: 'not a number', metrics: { loss: [[1, Number.NaN]] }, checkpoints: [{ step: 1 }] },
    ]);
    const sweep = await best(id);
    expect(sweep.bestCheckpoint).toMatchObject({ step: 2, job: { name: 'the one' } });
    expect(sweep.experiment.bestCheckpoint.path).toBe(sweep.bestCheckpoint.path);
    expect((await best(id, '(metric: "loss", goal: MAX)')).bestCheckpoint.job.name).toBe('good value, but not at a checkpoint');
  });

  it('takes the metric that the job gave with a checkpoint before that of the history', async () => {
    const id = await seed([
      { name: 'given', metrics: { loss: [[1, 0.9]] }, checkpoints: [{ step: 1, loggedMetrics: { loss: 0.1 } }] },
      { name: 'logged', metrics: { loss: [[1, 0.2]] }, checkpoints: [{ step: 1 }] },
      { name: 'only given, without a step', checkpoints: [{ loggedMetrics: { loss: 0.05 } }] },
    ]);
    expect((await best(id)).bestCheckpoint).toMatchObject({ step: null, job: { name: 'only given, without a step' } });
  });

  it('is found behind hundreds of jobs whose checkpoints are worse than their best values', async () => {
    const id = await seed([
      ...Array.from({ length: 150 }, (_, index) => ({ name: `decoy ${index}`, metrics: { loss: [[1, 9], [2, 0.001 * (index + 1)], [3, 9]] as [number, number][] }, checkpoints: [{ step: 1 }, { step: 3 }] })),
      { name: 'the one', metrics: { loss: [[1, 0.5]] }, checkpoints: [{ step: 1 }] },
    ]);
    expect((await best(id)).bestCheckpoint.job.name).toBe('the one');
  });

  it('by half an objective is refused unless the experiment has the other half, and by a metric that no job has', async () => {
    const id = await seed([{ state: 'COMPLETED', metrics: { loss: [[1, 0.5]], accuracy: [[1, 0.9]] }, checkpoints: [{ step: 1 }] }]);
    const refused = async (args: string) => shownErrors(await fixture.run(`query ($id: ID!) { sweep(id: $id) { bestCheckpoint${args} { path } jobs(first: 1) { nodes { bestCheckpoint${args} { path } } } } }`, { id }));
    for (const args of ['(metric: "loss")', '(goal: MIN)']) expect(await refused(args)).toEqual([]);
    const twice = (message: string) => Array.from({ length: 2 }, () => ({ code: 'BAD_USER_INPUT', message }));
    expect(await refused('(metric: "accuracy")')).toEqual(twice('metric: goes with a goal: pass both `metric` and `goal`, because the objective of the experiment is MIN of "loss"'));
    expect(await refused('(goal: MAX)')).toEqual(twice('goal: goes with a metric: pass both `metric` and `goal`, because the objective of the experiment is MIN of "loss"'));
    expect(await refused('(metric: "acuracy", goal: MAX)')).toEqual(twice('metric: no job has a metric "acuracy"; did you mean accuracy?'));
  });

  it('is null where nothing says what best means, and where there is none', async () => {
    expect(await best(await seed([{ metrics: { loss: [[1, 1]] }, checkpoints: [{ step: 1 }] }], {}))).toEqual({ bestCheckpoint: null, experiment: { bestCheckpoint: null } });
    expect(await best(await seed([{ checkpoints: [{ step: 1 }] }]))).toEqual({ bestCheckpoint: null, experiment: { bestCheckpoint: null } });
  });
});
