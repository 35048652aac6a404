/** How much is read to tell what one attempt of many jobs logged. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openFixture, seedExperiment, seedJobs, shownErrors, type Fixture } from './fixture.ts';

let fixture: Fixture;
let experimentId: string;
beforeAll(async () => {
  fixture = await openFixture();
  experimentId = await seedExperiment(fixture.db);
  await seedJobs(fixture.db, experimentId, [1, 2, 3, 2].map((count) => ({ attempts: Array.from({ length: count }, () => ({})), metrics: { loss: [[1, 0.5, 1], [2, 0.25, count]] as [number, number, number][] } })));
}, 60_000);
afterAll(() => fixture?.close());

const ask = (args: string) => fixture.run(`query ($id: [ID!]) { experiments(filter: {ids: $id}) { nodes { metrics(keys: ["loss"], ${args}) { pointCount } } } }`, { id: [experimentId] });
const setPointCount = (count: number, where: string) => fixture.db.pool.query(`update metric_series s set point_count = $1 from jobs j where j.id = s.job_id and ${where}`, [count]);

it('is bounded, and refused before any point is read', async () => {
  await setPointCount(4_000_000, 'j.attempt_count > 1');
  expect(shownErrors(await ask('attempt: 1'))).toEqual([{
    code: 'LIMIT_EXCEEDED', message: 'attempt: what one attempt logged would have to be picked out of more than 10000000 points; narrow `filter` or `keys`, or leave out `attempt`' }]);
  expect((await ask('maxPoints: 10')).errors).toBeUndefined();
});

it('is nothing for a job that has one attempt only, and little where the history is rolled up', async () => {
  await setPointCount(9_000_000, 'j.attempt_count = 1');
  await setPointCount(3_000_000, 'j.attempt_count = 2');
  await setPointCount(9_000_000, 'j.attempt_count = 3');
  await fixture.db.pool.query('update metric_series s set rolled_up_below_step = 3, rolled_up_level = 0 from jobs j where j.id = s.job_id and j.attempt_count = 3');
  expect((await ask('attempt: 1')).data.experiments.nodes[0].metrics).toHaveLength(4);
});
