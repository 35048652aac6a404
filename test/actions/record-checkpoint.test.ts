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

test('bad input is refused with all of its faults', async () => {
  await expect(recordCheckpoint(at.context, { jobId, path: 'relative', step: -1, sizeBytes: 0.5, aliases: [''] })).rejects.toMatchObject({
    faults: [{ field: ['path'] }, { field: ['step'] }, { field: ['sizeBytes'] }, { field: ['aliases', '0'] }],
  });
  await expect(recordCheckpoint(at.context, { jobId: '01900000-0000-7000-8000-000000000000', path: '/x' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
});
