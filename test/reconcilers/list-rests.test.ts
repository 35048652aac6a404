/** A job with more files than are looked at is looked at rarely while it runs, and at once when it has ended. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import type { ChangeKind } from '../../src/cluster/watch/program.ts';
import { ListRests } from '../../src/reconcilers/list-rests.ts';
import { observeChanged } from '../../src/reconcilers/observe-changed.ts';
import { smallSweep } from '../support/actions.ts';
import { fillWithFiles } from '../support/many-files.ts';
import { fakeClusterTest, putFile, silent, type FakeCluster, type FakeClusterTest } from './fake-cluster.ts';

let at: FakeClusterTest;
let fake: FakeCluster;
let jobs: { id: string; storage_path: string }[];
beforeEach(async () => {
  at = await fakeClusterTest();
  fake = at.fake;
  await submitSweep(at.context, smallSweep({ space: { grid: [{ key: 'n', values: [1, 2] }] } }));
  await fake.dispatch(at.db.database);
  for (const task of [0, 1]) fake.says.set(task, { state: 'RUNNING', startedAt: new Date() });
  jobs = (await at.db.pool.query('select j.id, j.storage_path from jobs j join attempts a on a.job_id = j.id order by a.task_index')).rows;
});
afterEach(() => at.close());

const fill = async (directory: string): Promise<void> => {
  await mkdir(join(directory, 'checkpoints/step_5'), { recursive: true });
  await fillWithFiles(join(directory, 'checkpoints/step_5'), 26_000);
};
const log = (steps: number) => Promise.all(jobs.map(({ storage_path }) => putFile(join(storage_path, 'metrics.jsonl'), Array.from({ length: steps }, (_, step) => `{"step":${step},"loss":1}\n`).join(''))));
const points = async (): Promise<number[]> => Promise.all(jobs.map(async ({ id }) => (await at.db.pool.query('select coalesce(max(point_count), 0)::int as count from metric_series where job_id = $1', [id])).rows[0].count));
const states = async (): Promise<string[]> => Promise.all(jobs.map(async ({ id }) => (await at.db.pool.query('select state from jobs where id = $1', [id])).rows[0].state));

test('in polls: the other jobs are read in each, this one again after a while, and to its end as soon as it has ended', async () => {
  await fill(jobs[0]!.storage_path);
  await log(1);
  await fake.observe(at.db.database, 1);
  expect(await points()).toEqual([1, 1]);
  await log(2);
  // The list took longer than a twentieth of this.
  await fake.observe(at.db.database, 1.05);
  expect(await points()).toEqual([1, 2]);
  await fake.observe(at.db.database, 47);
  expect(await points()).toEqual([2, 2]);
  await log(3);
  for (const task of [0, 1]) fake.says.set(task, { state: 'COMPLETED', exitCode: 0 });
  await fake.observe(at.db.database, 47.05);
  expect(await points()).toEqual([3, 3]);
  expect(await states()).toEqual(['COMPLETED', 'COMPLETED']);
}, 120_000);

test('in pushes: a change waits, unless it is the end', async () => {
  const rests = new ListRests();
  const start = Date.now();
  rests.note(jobs[0]!.id, 1_000, new Date(start));
  const pushed = (atSeconds: number, kind: ChangeKind) => observeChanged(
    { database: at.db.database, cluster: fake.cluster, files: fake.cluster.transport, rests, logger: silent, now: () => new Date(start + atSeconds * 1000) },
    new Map(jobs.map(({ id }) => [id, new Set([kind])])), { withAllLogs: false });
  await log(1);
  await pushed(19, 'metrics');
  expect(await points()).toEqual([0, 1]);
  await pushed(21, 'metrics');
  expect(await points()).toEqual([1, 1]);
  rests.note(jobs[0]!.id, 1_000, new Date(start));
  await log(2);
  await pushed(19, 'exit');
  expect(await points()).toEqual([2, 2]);
}, 120_000);
