/** What a reconciler does that another process has taken over from, and that does not know it yet. */
import pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import type { SubmittedBatch } from '../../src/cluster/executor.ts';
import { beginTerm, databaseOfTerm } from '../../src/db/cluster-term.ts';
import { recordJobsAhead } from '../../src/db/write/attempts.ts';
import { endOrphanWish, storeOrphanOrigin } from '../../src/db/write/orphans.ts';
import { dispatchQueue } from '../../src/reconcilers/dispatch.ts';
import { SubmitRoom } from '../../src/reconcilers/submit-room.ts';
import { heldCluster } from '../../src/reconcilers/held-cluster.ts';
import { smallSweep } from '../support/actions.ts';
import { fakeClusterTest, silent, type FakeCluster, type FakeClusterTest } from './fake-cluster.ts';

let at: FakeClusterTest;
let fake: FakeCluster;
let lockClient: pg.Client;
let submitted: SubmittedBatch[];
let isCurrent: boolean;

beforeEach(async () => {
  at = await fakeClusterTest();
  fake = at.fake;
  lockClient = new pg.Client(at.db.url);
  await lockClient.connect();
  submitted = [];
  isCurrent = true;
  const { submit } = fake.cluster.executor;
  fake.override({ submit: async (batch, script) => {
    submitted.push(batch);
    return submit(batch, script);
  } });
  await submitSweep(at.context, smallSweep());
});
afterEach(async () => {
  await lockClient.end();
  await at.close();
});

const takeOver = () => beginTerm(lockClient, 'greene');
const statesOf = async (): Promise<string[]> => [...new Set((await at.db.pool.query<{ state: string }>('select state from jobs')).rows.map(({ state }) => state))];

/** Begins a term and answers its dispatch. */
async function reconciler(): Promise<() => Promise<unknown>> {
  const database = databaseOfTerm(at.db.database, await takeOver());
  const cluster = heldCluster(fake.cluster, () => isCurrent);
  return () => dispatchQueue({ database, cluster, room: new SubmitRoom(), inFlight: new Set(), maxArraySize: () => 2, isStopping: () => false, logger: silent });
}

test('claims nothing', async () => {
  const dispatch = await reconciler();
  await takeOver();
  await expect(dispatch()).rejects.toThrow('another process reconciles cluster greene by now; nothing was written');
  expect(await statesOf()).toEqual(['QUEUED']);
  expect(submitted).toEqual([]);
});

test('sends nothing of what it has claimed when it wakes up only after that', async () => {
  const dispatch = await reconciler();
  isCurrent = false;
  await expect(dispatch()).rejects.toThrow('cluster greene may be reconciled by another process by now; nothing was done');
  expect(await statesOf()).toEqual(['SUBMITTING']);
  expect(submitted).toEqual([]);
  await expect(heldCluster(fake.cluster, () => isCurrent).executor.cancel(['1'])).rejects.toThrow('nothing was done');
  await expect(heldCluster(fake.cluster, () => isCurrent).executor.setHeld(['1'], true)).rejects.toThrow('nothing was done');
});

test('leaves what it has sent to the other one, and sends no more', async () => {
  const dispatch = await reconciler();
  const { submit } = fake.cluster.executor;
  fake.override({ submit: async (batch, script) => {
    const answer = await submit(batch, script);
    await takeOver();
    return answer;
  } });
  await expect(dispatch()).rejects.toThrow('another process reconciles cluster greene by now');
  expect(submitted).toHaveLength(1);
  expect(await statesOf()).toEqual(['SUBMITTING']);
});

test('writes down nothing of what it was told about the cluster and its orphans', async () => {
  const database = databaseOfTerm(at.db.database, await takeOver());
  await takeOver();
  const orphan = { id: '00000000-0000-4000-8000-000000000000', wish: 'CANCEL' as const };
  for (const write of [
    () => recordJobsAhead(database, 'greene', new Map()), () => storeOrphanOrigin(database, orphan.id, { originProblem: 'none' }), () => endOrphanWish(database, orphan, null),
  ]) await expect(write()).rejects.toThrow('another process reconciles cluster greene by now; nothing was written');
});
