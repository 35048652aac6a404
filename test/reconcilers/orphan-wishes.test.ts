import { afterEach, beforeEach, expect, test } from 'vitest';
import { resolveOrphans } from '../../src/actions/resolve-orphans.ts';
import type { Stranger } from '../../src/cluster/executor.ts';
import { NotTriedError, TransportError } from '../../src/cluster/transport.ts';
import { OrphanKeeper } from '../../src/reconcilers/orphans.ts';
import { fakeClusterTest, silent, type FakeCluster, type FakeClusterTest } from './fake-cluster.ts';

let at: FakeClusterTest;
let fake: FakeCluster;
beforeEach(async () => {
  at = await fakeClusterTest();
  fake = at.fake;
});
afterEach(() => at.close());

const stranger = (token: string, slurmJobId: string): Stranger => ({ token, slurmJobId, taskIndexes: null, state: 'PENDING', submittedAt: null, nodeList: null });

test('an orphan that the cluster does not cancel keeps nobody from the rest, and is not tried at every turn', async () => {
  const now = new Date();
  const keeper = new OrphanKeeper({ database: at.db.database, cluster: fake.cluster, logger: silent, now: () => now });
  const strangers = [stranger('eg-abcdefghij-other', '77')];
  keeper.note({ strangers, absent: [] });
  await keeper.run();
  await resolveOrphans(at.context, { filter: { clusters: ['greene'] }, action: 'CANCEL' });
  const faults = [new NotTriedError('left alone for a while'), new TransportError('unreachable', 'scancel: access denied (exit code 1)')];
  fake.override({ cancel: () => Promise.reject(faults.shift() ?? new Error('asked once more')) });
  keeper.note({ strangers: [...strangers, stranger('eg-abcdefghik-other', '78')], absent: [] });
  for (let turn = 0; turn < 3; turn += 1) await keeper.run();
  expect(faults).toEqual([]);
  const { rows } = await at.db.pool.query('select slurm_job_id, wish from orphans order by slurm_job_id');
  expect(rows).toEqual([{ slurm_job_id: '77', wish: 'CANCEL' }, { slurm_job_id: '78', wish: null }]);
});
