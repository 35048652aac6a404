import { afterEach, beforeEach, expect, test } from 'vitest';
import { holdJobs } from '../../src/actions/hold-jobs.ts';
import { cancelJobs } from '../../src/actions/cancel-jobs.ts';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import { TransportError } from '../../src/cluster/transport.ts';
import { readTrackedAttempts } from '../../src/db/read/tracked-attempts.ts';
import { carryOutWishes } from '../../src/reconcilers/wishes.ts';
import { smallSweep } from '../support/actions.ts';
import { fakeClusterTest, silent, type FakeCluster, type FakeClusterTest } from './fake-cluster.ts';

let at: FakeClusterTest;
let fake: FakeCluster;
beforeEach(async () => {
  at = await fakeClusterTest();
  fake = at.fake;
});
afterEach(() => at.close());

test('a cancel and a hold that the cluster refuses do not end the round, and are asked again in the next', async () => {
  const { jobs } = await submitSweep(at.context, smallSweep());
  const ids = jobs.map((job) => job.jobId ?? '');
  const { database } = at.db;
  await fake.dispatch(database);
  await cancelJobs(at.context, { ids: ids.slice(0, 1) });
  await holdJobs(at.context, { ids: ids.slice(1, 2) });
  const asked: string[] = [];
  const refuse = (what: string) => () => {
    asked.push(what);
    return Promise.reject(new TransportError('unreachable', `${what}: Access/permission denied (exit code 1)`));
  };
  fake.override({ cancel: refuse('scancel'), setHeld: refuse('scontrol') });
  const cancelledAt = new Map<string, number>();
  const round = async () => carryOutWishes({ database, cluster: fake.cluster, cancelledAt, logger: silent, now: () => new Date() }, await readTrackedAttempts(database, 'greene'));
  await round();
  await round();
  expect(asked).toEqual(['scancel', 'scontrol', 'scancel', 'scontrol']);
});

test('an array of which everything is to end is named as a whole, one of which something goes on by its tasks', async () => {
  const { jobs } = await submitSweep(at.context, smallSweep());
  const ids = jobs.map((job) => job.jobId ?? '');
  const { database } = at.db;
  await fake.dispatch(database);
  const told: string[][] = [];
  fake.override({ cancel: (slurmJobIds) => { told.push(slurmJobIds); return Promise.resolve(); } });
  const cancelledAt = new Map<string, number>();
  const round = async () => carryOutWishes({ database, cluster: fake.cluster, cancelledAt, logger: silent, now: () => new Date() }, await readTrackedAttempts(database, 'greene'));
  await cancelJobs(at.context, { ids: ids.slice(0, 2) });
  await round();
  await cancelJobs(at.context, { ids: ids.slice(2) });
  await round();
  const [{ slurm_job_id: array }] = (await at.db.pool.query('select slurm_job_id from batches')).rows;
  expect(told.map((each) => [...each].sort())).toEqual([[`${array}_0`, `${array}_1`], [array]]);
});
