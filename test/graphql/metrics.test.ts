import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writePoints } from '../../src/db/write/metrics.ts';
import { openFixture, seedExperiment, seedJobs, shownErrors, type Fixture, type SeedJob } from './fixture.ts';

let fixture: Fixture;
let experimentId: string;
beforeAll(async () => {
  fixture = await openFixture();
  experimentId = await seedExperiment(fixture.db);
});
afterAll(() => fixture?.close());

async function jobOf(seed: SeedJob): Promise<string> {
  return (await seedJobs(fixture.db, experimentId, [seed]))[0]!;
}

async function seriesOf(id: string, args: string): Promise<any[]> {
  const result = await fixture.run(`query ($id: ID!) { job(id: $id) { metrics(${args}) { key steps values times sampled pointCount nonFinite { index step value }
    last { step value checkpoint { step } } min { step value checkpoint { step } } max { step value } } } }`, { id });
  expect(result.errors).toBeUndefined();
  return result.data.job.metrics;
}

it('points of one answer are bounded, over all jobs, metrics and aliases', async () => {
  const id = await jobOf({ metrics: Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`m${index}`, [[1, 1]] as [number, number][]])) });
  await fixture.db.pool.query('update metric_series set point_count = 1000000 where job_id = $1', [id]);
  const columns = (count: number) => Array.from({ length: count }, (_, index) => `a${index}: metrics(maxPoints: 10000) { key steps values }`).join(' ');
  const ask = (count: number) => fixture.run(`query ($id: ID!) { job(id: $id) { ${columns(count)} } }`, { id });
  expect((await ask(6)).errors).toBeUndefined();
  const refused = await ask(7);
  expect(refused.data.job).toBeNull();
  expect(shownErrors(refused)[0]).toEqual({ code: 'LIMIT_EXCEEDED', message: expect.stringContaining('more than 2000000 points in one answer') });
});

