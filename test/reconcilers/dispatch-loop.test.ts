import { afterEach, beforeEach, expect, test } from 'vitest';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import { startDispatchLoop, type DispatchLoop } from '../../src/reconcilers/dispatch-loop.ts';
import { SubmitRoom } from '../../src/reconcilers/submit-room.ts';
import { smallSweep } from '../support/actions.ts';
import { fakeClusterTest, silent, type FakeCluster, type FakeClusterTest } from './fake-cluster.ts';

let at: FakeClusterTest;
let fake: FakeCluster;
let loop: DispatchLoop;
/** Turns that are over. */
let turns: number;
beforeEach(async () => {
  at = await fakeClusterTest();
  fake = at.fake;
  fake.cluster.settings.maxActiveJobs = 1;
  turns = 0;
});
afterEach(async () => {
  await loop.stop();
  await at.close();
});

function start(mayGo = true): void {
  const queue = { database: at.db.database, cluster: fake.cluster, room: new SubmitRoom(), inFlight: new Set<string>(), maxArraySize: () => 100, isStopping: () => false, logger: silent };
  loop = startDispatchLoop(queue, { mayGo: () => mayGo, onFailed: () => undefined, onDone: async () => { turns += 1; } });
}
const submitted = async (): Promise<number | null> => (await at.db.pool.query("select 1 from jobs where state = 'PENDING'")).rowCount;

test('the end of a job matters to the queue while others wait for room, and no longer', async () => {
  await submitSweep(at.context, smallSweep({ space: { grid: [{ key: 'n', values: [1, 2] }] } }));
  start();
  await expect.poll(() => turns).toBeGreaterThan(0);
  expect(await submitted()).toBe(1);
  expect(loop.mayHaveLeftSome()).toBe(true);
  await at.db.pool.query("update jobs set state = 'COMPLETED' where state = 'PENDING'");
  loop.wake();
  await expect.poll(() => loop.mayHaveLeftSome()).toBe(false);
  expect(await submitted()).toBe(1);
});

test('while it is not known what the queue holds, an end may matter', async () => {
  start(false);
  await loop.stop();
  expect(loop.mayHaveLeftSome()).toBe(true);
});
