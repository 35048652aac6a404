import { afterEach, beforeEach, expect, test } from 'vitest';
import { duplicateHint } from '../../src/actions/duplicates.ts';
import { submitJob } from '../../src/actions/submit-job.ts';
import { actionTest, type ActionTest } from '../support/actions.ts';

let at: ActionTest;
beforeEach(async () => { at = await actionTest(); });
afterEach(() => at.db.drop());

test('an objective other than the experiment has is refused, in a dry run as well', async () => {
  const submit = (metric: string, dryRun: boolean) =>
    submitJob(at.context, { project: 'vision', experiment: 'baseline', command: ['train'], config: { metric, dryRun }, objective: { metric, goal: 'MIN' }, dryRun });
  await submit('loss', false);
  for (const dryRun of [true, false]) {
    await expect(submit('error', dryRun)).rejects.toMatchObject({ faults: [{ field: ['objective'], code: 'CONFLICT', message: expect.stringContaining('MIN of "loss"') }] });
  }
  expect((await submit('loss', true)).jobs).toHaveLength(1);
  expect((await at.db.pool.query('select 1 from jobs')).rowCount).toBe(1);
});

test('a duplicate says what to do about it', () => {
  expect(duplicateHint({ existingJobId: 'x1', existingState: 'FAILED' })).toBe('failed; retryJobs(ids: ["x1"]) runs it again');
  expect(duplicateHint({ existingJobId: 'x1', existingState: 'COMPLETED' })).toContain('RUN_AGAIN');
  expect(duplicateHint({ existingJobId: null, existingState: null })).toContain('more than once');
});
