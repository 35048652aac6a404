/** A cluster that was taken out of the configuration while its jobs wait. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { recordClusterReport } from '../../src/db/write/clusters.ts';
import { openFixture, seedExperiment, seedJobs, type Fixture } from './fixture.ts';

let fixture: Fixture;
let waiting: string;
let unheardOf: string;
let configured: string;

beforeAll(async () => {
  fixture = await openFixture();
  await recordClusterReport(fixture.db.database, 'gone', 'SLURM', { partitions: [], pendingJobCount: 0, runningJobCount: 0, maxArraySize: null, schedulerVersion: null, hasAccounting: null });
  const experimentId = await seedExperiment(fixture.db);
  const ids = await seedJobs(fixture.db, experimentId, [{ state: 'QUEUED', cluster: 'gone' }, { state: 'QUEUED', cluster: 'never' }, { state: 'QUEUED', cluster: 'hpc' }]);
  [waiting, unheardOf, configured] = ids as [string, string, string];
});
afterAll(() => fixture?.close());

it('is out of reach, and says why', async () => {
  const { data } = await fixture.run('{ cluster(name: "gone") { reachable lastError } hpc: cluster(name: "hpc") { lastError } }');
  expect(data).toMatchObject({ cluster: { reachable: false, lastError: 'not in the configuration of this server' }, hpc: { lastError: null } });
});

it('explains the wait of its queued jobs, and of those of a cluster that was never heard of', async () => {
  const query = 'query ($id: ID!) { job(id: $id) { cluster { lastError } pending { reason explanation advice willStartByItself } } }';
  const of = async (id: string) => (await fixture.run(query, { id })).data.job;
  const why = { reason: 'ClusterNotConfigured', advice: expect.stringContaining('expgraph.yaml'), willStartByItself: false };
  expect(await of(waiting)).toMatchObject({ pending: { ...why, explanation: expect.stringContaining('"gone" is not in the configuration') } });
  expect(await of(unheardOf)).toMatchObject({ cluster: { lastError: 'not in the configuration of this server' }, pending: why });
  expect(await of(configured)).toMatchObject({ pending: null });
});
