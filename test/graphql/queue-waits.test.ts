/** Why jobs wait in our own queue, as any process shows it. */
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { recordClusterBreaker, recordQueueWaits } from '../../src/db/write/clusters.ts';
import { CLOSED_BREAKER } from '../../src/domain/breaker-status.ts';
import { activeJobsWait, limitWait } from '../../src/domain/queue-wait.ts';
import { openFixture, seedExperiment, seedJobs, type Fixture } from './fixture.ts';

let fixture: Fixture;
let jobId: string;
let lane: string;

beforeAll(async () => {
  fixture = await openFixture();
  const experimentId = await seedExperiment(fixture.db);
  [jobId] = await seedJobs(fixture.db, experimentId, [{ state: 'QUEUED', cluster: 'hpc' }]) as [string];
  lane = (await fixture.db.pool.query<{ lane: string }>('select lane from jobs')).rows[0]!.lane;
});
afterAll(() => fixture?.close());
beforeEach(async () => {
  await recordClusterBreaker(fixture.db.database, 'hpc', 'SLURM', CLOSED_BREAKER);
  await recordQueueWaits(fixture.db.database, 'hpc', 'SLURM', []);
});

const pending = async (): Promise<unknown> => (await fixture.run('query ($id: ID!) { job(id: $id) { pending { reason explanation willStartByItself } } }', { id: jobId })).data.job.pending;

it('is not told of a job that is about to be handed over', async () => {
  expect(await pending()).toBeNull();
});

it('is the limit of its own lane before that of all jobs, and not that of another lane', async () => {
  const limit = limitWait(lane, { most: 100, source: 'MaxSubmitJobs of account cds', present: 100, byHand: 37 });
  await recordQueueWaits(fixture.db.database, 'hpc', 'SLURM', [activeJobsWait(2000), { ...limit, lane: 'other|lane|' }]);
  expect(await pending()).toMatchObject({ reason: 'MaxActiveJobs', willStartByItself: true });
  await recordQueueWaits(fixture.db.database, 'hpc', 'SLURM', [activeJobsWait(2000), limit]);
  expect(await pending()).toEqual({
    reason: 'SubmitLimit', willStartByItself: true,
    explanation: 'It waits in expgraph\'s queue: the cluster takes at most 100 submitted jobs of yours (MaxSubmitJobs of account cds), 100 are there (37 not from expgraph).',
  });
});

it('is the breaker while the cluster is left alone, which the cluster shows with all that is known', async () => {
  const status = { state: 'OPEN' as const, reason: 'connect ECONNREFUSED', failureCount: 7, openedAt: new Date('2030-01-01T00:00:00Z'), nextTryAt: new Date('2030-01-01T00:01:00Z') };
  await recordClusterBreaker(fixture.db.database, 'hpc', 'SLURM', status);
  expect(await pending()).toMatchObject({ reason: 'ClusterUnreachable', explanation: expect.stringMatching(/7 times in a row and is tried again at 2030-01-01T00:01:00.000Z.*ECONNREFUSED/) });
  const { data } = await fixture.run('{ cluster(name: "hpc") { breaker { state reason failureCount openedAt nextTryAt } } }');
  expect(JSON.parse(JSON.stringify(data.cluster.breaker))).toEqual({ ...status, openedAt: '2030-01-01T00:00:00.000Z', nextTryAt: '2030-01-01T00:01:00.000Z' });
});
