import { afterEach, beforeEach, expect, test } from 'vitest';
import { recordCheckpoint } from '../../src/actions/record-checkpoint.ts';
import { submitJob } from '../../src/actions/submit-job.ts';
import { actionTest, type ActionTest } from '../support/actions.ts';

let at: ActionTest;
let jobId: string;
beforeEach(async () => {
  at = await actionTest();
  const { jobs } = await submitJob(at.context, { project: 'p', experiment: 'e', command: ['train'], config: { a: 1 } });
  jobId = jobs[0]?.jobId ?? '';
});
afterEach(() => at.db.drop());

test('a checkpoint is recorded once by path, and what is new about it replaces what was known', async () => {
  const path = '/scratch/p/ckpt/step-10.pt';
  const first = await recordCheckpoint(at.context, { jobId, path, step: 10, state: 'WRITING', aliases: ['last'], sizeBytes: 5 });
  const second = await recordCheckpoint(at.context, { jobId, path, sizeBytes: 12, epoch: 1 });
  expect(second).toEqual(first);
  expect((await at.db.pool.query('select path, state, step::int, epoch, size_bytes::int, file_count, aliases, attempt_number from checkpoints')).rows)
    .toEqual([{ path, state: 'COMPLETE', step: 10, epoch: 1, size_bytes: 12, file_count: 1, aliases: ['last'], attempt_number: 1 }]);
  expect((await at.db.pool.query("select payload from events where kind = 'CHECKPOINT_CHANGED' order by seq")).rows.map((row) => row.payload))
    .toEqual(['WRITING', 'COMPLETE'].map((state) => ({ checkpointId: first.checkpointId, path, state })));
});

test('a new name for an archived checkpoint does not forget its archive, nor when it was written', async () => {
  const path = '/scratch/p/ckpt/step-10.pt';
  await recordCheckpoint(at.context, { jobId, path, step: 10, sizeBytes: 5 });
  const archive = { state: 'ARCHIVED', archive_path: `${path}.zst`, archive_bytes: 3 };
  await at.db.pool.query('update checkpoints set state = $1, archive_path = $2, archive_bytes = $3, archived_at = now(), written_at = $4', [...Object.values(archive), '2026-01-01T00:00:00Z']);
  await recordCheckpoint(at.context, { jobId, path, aliases: ['release'] });
  const read = async () => (await at.db.pool.query('select state, archive_path, archive_bytes::int, archived_at is not null as has_time, aliases, written_at from checkpoints')).rows;
  expect(await read()).toEqual([{ ...archive, has_time: true, aliases: ['release'], written_at: new Date('2026-01-01T00:00:00Z') }]);
  await recordCheckpoint(at.context, { jobId, path, state: 'COMPLETE' });
  expect(await read()).toMatchObject([{ state: 'COMPLETE', archive_path: null, has_time: false }]);
});

test('bad input is refused with all of its faults', async () => {
  await expect(recordCheckpoint(at.context, { jobId, path: 'relative', step: -1, sizeBytes: 0.5, aliases: [''] })).rejects.toMatchObject({
    faults: [{ field: ['path'] }, { field: ['step'] }, { field: ['sizeBytes'] }, { field: ['aliases', '0'] }],
  });
  await expect(recordCheckpoint(at.context, { jobId: '01900000-0000-7000-8000-000000000000', path: '/x' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
});