describe('a metric history', () => {
  it('is columns by step, whatever the order of logging', async () => {
    const id = await jobOf({ metrics: { loss: [[3, 0.1], [1, 0.3], [2, 0.2]], acc: [[1, 1]] } });
    const [acc, loss] = await seriesOf(id, 'maxPoints: 10');
    expect(acc).toMatchObject({ key: 'acc', steps: [1], values: [1] });
    expect(loss).toMatchObject({ key: 'loss', steps: [1, 2, 3], values: [0.3, 0.2, 0.1], sampled: false, pointCount: 3, nonFinite: [] });
    expect(loss.times[0].toISOString()).toBe('2026-01-01T00:00:01.000Z');
    expect((await seriesOf(id, 'keys: ["loss"]')).map(({ key }) => key)).toEqual(['loss']);
  });

  it('takes the value of the later attempt where two logged the same step', async () => {
    const id = await jobOf({ metrics: { loss: [[1, 0.9, 1], [2, 0.8, 1], [3, 0.7, 1], [2, 0.5, 2], [4, 0.4, 2]] } });
    expect((await seriesOf(id, 'maxPoints: 10'))[0]).toMatchObject({ steps: [1, 2, 3, 4], values: [0.9, 0.5, 0.7, 0.4] });
  });

  it('keeps NaN and infinities as null and names them', async () => {
    const id = await jobOf({ metrics: { loss: [[1, 0.5], [2, Number.NaN], [3, Infinity], [4, -Infinity]] } });
    expect((await seriesOf(id, 'maxPoints: 10'))[0]).toMatchObject({
      values: [0.5, null, null, null], last: { step: 1, value: 0.5 },
      nonFinite: [{ index: 1, step: 2, value: 'NAN' }, { index: 2, step: 3, value: 'POSITIVE_INFINITY' }, { index: 3, step: 4, value: 'NEGATIVE_INFINITY' }],
    });
  });

  it('has no last, least or greatest point when nothing finite was logged', async () => {
    const id = await jobOf({ metrics: { loss: [[1, Number.NaN]] } });
    expect((await seriesOf(id, 'maxPoints: 10'))[0]).toMatchObject({ last: null, min: null, max: null });
  });

  it.each([3_000, 30_000])('of %i points is sampled, says so, and keeps its ends and its extremes', async (count) => {
    const points = Array.from({ length: count }, (_, step): [number, number] => [step * 3, step === 1234 ? -5 : step === 2777 ? 7 : Math.sin(step / 100)]);
    const id = await jobOf({ metrics: { loss: points } });
    const [series] = await seriesOf(id, 'maxPoints: 100');
    expect(series).toMatchObject({ sampled: true, pointCount: count });
    expect(series.steps.length).toBeLessThanOrEqual(100);
    expect(series.steps.length).toBeGreaterThan(50);
    expect([series.steps[0], series.steps.at(-1)]).toEqual([0, (count - 1) * 3]);
    expect(series.values[series.steps.indexOf(1234 * 3)]).toBe(-5);
    expect(series.values[series.steps.indexOf(2777 * 3)]).toBe(7);
    expect(series.steps).toEqual([...series.steps].sort((a, b) => a - b));
  });

  it('may have steps up to 2^53 - 1', async () => {
    const id = await jobOf({ metrics: { loss: Array.from({ length: 100 }, (_, index): [number, number] => [Number.MAX_SAFE_INTEGER - index * 1e12, index]) } });
    const [series] = await seriesOf(id, 'maxPoints: 10');
    expect(series.steps.at(-1)).toBe(Number.MAX_SAFE_INTEGER);
  });

  it.each([1, 10_001])('refuses to be cut to %i points', async (maxPoints) => {
    const id = await jobOf({});
    const result = await fixture.run('query ($id: ID!, $n: Int) { job(id: $id) { metrics(maxPoints: $n) { key } } }', { id, n: maxPoints });
    expect(shownErrors(result)).toEqual([{ code: 'BAD_USER_INPUT', message: `maxPoints: must be from 2 to 10000, not ${maxPoints}` }]);
  });

  it('comes with the newest whole checkpoint at or before each of its points', async () => {
    const id = await jobOf({
      metrics: { loss: [[1, 0.9], [5, 0.1], [9, 0.3]] },
      checkpoints: [{ step: 2 }, { step: 5 }, { step: 7, state: 'PARTIAL' }, { step: 8, state: 'DELETED' }, { step: 10 }],
    });
    const [series] = await seriesOf(id, 'keys: ["loss"]');
    expect(series.last.checkpoint).toEqual({ step: 5 });
    expect(series.min.checkpoint).toEqual({ step: 5 });
  });
});

