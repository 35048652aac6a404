/** Archives of what was written anew, and of what is deleted; on real files, by the program as it is sent to a cluster. */
import { readFile, utimes, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { requestCheckpoints, type CheckpointRequestInput } from '../../src/actions/request-checkpoints.ts';
import { upsertCheckpoints } from '../../src/db/write/checkpoints.ts';
import { CheckpointTest, content, writtenAt } from './checkpoint-test.ts';

let on: CheckpointTest;
beforeEach(async () => { on = await CheckpointTest.open(); });
afterEach(() => on.close());

test('what is written anew where an archive lies gets an archive of its own; each attempt\'s content stays', async () => {
  const job = await on.seed([1]);
  const path = `${job.directory}/checkpoints/step=1.ckpt`;
  await on.ask(job.ids);
  await on.work.run();
  const { archiveBytes } = (await on.checkpoints())[0]!;
  const anew = content.toUpperCase();
  await writeFile(path, anew);
  await utimes(path, writtenAt, writtenAt);
  await on.at.db.database.transaction((transaction) => upsertCheckpoints(transaction, [{
    jobId: job.jobId, path, attemptNumber: 2, state: 'COMPLETE', layout: null, step: null, epoch: null, loggedMetrics: null, isDeclared: false, sizeBytes: anew.length, fileCount: 1, aliases: [], writtenAt, stateBefore: 'ARCHIVED' }]));
  expect((await on.ask(job.ids)).takenCount).toBe(1);
  await on.work.run();
  expect(await on.files(job)).toEqual(['step=1.ckpt.2.zst', 'step=1.ckpt.zst']);
  expect(await on.checkpoints()).toMatchObject([{ state: 'ARCHIVED', archivePath: `${path}.2.zst`, earlierArchives: [{ path: `${path}.zst`, bytes: archiveBytes, archivedAt: expect.any(String) }] }]);
  await on.ask(job.ids, 'RESTORE');
  await on.work.run();
  expect([await on.files(job), await readFile(path, 'utf8') === anew]).toEqual([['step=1.ckpt', 'step=1.ckpt.zst'], true]);
});

test('deletes the archive of what is archived, and says how much that frees', async () => {
  const job = await on.seed([1, 2, 3]);
  await on.ask(job.ids);
  await on.work.run();
  const [one, two] = await on.checkpoints();
  const byFilter: CheckpointRequestInput = { action: 'DELETE', filter: { states: ['COMPLETED'] }, keep: { rule: 'BEST_AND_LAST' } };
  expect(await requestCheckpoints(on.at.context, byFilter)).toMatchObject({ takenCount: 0, keptCounts: [{ reason: 'ARCHIVED', count: 3 }] });
  const asked = await requestCheckpoints(on.at.context, { ...byFilter, includeArchived: true });
  expect([asked.takenCount, asked.bytesToFree, asked.kept.map(({ reason }) => reason)]).toEqual([1, one!.archiveBytes, ['BEST', 'LAST']]);
  await on.ask([two!.id], 'DELETE');
  await on.work.run();
  expect(await on.files(job)).toEqual(['step=3.ckpt.zst']);
  expect(await on.checkpoints()).toMatchObject([{ state: 'DELETED', archivePath: null }, { state: 'DELETED' }, { state: 'ARCHIVED' }]);
  expect((await on.items()).filter(({ action }) => action === 'DELETE')).toMatchObject([{ state: 'DONE', freedBytes: one!.archiveBytes }, { state: 'DONE', freedBytes: two!.archiveBytes }]);
});
