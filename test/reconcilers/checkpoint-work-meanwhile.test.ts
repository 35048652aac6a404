/** What happens to checkpoints between somebody's asking and the run that carries it out, or while that is at work. */
import { mkdir, rename } from 'node:fs/promises';
import { eq } from 'drizzle-orm';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { cancelCheckpointRequest } from '../../src/actions/cancel-checkpoint-request.ts';
import * as tables from '../../src/db/tables/index.ts';
import { checkpointsToResume } from '../../src/db/read/checkpoints.ts';
import { upsertCheckpoints } from '../../src/db/write/checkpoints.ts';
import { CheckpointTest, content, writtenAt } from './checkpoint-test.ts';

let on: CheckpointTest;
beforeEach(async () => { on = await CheckpointTest.open(); });
afterEach(() => on.close());

test('a request can be withdrawn from what was not begun with', async () => {
  const job = await on.seed([1, 2]);
  const { requestId } = await on.ask(job.ids);
  expect(await cancelCheckpointRequest(on.at.context, requestId!)).toEqual({ cancelledCount: 2 });
  await on.work.run();
  expect(await on.files(job)).toEqual(['step=1.ckpt', 'step=2.ckpt']);
  expect((await on.ask(job.ids)).takenCount).toBe(2);
});

test('what is withdrawn while the disk is looked at is not touched', async () => {
  const job = await on.seed([1]);
  const { requestId } = await on.ask(job.ids, 'DELETE');
  const { list } = on.fake.cluster.transport;
  vi.spyOn(on.fake.cluster.transport, 'list').mockImplementation(async (request) => {
    expect(await cancelCheckpointRequest(on.at.context, requestId!)).toEqual({ cancelledCount: 1 });
    return list.call(on.fake.cluster.transport, request);
  });
  await on.work.run();
  expect([await on.files(job), await on.items(), await on.checkpoints()]).toMatchObject([['step=1.ckpt'], [{ state: 'CANCELLED', tries: 0 }], [{ state: 'COMPLETE' }]]);
});

test('nothing is taken of a lost job, which may still run', async () => {
  const job = await on.seed([1, 2], { state: 'LOST', attempts: [{ state: 'LOST' }] });
  expect((await on.ask(job.ids, 'DELETE', { includeResumable: true })).kept.map(({ reason }) => reason)).toEqual(['JOB_NOT_ENDED', 'JOB_NOT_ENDED']);
});

test('of a lost job something is taken only if that is asked for, and not once it was queued again', async () => {
  const lost = { state: 'LOST' as const, attempts: [{ state: 'LOST' as const, submittedAt: new Date('2026-01-01T00:00:00Z') }] };
  const job = await on.seed([1, 2], lost);
  expect(await on.ask(job.ids, 'ARCHIVE', { includeLost: true })).toMatchObject({ takenCount: 1, kept: [{ reason: 'RESUMABLE' }] });
  await on.work.run();
  expect(await on.files(job)).toEqual(['step=1.ckpt.zst', 'step=2.ckpt']);
  await on.ask([job.ids[1]!], 'ARCHIVE', { includeLost: true, includeResumable: true });
  await on.at.db.database.update(tables.attempts).set({ submittedAt: new Date(Date.now() + 60_000) });
  await on.work.run();
  expect([(await on.items()).at(-1), await on.files(job)]).toMatchObject([{ state: 'FAILED', problem: 'its job was queued again before it was its turn' }, ['step=1.ckpt.zst', 'step=2.ckpt']]);
});

test('what an earlier request left out of its place is found by the next', async () => {
  const job = await on.seed([1]);
  const old = `${job.directory}/checkpoints/.expgraph-${job.ids[0]}.old`;
  await mkdir(old);
  await rename(`${job.directory}/checkpoints/step=1.ckpt`, `${old}/step=1.ckpt`);
  await on.ask(job.ids);
  await on.work.run();
  expect([await on.items(), await on.files(job)]).toMatchObject([[{ state: 'DONE' }], ['step=1.ckpt.zst']]);
});

test('an archive that nobody heard of is found by the next request', async () => {
  const job = await on.seed([1]);
  await on.ask(job.ids);
  await on.work.run();
  await on.at.db.database.update(tables.checkpoints).set({ state: 'COMPLETE', archivePath: null });
  await on.ask(job.ids);
  await on.work.run();
  expect([await on.items(), await on.checkpoints()]).toMatchObject([[{ state: 'DONE' }, { state: 'DONE' }], [{ state: 'ARCHIVED', archivePath: `${job.directory}/checkpoints/step=1.ckpt.zst` }]]);
});

test('what was recorded without its size is taken when it is asked for again', async () => {
  const job = await on.seed([1]);
  await on.at.db.database.update(tables.checkpoints).set({ sizeBytes: 0, writtenAt: new Date() });
  await on.ask(job.ids);
  await on.work.run();
  expect([await on.items(), await on.checkpoints()]).toMatchObject([[{ state: 'FAILED', problem: expect.stringMatching(/taken if it is asked for again/) }], [{ sizeBytes: content.length, writtenAt }]]);
  expect(await on.ask(job.ids)).toMatchObject({ bytesToFree: content.length });
  await on.work.run();
  expect(await on.checkpoints()).toMatchObject([{ state: 'ARCHIVED' }]);
});