describe('the history of one attempt', () => {
  const SERIES = 'key attempt steps values sampled pointCount nonFinite { step value } last { step value } min { step value } max { step value }';
  const ask = (id: string, args: string) => fixture.run(`query ($id: ID!) { job(id: $id) { metrics(${args}) { ${SERIES} } } }`, { id });
  let id: string;
  beforeAll(async () => {
    id = await jobOf({ attempts: [{}, {}, {}], metrics: {
      loss: [[1, 0.9, 1], [2, 0.8, 1], [3, 0.7, 1], [2, 0.5, 2], [4, 0.4, 2], [5, Number.NaN, 2]], acc: [[7, -0.1, 3]],
    } });
  });

  it('is what that attempt logged, also at steps that a later one logged again, with a summary of its own', async () => {
    expect((await ask(id, 'attempt: 1')).data.job.metrics).toEqual([{
      key: 'loss', attempt: 1, steps: [1, 2, 3], values: [0.9, 0.8, 0.7], sampled: false, pointCount: 3, nonFinite: [],
      last: { step: 3, value: 0.7 }, min: { step: 3, value: 0.7 }, max: { step: 1, value: 0.9 },
    }]);
    expect((await ask(id, 'attempt: 2, keys: ["loss", "acc"]')).data.job.metrics).toEqual([{
      key: 'loss', attempt: 2, steps: [2, 4, 5], values: [0.5, 0.4, null], sampled: false, pointCount: 3, nonFinite: [{ step: 5, value: 'NAN' }],
      last: { step: 4, value: 0.4 }, min: { step: 4, value: 0.4 }, max: { step: 2, value: 0.5 },
    }]);
    expect((await ask(id, 'attempt: 3')).data.job.metrics).toMatchObject([{ key: 'acc', attempt: 3, steps: [7], values: [-0.1], max: { step: 7, value: -0.1 } }]);
    expect((await ask(id, 'attempt: 3, keys: ["loss"]')).data.job.metrics).toEqual([]);
    expect((await ask(id, 'maxPoints: 10')).data.job.metrics).toMatchObject([{ key: 'acc', attempt: null }, { key: 'loss', attempt: null, steps: [1, 2, 3, 4, 5], values: [0.9, 0.5, 0.7, 0.4, null] }]);
  });

  it('comes with each of the attempts, too', async () => {
    const result = await fixture.run('query ($id: ID!) { job(id: $id) { attempts { number metrics(keys: ["loss"], maxPoints: 2) { attempt steps sampled } } } }', { id });
    expect(result.data.job.attempts).toEqual([
      { number: 1, metrics: [{ attempt: 1, steps: [1, 3], sampled: true }] }, { number: 2, metrics: [{ attempt: 2, steps: [2, 5], sampled: true }] }, { number: 3, metrics: [] },
    ]);
  });

  it.each([0, 4, -1])('is refused for attempt %i, which the job does not have', async (attempt) => {
    expect(shownErrors(await ask(id, `attempt: ${attempt}`))).toEqual([{ code: 'BAD_USER_INPUT', message: `attempt: the job has attempts 1 to 3, not ${attempt}` }]);
  });

  it('is the whole history of a job that has no other attempt', async () => {
    const only = await jobOf({ attempts: [{}], metrics: { loss: [[1, 0.9, 1], [2, 0.8, 1]] } });
    const [whole] = (await ask(only, 'maxPoints: 10')).data.job.metrics;
    expect((await ask(only, 'attempt: 1')).data.job.metrics).toEqual([{ ...whole, attempt: 1 }]);
    expect(shownErrors(await ask(only, 'attempt: 2'))).toEqual([{ code: 'BAD_USER_INPUT', message: 'attempt: the job has attempts 1 to 1, not 2' }]);
  });

  it('is sampled where it is long, with its own ends and extremes, though the buckets are of all attempts together', async () => {
    const long = await jobOf({ attempts: [{}, {}] });
    const steps = Array.from({ length: 12_000 }, (_, index) => index);
    const valueOf = (step: number, attempt: number) => (step === 5_000 ? (attempt === 1 ? 50 : -70) : step === 5_001 ? (attempt === 1 ? -50 : 70) : Math.sin(step / 100) + attempt);
    for (const [attempt, own] of [[1, steps.slice(0, 10_000)], [2, steps.slice(4_000)]] as const) {
      await fixture.db.database.transaction((transaction) => writePoints(transaction, [{ jobId: long, attemptNumber: attempt, series: [
        { key: 'loss', steps: own, values: own.map((step) => valueOf(step, attempt)), times: own.map((step) => 1.76e12 + step) }] }]));
    }
    for (const [attempt, from, count, extreme] of [[1, 0, 10_000, 50], [2, 4_000, 8_000, 70]] as const) {
      const [series] = (await ask(long, `attempt: ${attempt}, maxPoints: 100`)).data.job.metrics;
      expect(series).toMatchObject({ sampled: true, pointCount: count, last: { step: from + count - 1 }, max: { value: extreme }, min: { value: -extreme } });
      expect(series.steps.length).toBeLessThanOrEqual(100);
      expect(series.steps.length).toBeGreaterThan(50);
      expect([series.steps[0], series.steps.at(-1), Math.max(...series.values), Math.min(...series.values)]).toEqual([from, from + count - 1, extreme, -extreme]);
      for (const [index, step] of series.steps.entries()) expect(series.values[index]).toBe(valueOf(step, attempt));
      const [whole] = (await ask(long, `attempt: ${attempt}, maxPoints: 10000`)).data.job.metrics;
      expect(whole).toMatchObject({ sampled: false, steps: steps.slice(from, from + count) });
    }
  });

  it('comes of many jobs in one call and few statements, without those that have not come to that attempt', async () => {
    const own = await seedExperiment(fixture.db);
    await seedJobs(fixture.db, own, [1, 2, 3, 1, 2, 3].map((count, index) => ({
      name: `j${index}`, attempts: Array.from({ length: count }, () => ({})), metrics: { loss: Array.from({ length: count }, (_, attempt): [number, number, number] => [10, attempt + 1, attempt + 1]), other: [[1, 1, 1]] },
    })));
    const many = (attempt: number) => fixture.counted('query ($id: [ID!], $a: Int) { experiments(filter: {ids: $id}) { nodes { metrics(keys: ["loss", "other"], attempt: $a) { key attempt values job { name } } } } }', { id: [own], a: attempt });
    const { result, statements } = await many(2);
    expect(result.data.experiments.nodes[0].metrics).toEqual(['j1', 'j2', 'j4', 'j5'].map((name) => ({ key: 'loss', attempt: 2, values: [2], job: { name } })));
    expect(statements).toBeLessThanOrEqual(6);
    expect((await many(9)).result.data.experiments.nodes[0].metrics).toEqual([]);
    expect(shownErrors((await many(0)).result)).toEqual([{ code: 'BAD_USER_INPUT', message: 'attempt: must be 1 or more, not 0: attempts are numbered from 1' }]);
  });
});

