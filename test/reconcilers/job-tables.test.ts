import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { recordCheckpoint } from '../../src/actions/record-checkpoint.ts';
import { recordMetrics } from '../../src/actions/record-metrics.ts';
import { retryJobs } from '../../src/actions/retry-jobs.ts';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import { bestCheckpointsAmong } from '../../src/db/read/best-checkpoints.ts';
import { JobTables, type JobSources } from '../../src/db/read/job-tables.ts';
import { jobPage, progressOf, resultPage } from '../../src/db/read/jobs-of-experiments.ts';
import type { JobOrder, ResultOrder } from '../../src/domain/job-order.ts';
import { exitRecordPath, resultPath } from '../../src/domain/layout.ts';
import { ListRests } from '../../src/reconcilers/list-rests.ts';
import { observeChanged } from '../../src/reconcilers/observe-changed.ts';
import { smallSweep } from '../support/actions.ts';
import { fakeClusterTest, putFile, silent, type FakeClusterTest } from './fake-cluster.ts';

const JOB_ORDERS: JobOrder[] = (['NAME', 'STARTED_AT', 'FINISHED_AT'] as const).map((field) => ({ field, descending: false }));
const RESULT_ORDERS: ResultOrder[] = [{ field: 'FINISHED_AT', descending: false }, { field: 'RESULT_METRIC', key: 'x', descending: false }, { field: 'METRIC', key: 'loss', at: 'MIN', descending: true }];

let at: FakeClusterTest;
let kept: JobTables;
let experimentId: string;
/** Not long ago, for ends of long ago are settled at once. */
let start: number;

beforeAll(async () => {
  at = await fakeClusterTest();
  start = Date.now();
  kept = new JobTables(at.db.database, { minJobs: 1 });
});
afterAll(() => at?.close());

async function answers(sources: JobSources) {
  const request = { first: 50, after: null };
  const filter = { experimentIds: [experimentId] };
  const lists = await Promise.all(JOB_ORDERS.map(async (order) => (await jobPage(sources, filter, [order], request)).rows.map(({ row, cursor }) => [row.id, row.name, cursor])));
  const found = await jobPage(sources, { ...filter, nameContains: 'N=1' }, [], request);
  const results = await Promise.all(RESULT_ORDERS.map(async (order) => (await resultPage(sources, { jobs: filter }, [order], request)).rows.map(({ row, cursor }) => [row.jobId, cursor])));
  const [progress] = await progressOf(sources, [experimentId]);
  const [best] = await bestCheckpointsAmong(sources, [{ parent: 'EXPERIMENT', id: experimentId, metric: 'loss', goal: 'MIN' }]);
  return { lists, found: found.rows.map(({ row }) => row.name), results, counts: progress!.countsByState, best: best?.path ?? null };
}

/** What the kept tables answer, which must be what the database answers without any. */
async function asked(): ReturnType<typeof answers> {
  const read = vi.spyOn(kept, 'read');
  const fromMemory = await answers({ database: at.db.database, tables: kept });
  expect(read.mock.calls.length).toBeGreaterThanOrEqual(JOB_ORDERS.length + RESULT_ORDERS.length + 3);
  read.mockRestore();
  expect(fromMemory).toEqual(await answers({ database: at.db.database, tables: new JobTables(at.db.database) }));
  return fromMemory;
}

async function updates(): Promise<unknown[]> {
  return (await at.db.pool.query<{ changed: unknown }>("select payload->'changed' as changed from events where kind = 'JOB_UPDATED' order by seq")).rows.map((row) => row.changed);
}

const sweepOf = (values: number[]) => smallSweep({ space: { grid: [{ key: 'n', values }] } });
const ids = (rows: readonly (readonly unknown[])[]): unknown[] => rows.map(([id]) => id);