test.each(['ARCHIVE', 'DELETE'] as const)('a look does not miss what %s has out of its place', async (action) => {
  const job = await on.seed([1]);
  await on.ask(job.ids, action);
  await on.at.db.database.update(tables.checkpointRequestItems).set({ state: 'RUNNING', tries: 1 });
  const [{ path, attemptNumber, sizeBytes, fileCount } = { path: '', attemptNumber: 1, sizeBytes: 0, fileCount: 0 }] = await on.checkpoints();
  const missed = { jobId: job.jobId, path, attemptNumber, state: 'DELETED' as const, layout: null, step: null, epoch: null, loggedMetrics: null, isDeclared: false, sizeBytes, fileCount, aliases: [], writtenAt, stateBefore: 'COMPLETE' as const };
  expect(await on.at.db.database.transaction((transaction) => upsertCheckpoints(transaction, [missed]))).toEqual([null]);
  expect(await on.checkpoints()).toMatchObject([{ state: 'COMPLETE' }]);
});

test('a look that finds the archive of a checkpoint does not take that for another, nor a half-unpacked one for whole', async () => {
  const job = await on.seed([1]);
  await on.ask(job.ids);
  await on.work.run();
  const [archived] = await on.checkpoints();
  const found = { jobId: job.jobId, attemptNumber: 1, state: 'COMPLETE' as const, layout: null, step: null, epoch: null, loggedMetrics: null, isDeclared: false, sizeBytes: 5, fileCount: 1, aliases: [], writtenAt };
  const store = (path: string, stateBefore: 'ARCHIVED' | null) => on.at.db.database.transaction((transaction) => upsertCheckpoints(transaction, [{ ...found, path, stateBefore }]));
  expect(await store(archived!.archivePath!, null)).toEqual([null]);
  await on.ask(job.ids, 'RESTORE');
  await on.at.db.database.update(tables.checkpointRequestItems).set({ state: 'RUNNING' }).where(eq(tables.checkpointRequestItems.action, 'RESTORE'));
  expect(await store(archived!.path, 'ARCHIVED')).toEqual([null]);
  await on.work.run();
  expect([await on.checkpoints(), await on.files(job)]).toMatchObject([[{ state: 'COMPLETE', archivePath: null }], ['step=1.ckpt']]);
});

test('a look at the directory that was taken before does not undo what was done meanwhile', async () => {
  const job = await on.seed([1, 2]);
  const looked = await on.checkpoints();
  await on.ask(job.ids);
  await on.work.run();
  const vanished = looked.map(({ path, attemptNumber, sizeBytes, fileCount, state }) => ({
    jobId: job.jobId, path, attemptNumber, state: 'DELETED' as const, layout: null, step: null, epoch: null, loggedMetrics: null, isDeclared: false, sizeBytes, fileCount, aliases: [], writtenAt, stateBefore: state,
  }));
  expect(await on.at.db.database.transaction((transaction) => upsertCheckpoints(transaction, vanished))).toEqual([null, null]);
  expect((await on.checkpoints()).map(({ state }) => state)).toEqual(['ARCHIVED', 'ARCHIVED']);
  const later = vanished.map((record) => ({ ...record, stateBefore: 'ARCHIVED' as const }));
  expect(await on.at.db.database.transaction((transaction) => upsertCheckpoints(transaction, later))).toEqual(job.ids);
  expect(await on.checkpoints()).toMatchObject([{ state: 'DELETED', archivePath: null }, { state: 'DELETED', archivePath: null }]);
});

test('an archive that a run has made is no checkpoint, whatever has become of the request since', async () => {
  const job = await on.seed([1], { state: 'FAILED', attempts: [{ state: 'FAILED' }] });
  await on.ask(job.ids, 'ARCHIVE', { includeResumable: true });
  await on.at.db.database.update(tables.checkpointRequestItems).set({ state: 'FAILED', members: ['step=1.ckpt'], tries: 1 });
  const path = `${job.directory}/checkpoints/step=1.ckpt`;
  const found = { jobId: job.jobId, attemptNumber: 1, state: 'COMPLETE' as const, layout: null, step: { value: 9, source: 'NAME' as const, confidence: 'LIKELY' as const }, epoch: null, loggedMetrics: null, isDeclared: false, sizeBytes: 5, fileCount: 1, aliases: [], writtenAt };
  const store = (name: string) => on.at.db.database.transaction((transaction) => upsertCheckpoints(transaction, [{ ...found, path: name, stateBefore: null }]));
  for (const ending of ['.zst', '.2.zst', '.tar.gz']) expect(await store(path + ending)).toEqual([null]);
  expect(await store(`${job.directory}/checkpoints/other=1.ckpt.zst`)).toEqual([expect.any(String)]);
  // Recorded all the same, as by an older server: no job goes on from it.
  await on.at.db.database.insert(tables.checkpoints).values({ jobId: job.jobId, id: crypto.randomUUID(), path: `${path}.zst`, attemptNumber: 1, state: 'COMPLETE', step: 99, sizeBytes: 5, fileCount: 1, writtenAt });
  await on.at.db.database.update(tables.checkpoints).set({ earlierArchives: [{ path: `${path}.zst`, bytes: 5, archivedAt: writtenAt.toISOString() }] }).where(eq(tables.checkpoints.path, path));
  await on.at.db.database.delete(tables.checkpoints).where(eq(tables.checkpoints.path, `${job.directory}/checkpoints/other=1.ckpt.zst`));
  expect((await checkpointsToResume(on.at.db.database, [job.jobId])).get(job.jobId)).toBe(path);
});