describe('histories of many jobs', () => {
  it('come in one call, of the jobs that pass the filter', async () => {
    const own = await seedExperiment(fixture.db);
    await seedJobs(fixture.db, own, [1, 2, 3].map((seed) => ({ name: `j${seed}`, config: { seed }, metrics: { loss: [[1, seed]], acc: [[1, 0]] } })));
    const result = await fixture.run(`query ($id: [ID!]) { experiments(filter: {ids: $id}) { nodes {
      metrics(keys: ["loss"], filter: {config: [{key: "seed", gte: 2}]}) { key values job { name } } } } }`, { id: [own] });
    expect(result.data.experiments.nodes[0].metrics).toEqual([
      { key: 'loss', values: [2], job: { name: 'j2' } }, { key: 'loss', values: [3], job: { name: 'j3' } },
    ]);
  });

  describe('of 500 jobs and three metrics', () => {
    const MANY = `query ($id: [ID!], $n: Int) { experiments(filter: {ids: $id}) { nodes { metrics(keys: ["a", "b", "c"], maxPoints: $n) { key sampled pointCount steps values job { id } } } } }`;
    let own: string;
    beforeAll(async () => {
      own = await seedExperiment(fixture.db);
      const ids = await seedJobs(fixture.db, own, Array.from({ length: 500 }, () => ({})));
      const { pool } = fixture.db;
      await pool.query(`insert into metric_series (job_id, key, series_number, point_count)
        select id, key, number, case key when 'c' then 4 else 100 end from unnest($1::uuid[]) as id, (values ('a', 1), ('b', 2), ('c', 3), ('d', 4)) as series(key, number)`, [ids]);
      await pool.query(`insert into metric_points (job_id, series_number, step, attempt_number, value, time)
        select id, number, step, 1, case when step = 50 then -1 when step = 51 then 9 else step / 100.0 end, now() from unnest($1::uuid[]) as id, generate_series(1, 4) as number,
        generate_series(1, case number when 3 then 4 else 100 end) as step`, [ids]);
    }, 60_000);

    it('come in one call and few statements, sampled where they are long, which is said', async () => {
      const { result, statements } = await fixture.counted(MANY, { id: [own], n: 10 });
      expect(result.errors).toBeUndefined();
      const series = result.data.experiments.nodes[0].metrics as { key: string; sampled: boolean; pointCount: number; steps: number[]; values: number[]; job: { id: string } }[];
      expect(series).toHaveLength(1500);
      expect(new Set(series.map(({ job, key }) => `${job.id} ${key}`)).size).toBe(1500);
      for (const { key, sampled, pointCount, steps, values } of series) {
        expect([key, sampled, pointCount]).toEqual(key === 'c' ? ['c', false, 4] : [key, true, 100]);
        expect(steps.length).toBeLessThanOrEqual(10);
        expect([steps[0], steps.at(-1)]).toEqual([1, key === 'c' ? 4 : 100]);
        if (key !== 'c') expect([Math.min(...values), Math.max(...values)]).toEqual([-1, 9]);
      }
      expect(statements).toBeLessThanOrEqual(5);
    });

    it('are refused before any point is read when there could be too many, which fewer points of each mend', async () => {
      const { result, statements } = await fixture.counted(MANY, { id: [own], n: 2000 });
      expect(shownErrors(result)).toEqual([{ code: 'LIMIT_EXCEEDED', message: expect.stringMatching(/more than 1000 series of up to 2000 points match, .* lower `maxPoints`/) }]);
      expect(statements).toBeLessThanOrEqual(3);
      expect((await fixture.run(MANY, { id: [own], n: 1333 })).errors).toBeUndefined();
    });
  });

  it('are refused with the numbers when they could grow too large', async () => {
    const own = await seedExperiment(fixture.db);
    const [id] = await seedJobs(fixture.db, own, [{}]);
    await fixture.db.pool.query(`insert into metric_series (job_id, key, series_number) select $1, 'm' || n, n from generate_series(1, 201) n`, [id]);
    const result = await fixture.run('query ($id: [ID!], $k: [String!]!) { experiments(filter: {ids: $id}) { nodes { metrics(keys: $k, maxPoints: 10000) { key } } } }',
      { id: [own], k: Array.from({ length: 201 }, (_, index) => `m${index + 1}`) });
    expect(shownErrors(result)).toEqual([{ code: 'LIMIT_EXCEEDED', message: expect.stringMatching(/more than 200 series .* limit of 2000000 points/) }]);
  });
});

