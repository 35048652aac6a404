import { afterEach, beforeEach, expect, test } from 'vitest';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import { SubmitError } from '../../src/cluster/executor.ts';
import { startClusterReconciler, type ClusterReconciler } from '../../src/reconcilers/reconcile-cluster.ts';
import { smallSweep } from '../support/actions.ts';
import { fakeClusterTest, silent, type FakeCluster, type FakeClusterTest } from './fake-cluster.ts';

let at: FakeClusterTest;
let fake: FakeCluster;
let reconciler: ClusterReconciler;
beforeEach(async () => {
  at = await fakeClusterTest();
  fake = at.fake;
  reconciler = startClusterReconciler(at.db.database, fake.cluster, { failureRules: [], retryPolicy: [] }, silent);
});
afterEach(async () => {
  await reconciler.stop();
  await at.close();
});

const one = async (statement: string): Promise<unknown> => Object.values((await at.db.pool.query(statement)).rows[0] ?? {})[0];

test('while changes are pushed, a submission whose answer was lost is adopted at once, and not only with the next look that is due anyway', async () => {
  await expect.poll(() => one("select watch || ' ' || reachable from clusters")).toBe('LIVE true');
  fake.override({ submit: async () => { throw new SubmitError('ambiguous', 'Socket timed out on send/recv operation'); } });
  fake.says.set(0, { slurmJobId: '77', state: 'PENDING' });
  await submitSweep(at.context, smallSweep({ space: { grid: [{ key: 'n', values: [1] }] } }));
  reconciler.onEvent({ seq: 1, at: new Date(), experimentId: '', sweepId: null, jobId: null, attemptNumber: null, kind: 'JOB_STATE_CHANGED', payload: { from: null, to: 'QUEUED', reason: null } });
  await expect.poll(() => one('select slurm_job_id from attempts')).toBe('77');
}, 60_000);