test('a table in memory holds what a cluster tells of a job, also where its state stays the same', async () => {
  const { db, fake, context } = at;
  const observe = (seconds: number) => fake.observe(db.database, seconds);
  const { jobs } = await submitSweep(context, sweepOf([1, 3]));
  experimentId = (await db.pool.query<{ id: string }>('select id from experiments')).rows[0]!.id;
  await fake.dispatch(db.database);
  await asked();
  for (const index of [0, 1]) fake.says.set(index, { state: 'RUNNING', startedAt: new Date(start - 60_000 + index * 1000) });
  await observe(1);
  expect((await asked()).counts).toMatchObject({ RUNNING: 2 });

  const { rows } = await db.pool.query<{ id: string; storage_path: string }>('select j.id, storage_path from jobs j join attempts a on a.job_id = j.id order by a.task_index');
  const [first, second] = [rows[0]!, rows[1]!];
  expect(new Set([first.id, second.id])).toEqual(new Set(jobs.map(({ jobId }) => jobId)));
  for (const [index, { storage_path }] of rows.entries()) {
    await putFile(resultPath(storage_path), JSON.stringify({ metrics: { x: -index } }));
    await putFile(exitRecordPath(storage_path, 1), JSON.stringify({ attempt: 1, exitCode: 0, signal: null, terminated: false, startedAt: null, finishedAt: new Date(start + index).toISOString(), host: 'n1' }));
  }
  fake.says.clear();
  await observeChanged({ database: db.database, cluster: fake.cluster, files: fake.cluster.transport, rests: new ListRests(), logger: silent, now: () => new Date(start + 2000) },
    new Map(rows.map(({ id }) => [id, new Set(['started', 'exit'] as const)])), { withAllLogs: false });
  const ended = await asked();
  expect(ended.counts).toMatchObject({ COMPLETED: 2 });
  expect([ended.lists[2]!, ...ended.results.slice(0, 2)].map(ids)).toEqual([[first.id, second.id], [first.id, second.id], [second.id, first.id]]);
  expect(await updates()).toEqual([['result'], ['result']]);

  // Accounting corrects a time, and nothing else.
  fake.says.set(0, { state: 'COMPLETED', exitCode: 0, nodeList: 'n1', startedAt: new Date(start - 60_000), finishedAt: new Date(start + 500), maxRssBytes: 4096 });
  await observe(3);
  const corrected = await asked();
  expect([corrected.lists[2]!, ...corrected.results.slice(0, 2)].map(ids)).toEqual([[second.id, first.id], [second.id, first.id], [second.id, first.id]]);
  expect((await updates()).slice(2)).toEqual(expect.arrayContaining([['finishedAt'], ['result']]));
  const said = (await updates()).length;
  await observe(4);
  expect(await updates()).toHaveLength(said);

  for (const [index, { id }] of rows.entries()) await recordMetrics(context, { jobId: id, attempt: null, series: [{ key: 'loss', steps: [1], values: [index + 1], times: [new Date()] }] });
  expect((await asked()).best).toBeNull();
  await recordCheckpoint(context, { jobId: second.id, path: '/scratch/me/b.ckpt', step: 1 });
  expect((await asked()).best).toBe('/scratch/me/b.ckpt');
  await recordCheckpoint(context, { jobId: first.id, path: '/scratch/me/a.ckpt', step: 1 });
  expect((await asked()).best).toBe('/scratch/me/a.ckpt');
  await recordCheckpoint(context, { jobId: first.id, path: '/scratch/me/a.ckpt', state: 'DELETED' });
  expect((await asked()).best).toBe('/scratch/me/b.ckpt');

  // The other one had failed after all, and is tried again.
  fake.says.set(1, { state: 'NODE_FAIL', finishedAt: new Date(start), maxRssBytes: 4096 });
  await observe(5);
  expect(ids((await asked()).results[0]!)).toEqual([first.id]);
  await retryJobs(context, { ids: [second.id] });
  expect((await asked()).counts).toMatchObject({ QUEUED: 1, COMPLETED: 1 });

  await submitSweep(context, sweepOf([12, 2]));
  const more = await asked();
  expect(more.lists[0]!.map(([, name]) => name)).toEqual(['n=1', 'n=12', 'n=2', 'n=3'].map((name) => expect.stringContaining(name) as unknown));
  expect(more.found).toHaveLength(2);
}, 90_000);
