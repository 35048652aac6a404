/** Checkpoints of jobs that have ended, when somebody removes or unpacks them by hand. */
import { rename, rm } from 'node:fs/promises';
import { sql } from 'drizzle-orm';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import * as tables from '../../src/db/tables/index.ts';
import { EndedCheckpoints } from '../../src/reconcilers/ended-checkpoints.ts';
import { seedJobs, type SeedJob } from '../graphql/fixture.ts';
import { CheckpointTest } from './checkpoint-test.ts';

let on: CheckpointTest;
let now: number;
let ended: EndedCheckpoints;
beforeEach(async () => {
  on = await CheckpointTest.open();
  now = Date.now();
  ended = new EndedCheckpoints({ database: on.at.db.database, cluster: on.fake.cluster, now: () => new Date(now) });
});
afterEach(() => on.close());

/** The next step, when it is due. */
async function step(): Promise<void> {
  now += ended.untilNextMs();
  await ended.run();
}
const seed = async (steps: number[], job?: Parameters<CheckpointTest['seed']>[1]) => {
  const seeded = await on.seed(steps, job);
  await on.at.db.database.update(tables.jobs).set({ harvestedAt: sql`now()` });
  return seeded;
};
const states = async () => (await on.checkpoints()).map(({ state }) => state);

test('what was removed is DELETED at the next look, and COMPLETE when it is back', async () => {
  const job = await seed([1, 2]);
  await step();
  expect(await states()).toEqual(['COMPLETE', 'COMPLETE']);
  const path = `${job.directory}/checkpoints/step=1.ckpt`;
  await rename(path, `${job.directory}/away`);
  await step();
  expect(await states()).toEqual(['DELETED', 'COMPLETE']);
  const events = await on.at.db.database.select().from(tables.events).orderBy(tables.events.seq);
  expect(events.at(-1)).toMatchObject({ kind: 'CHECKPOINT_CHANGED', jobId: job.jobId, payload: { checkpointId: job.ids[0], path, state: 'DELETED' } });
  await rename(`${job.directory}/away`, path);
  await step();
  expect(await states()).toEqual(['COMPLETE', 'COMPLETE']);
});

test('an archive that was removed is gone; where it lay is not forgotten', async () => {
  const job = await seed([1, 2]);
  await on.ask(job.ids);
  await on.work.run();
  await step();
  expect(await states()).toEqual(['ARCHIVED', 'ARCHIVED']);
  await rm(`${job.directory}/checkpoints/step=1.ckpt.zst`);
  await step();
  expect(await on.checkpoints()).toMatchObject([{ state: 'DELETED', archivePath: null, earlierArchives: [{ path: `${job.directory}/checkpoints/step=1.ckpt.zst` }] }, { state: 'ARCHIVED' }]);
});

test('nothing is gone of a directory that cannot all be read', async () => {
  const job = await seed([1, 2]);
  await on.ask([job.ids[0]!]);
  await on.work.run();
  const { transport } = on.fake.cluster;
  const list = transport.list.bind(transport);
  const listing = vi.spyOn(transport, 'list').mockImplementation(async (request) => {
    const { entries } = await list(request);
    return { entries: entries.filter(({ kind, path }) => kind === 'directory' || path.endsWith('.expgraph-lock')), truncated: false, unreadable: request.directories };
  });
  await step();
  expect([await states(), listing.mock.calls.length > 0]).toEqual([['ARCHIVED', 'COMPLETE'], true]);
  listing.mockRestore();
  await rm(`${job.directory}/checkpoints`, { recursive: true });
  await step();
  expect(await states()).toEqual(['ARCHIVED', 'DELETED']);
});

test('what a run had out of its place while it was looked for is not gone', async () => {
  const job = await seed([1, 2]);
  await on.ask([job.ids[0]!], 'DELETE');
  const { transport } = on.fake.cluster;
  const list = transport.list.bind(transport);
  const listing = vi.spyOn(transport, 'list').mockImplementation(async (request) => {
    const listed = await list(request);
    await on.at.db.database.update(tables.checkpointRequestItems).set({ state: 'FAILED', changedAt: sql`now()` });
    return { ...listed, entries: listed.entries.filter(({ path }) => !path.endsWith('step=1.ckpt')) };
  });
  await step();
  expect([await states(), listing.mock.calls.length]).toEqual([['COMPLETE', 'COMPLETE'], 1]);
});

test('jobs that cannot be looked at keep nobody from those after them', async () => {
  const { directory } = await seed([1]);
  const { experimentId } = (await on.at.db.database.select().from(tables.jobs))[0]!;
  await seedJobs(on.at.db, experimentId, Array.from({ length: 100 }, (): SeedJob => ({
    cluster: 'greene', state: 'COMPLETED', storagePath: directory, attempts: [{}], checkpoints: [{ path: `${directory}/checkpoints/step=1.ckpt` }] })));
  await on.at.db.database.update(tables.jobs).set({ harvestedAt: sql`now()` });
  const listing = vi.spyOn(on.fake.cluster.transport, 'list').mockRejectedValueOnce(new Error('no such luck'));
  await expect(step()).rejects.toThrow('no such luck');
  await step();
  expect(listing.mock.calls.map(([{ directories }]) => directories.length)).toEqual([100, 1]);
});

test('an archive that is back is one again', async () => {
  const job = await seed([1]);
  await on.ask(job.ids);
  await on.work.run();
  const [before] = await on.checkpoints();
  const archive = `${job.directory}/checkpoints/step=1.ckpt.zst`;
  await rename(archive, `${job.directory}/away`);
  await step();
  expect(await states()).toEqual(['DELETED']);
  await rename(`${job.directory}/away`, archive);
  await step();
  expect(await on.checkpoints()).toEqual([before]);
  expect(before).toMatchObject({ state: 'ARCHIVED', archivePath: archive, earlierArchives: [] });
});

test('nothing is gone while the root directory is, nor of a job that is queued again', async () => {
  const job = await seed([1]);
  const { rootDirectory } = on.fake.cluster.settings;
  await rename(rootDirectory, `${rootDirectory}-away`);
  await step();
  await rename(`${rootDirectory}-away`, rootDirectory);
  expect(await states()).toEqual(['COMPLETE']);
  await rm(job.directory, { recursive: true });
  const { list } = on.fake.cluster.transport;
  const listing = vi.spyOn(on.fake.cluster.transport, 'list').mockImplementation(async (request) => {
    await on.at.db.database.update(tables.jobs).set({ state: 'QUEUED' });
    return list.call(on.fake.cluster.transport, request);
  });
  await step();
  expect([await states(), listing.mock.calls.length > 0]).toEqual([['COMPLETE'], true]);
  await on.at.db.database.update(tables.jobs).set({ state: 'COMPLETED' });
  listing.mockRestore();
  await step();
  expect(await states()).toEqual(['DELETED']);
});

test('no job is looked at more often than once an hour, and none in the first minute', async () => {
  await seed([1]);
  const listing = vi.spyOn(on.fake.cluster.transport, 'list');
  await ended.run();
  expect(listing).not.toHaveBeenCalled();
  await step();
  expect(listing).toHaveBeenCalledTimes(1);
  now += 3_599_000;
  await ended.run();
  expect(listing).toHaveBeenCalledTimes(1);
  await step();
  expect(listing).toHaveBeenCalledTimes(2);
});
