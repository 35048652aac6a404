import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writePoints } from '../../src/db/write/metrics.ts';
import { rollUpDue } from '../../src/reconcilers/roll-up.ts';
import { silent } from '../reconcilers/fake-cluster.ts';
import { openFixture, seedExperiment, seedJobs, shownErrors, type Fixture } from './fixture.ts';

let fixture: Fixture;
let jobId: string;
beforeAll(async () => {
  fixture = await openFixture();
  const experimentId = await seedExperiment(fixture.db, { project: 'speech' });
  [jobId] = await seedJobs(fixture.db, experimentId, [{ state: 'COMPLETED', attempts: [{ state: 'COMPLETED' }], finishedAt: new Date(Date.now() - 40 * 86_400_000) }]) as [string];
  await fixture.db.pool.query('update jobs set harvested_at = finished_at');
  const steps = Array.from({ length: 20_000 }, (_, step) => step);
  await fixture.db.database.transaction((transaction) => writePoints(transaction, [{ jobId, attemptNumber: 1, series: [
    { key: 'loss', steps, values: steps.map((step) => 1 / (1 + step)), times: steps.map((step) => 1.76e12 + step) },
    { key: 'val/loss', steps: [1, 2], values: [3, 4], times: [1.76e12, 1.76e12] },
  ] }]));
});
afterAll(() => fixture?.close());

const UPDATE = `mutation ($input: UpdateProjectInput!) { updateProject(input: $input) {
  project { name metricRetention { exactDays pointsPerSeries } } dryRun rollUp { jobCount seriesCount pointCount bytes } userErrors { field message code } } }`;
const PROJECT = '{ project(name: "speech") { metricRetention { exactDays pointsPerSeries } } }';
const METRICS = `query ($id: ID!, $most: Int) { job(id: $id) { dropped { reason count } metrics(maxPoints: $most) { key pointCount rolledUpBelowStep sampled steps last { step value } min { step value } max { step value } } } }`;

describe('the retention of a project', () => {
  it('is for ever unless somebody says otherwise', async () => {
    expect((await fixture.run(PROJECT)).data.project).toEqual({ metricRetention: { exactDays: null, pointsPerSeries: 2000 } });
    expect((await fixture.run('{ project(name: "nobody") { name } }')).data.project).toBeNull();
  });

  it('is set with what it will free, which a dry run only says', async () => {
    const input = { project: 'speech', metricRetention: { exactDays: 30 } };
    const dry = (await fixture.run(UPDATE, { input: { ...input, dryRun: true } })).data.updateProject;
    expect(dry).toMatchObject({ dryRun: true, userErrors: [], project: { metricRetention: { exactDays: null } }, rollUp: { jobCount: 1, seriesCount: 1 } });
    expect(dry.rollUp.pointCount).toBeGreaterThan(15_000);
    expect((await fixture.run(UPDATE, { input })).data.updateProject).toEqual({ ...dry, dryRun: false, project: { name: 'speech', metricRetention: { exactDays: 30, pointsPerSeries: 2000 } } });
    expect((await fixture.run(PROJECT)).data.project).toEqual({ metricRetention: { exactDays: 30, pointsPerSeries: 2000 } });
  });

  it('is listed with the others, page by page, by name', async () => {
    for (const project of ['Ünder', 'a b', 'a b', 'zoo']) await seedExperiment(fixture.db, { project });
    const page = (after: string | null) => fixture.run(`query ($after: String) { projects(first: 2, after: $after) {
      nodes { name metricRetention { exactDays pointsPerSeries } } totalCount pageInfo { hasNextPage endCursor } } }`, { after });
    const nodes: { name: string; metricRetention: object }[] = [];
    let after: string | null = null;
    do {
      const { projects }: { projects: { totalCount: number; nodes: typeof nodes; pageInfo: { hasNextPage: boolean; endCursor: string } } } = (await page(after)).data;
      expect(projects.totalCount).toBe(4);
      nodes.push(...projects.nodes);
      after = projects.pageInfo.hasNextPage ? projects.pageInfo.endCursor : null;
    } while (after !== null);
    expect(nodes).toHaveLength(4);
    expect(Object.fromEntries(nodes.map(({ name, metricRetention }) => [name, metricRetention]))).toEqual({
      speech: { exactDays: 30, pointsPerSeries: 2000 }, ...Object.fromEntries(['a b', 'zoo', 'Ünder'].map((name) => [name, { exactDays: null, pointsPerSeries: 2000 }])),
    });
    expect(shownErrors(await page('bm9uZQ'))).toEqual([{ code: 'BAD_USER_INPUT', message: expect.stringContaining('after: this cursor does not belong') }]);
  });

  it('names what is wrong with it', async () => {
    expect((await fixture.run(UPDATE, { input: { project: 'speach', metricRetention: { exactDays: 30 } } })).data.updateProject).toEqual({
      project: null, dryRun: false, rollUp: null, userErrors: [{ field: ['project'], message: 'there is no project "speach"; there are "speech"', code: 'NOT_FOUND' }] });
    const { userErrors } = (await fixture.run(UPDATE, { input: { project: 'speech', metricRetention: { exactDays: -1, pointsPerSeries: 1_000_000 } } })).data.updateProject;
    expect(userErrors.map(({ field }: { field: string[] }) => field.join('.'))).toEqual(['metricRetention.exactDays', 'metricRetention.pointsPerSeries']);
  });

  it('shows on a history that was rolled up, whose chart and summary stay, and which takes no more points where it is not whole', async () => {
    const before = (await fixture.run(METRICS, { id: jobId, most: 200 })).data.job.metrics;
    expect(before).toMatchObject([{ key: 'loss', rolledUpBelowStep: null, sampled: true }, { key: 'val/loss', rolledUpBelowStep: null, sampled: false }]);
    await rollUpDue(fixture.db.database, silent, 600_000);
    const [loss, short] = (await fixture.run(METRICS, { id: jobId, most: 200 })).data.job.metrics;
    expect(loss).toEqual({ ...before[0], rolledUpBelowStep: expect.any(Number) });
    expect(short).toEqual(before[1]);
    const [whole] = (await fixture.run(METRICS, { id: jobId, most: 10_000 })).data.job.metrics;
    expect(whole).toMatchObject({ pointCount: 20_000, sampled: true });
    expect(whole.steps.length).toBeLessThan(6_000);

    const record = `mutation ($input: RecordMetricsInput!) { recordMetrics(input: $input) { pointCount refusedPointCount userErrors { message } } }`;
    const columns = { steps: [5, 6, 50_000], values: [-1, -2, -3] };
    expect((await fixture.run(record, { input: { jobId, series: [{ key: 'loss', ...columns }] } })).data.recordMetrics).toEqual({ pointCount: 1, refusedPointCount: 2, userErrors: [] });
    const { dropped, metrics: [after] } = (await fixture.run(METRICS, { id: jobId, most: 200 })).data.job;
    expect(dropped).toEqual([{ reason: expect.stringContaining('metricRetention'), count: 2 }]);
    expect(after).toMatchObject({ pointCount: 20_001, min: { step: 50_000, value: -3 }, last: { step: 50_000 }, max: { step: 0, value: 1 } });
  });
});