it('metrics of an experiment that no job has are refused once a job has completed', async () => {
  const own = await seedExperiment(fixture.db, { objectiveMetric: 'val/f1', objectiveGoal: 'MAX' });
  await seedJobs(fixture.db, own, [{ state: 'RUNNING', metrics: { 'val/loss': [[1, 1]] } }]);
  const asked = (keys: string[]) => fixture.run('query ($id: [ID!], $k: [String!]!) { experiments(filter: {ids: $id}) { nodes { metrics(keys: $k) { key } } } }', { id: [own], k: keys });
  expect((await asked(['val/los', 'val/f1'])).data.experiments.nodes[0].metrics).toEqual([]);
  await fixture.db.pool.query("update jobs set state = 'COMPLETED' where experiment_id = $1", [own]);
  expect((await asked(['val/loss', 'val/f1'])).data.experiments.nodes[0].metrics).toEqual([{ key: 'val/loss' }]);
  expect(shownErrors(await asked(['val/loss', 'val/los']))).toEqual([{ code: 'BAD_USER_INPUT', message: 'keys: no job has a metric "val/los"; did you mean val/loss?' }]);
});

describe('the best checkpoint', () => {
  async function best(seed: SeedJob, args = '(metric: "loss", goal: MIN)'): Promise<number | string | null> {
    const id = await jobOf(seed);
    const result = await fixture.run(`query ($id: ID!) { job(id: $id) { bestCheckpoint${args} { step path } } }`, { id });
    expect(result.errors).toBeUndefined();
    return result.data.job.bestCheckpoint?.step ?? result.data.job.bestCheckpoint?.path ?? null;
  }

  it('is the one with the best value at or before its step', async () => {
    const metrics = { loss: [[10, 0.5], [20, 0.2], [30, 0.4]] as [number, number][] };
    expect(await best({ metrics, checkpoints: [{ step: 10 }, { step: 25 }, { step: 30 }] })).toBe(25);
    expect(await best({ metrics, checkpoints: [{ step: 10 }, { step: 25 }, { step: 30 }] }, '(metric: "loss", goal: MAX)')).toBe(10);
  });

  it('is the earliest of those with the same value', async () => {
    expect(await best({ metrics: { loss: [[10, 0.2]] }, checkpoints: [{ step: 30 }, { step: 12 }, { step: 20 }] })).toBe(12);
  });

  it('is never one that is not whole', async () => {
    const metrics = { loss: [[10, 0.1], [20, 0.5]] as [number, number][] };
    expect(await best({ metrics, checkpoints: [{ step: 10, state: 'WRITING' }, { step: 15, state: 'DELETED' }, { step: 20 }] })).toBe(20);
  });

  it('passes over values that are not finite', async () => {
    expect(await best({ metrics: { loss: [[1, 0.5], [2, Number.NaN], [3, -Infinity], [4, 0.6]] }, checkpoints: [{ step: 2 }, { step: 3 }, { step: 4 }] })).toBe(4);
  });

  it('is the newest at or before the best step where no checkpoint has a value', async () => {
    expect(await best({ metrics: { loss: [[50, 0.5]] }, checkpoints: [{ step: 10 }, { step: 40 }] })).toBe(40);
  });

  it('is the one called best where steps are unknown', async () => {
    const path = await best({ metrics: { loss: [[1, 0.5]] }, checkpoints: [{ path: '/a/best.ckpt', aliases: ['best'] }, { path: '/a/last.ckpt', aliases: ['last'] }] });
    expect(path).toBe('/a/best.ckpt');
  });

  it('is none where the job has no such metric', async () => {
    expect(await best({ checkpoints: [{ step: 10 }] })).toBeNull();
  });

  it("is chosen by the experiment's objective when nothing is asked, and is none without one", async () => {
    const seed = { metrics: { acc: [[10, 0.9], [20, 0.1]] as [number, number][] }, checkpoints: [{ step: 10 }, { step: 20 }] };
    expect(await best(seed, '')).toBeNull();
    const own = await seedExperiment(fixture.db, { objectiveMetric: 'acc', objectiveGoal: 'MAX' });
    const [id] = await seedJobs(fixture.db, own, [seed]);
    const result = await fixture.run('query ($id: ID!) { job(id: $id) { bestCheckpoint { step } } }', { id });
    expect(result.data.job.bestCheckpoint.step).toBe(10);
  });

  it('knows its metrics and where it lies', async () => {
    const id = await jobOf({ metrics: { loss: [[10, 0.5], [30, 0.1]], acc: [[20, Number.NaN]] }, checkpoints: [{ step: 20, path: '/scratch/me/a.ckpt' }] });
    const result = await fixture.run('query ($id: ID!) { job(id: $id) { checkpoints(state: COMPLETE) { uri cluster { name } metrics { key step value } } } }', { id });
    expect(result.data.job.checkpoints).toEqual([{
      uri: 'ssh://me@login.example.org:2222/scratch/me/a.ckpt', cluster: { name: 'hpc' },
      metrics: [{ key: 'acc', step: 20, value: null }, { key: 'loss', step: 10, value: 0.5 }],
    }]);
  });
});
