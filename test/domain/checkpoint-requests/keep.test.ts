import { describe, expect, test } from 'vitest';
import { decideOnJob, type Asked, type CandidateCheckpoint, type CandidateJob } from '../../../src/domain/checkpoint-requests/keep.ts';

const checkpoint = (id: string, changes: Partial<CandidateCheckpoint> = {}): CandidateCheckpoint => ({
  id, jobId: 'job', path: `/root/job/checkpoints/${id}.ckpt`, state: 'COMPLETE', step: Number(id), sizeBytes: 10, archivePath: null, archiveBytes: null, fileCount: 1, writtenAt: new Date(Number(id) || 0), aliases: [], isSharedWithJob: false, isAsked: false, ...changes,
});
const jobOf = (checkpoints: CandidateCheckpoint[], changes: Partial<CandidateJob> = {}): CandidateJob => ({
  jobId: 'job', state: 'COMPLETED', jobDirectory: '/root/job', isClusterConfigured: true, checkpoints, occupiedPaths: checkpoints.map(({ path }) => path), archivePaths: [], hasObjective: true, bestId: '1', lastId: '9', ...changes,
});
const asked: Asked = { action: 'ARCHIVE', place: 'LOGIN_NODE', keep: { rule: 'BEST_AND_LAST', everyNSteps: null }, includeResumable: false, includeLost: false, includeArchived: true, only: null };

function decide(job: CandidateJob, changes: Partial<Asked> = {}): { taken: string[]; kept: string[] } {
  const { taken, kept } = decideOnJob(job, { ...asked, ...changes });
  return { taken: taken.map(({ id }) => id), kept: kept.map(({ checkpoint: { id }, reason }) => `${id} ${reason}`) };
}
const steps = (...ids: string[]) => ids.map((id) => checkpoint(id));

describe('the rule', () => {
  test('BEST_AND_LAST keeps the best and the last, also those that are only called so', () => {
    const called = [checkpoint('3', { aliases: ['best'] }), checkpoint('4', { aliases: ['last'] }), checkpoint('5', { aliases: ['latest'] })];
    expect(decide(jobOf([...steps('1', '2', '9'), ...called]))).toEqual({ taken: ['2'], kept: ['1 BEST', '9 LAST', '3 BEST', '4 LAST', '5 LAST'] });
  });

  test('BEST_AND_LAST keeps all of a job of which nobody can say which one is best', () => {
    expect(decide(jobOf(steps('1', '2', '9'), { bestId: null }))).toEqual({ taken: [], kept: ['1 BEST_UNKNOWN', '2 BEST_UNKNOWN', '9 LAST'] });
  });

  test('EVERY_N keeps the first of each N steps besides, and those without a step', () => {
    const job = jobOf([...steps('1', '2', '9', '10', '14', '21', '22'), checkpoint('x', { step: null })], { lastId: '22' });
    expect(decide(job, { keep: { rule: 'EVERY_N', everyNSteps: 10 } })).toEqual({ taken: ['2', '9', '14'], kept: ['1 BEST', '10 EVERY_N', '21 EVERY_N', '22 LAST', 'x STEP_UNKNOWN'] });
  });

  test('NONE keeps none for its own sake, nor does naming them', () => {
    const job = jobOf(steps('1', '9'), { hasObjective: false, bestId: null, lastId: null });
    expect(decide(job, { keep: { rule: 'NONE', everyNSteps: null } }).taken).toEqual(['1', '9']);
    expect(decide(jobOf(steps('1', '9')), { keep: null, only: new Set(['1']) })).toEqual({ taken: ['1'], kept: [] });
  });
});

describe('whatever the rule', () => {
  const none: Partial<Asked> = { keep: { rule: 'NONE', everyNSteps: null } };

  test.each(['FAILED', 'CANCELLED'] as const)('what a job that is %s would go on from is kept, unless it is asked for', (state) => {
    const job = jobOf([...steps('1', '2'), checkpoint('3', { state: 'PARTIAL' }), checkpoint('x', { step: null })], { state });
    expect(decide(job, none)).toEqual({ taken: ['1', 'x'], kept: ['2 RESUMABLE', '3 STATE'] });
    expect(decide(job, { ...none, action: 'DELETE', includeResumable: true }).taken).toEqual(['1', '2', 'x']);
    expect(decide(job, { keep: null, only: new Set(['2']) }).kept).toEqual(['2 RESUMABLE']);
  });

  test('what lies where an archive does is not taken, nor what would be archived to where another checkpoint lies', () => {
    const [one, archive] = [checkpoint('1', { path: '/root/job/checkpoints/1.ckpt' }), checkpoint('2', { path: '/root/job/checkpoints/1.ckpt.zst' })];
    expect(decide(jobOf([one!, archive!]), none)).toEqual({ taken: ['2'], kept: ['1 SHARED'] });
    expect(decide(jobOf([one!, archive!]), { ...none, action: 'DELETE' }).taken).toEqual(['1', '2']);
    for (const action of ['ARCHIVE', 'DELETE'] as const) {
      expect(decide(jobOf([archive!], { archivePaths: ['/root/job/checkpoints/1.ckpt.zst'] }), { ...none, action })).toEqual({ taken: [], kept: ['2 SHARED'] });
    }
  });

  test('what is archived is deleted by the same rules, and neither archived again nor read', () => {
    const archived = (id: string) => checkpoint(id, { state: 'ARCHIVED', archivePath: `/root/job/checkpoints/${id}.ckpt.zst`, archiveBytes: 3 });
    const some = [archived('1'), archived('2'), archived('9')];
    expect(decide(jobOf(some), { action: 'DELETE' })).toEqual({ taken: ['2'], kept: ['1 BEST', '9 LAST'] });
    expect(decide(jobOf([...some, ...steps('3')]), { ...none, action: 'DELETE', includeArchived: false })).toEqual({ taken: ['3'], kept: ['1 ARCHIVED', '2 ARCHIVED', '9 ARCHIVED'] });
    for (const action of ['ARCHIVE', 'DIGEST'] as const) expect(decide(jobOf(some), { ...none, action }).kept).toEqual(['1 STATE', '2 STATE', '9 STATE']);
    // A retry would go on from 2, and from 3 once that were restored.
    expect(decide(jobOf([...steps('1', '2'), archived('3')], { state: 'FAILED' }), { ...none, action: 'DELETE' })).toEqual({ taken: ['1'], kept: ['2 RESUMABLE', '3 RESUMABLE'] });
    const another = checkpoint('2', { path: '/root/job/checkpoints/1.ckpt.zst' });
    expect(decide(jobOf([archived('1'), another], { archivePaths: ['/root/job/checkpoints/1.ckpt.zst'] }), { ...none, action: 'DELETE' }).kept).toEqual(['1 SHARED', '2 SHARED']);
  });

  test('of a job that is LOST it is taken only where that is said', () => {
    const job = jobOf([...steps('1', '2')], { state: 'LOST' });
    expect(decide(job, { ...none, includeLost: true })).toEqual({ taken: ['1'], kept: ['2 RESUMABLE'] });
    expect(decideOnJob(job, { ...asked, ...none }).kept[0]?.message).toMatch(/nobody knows whether it still runs.*includeLost/);
  });

  test.each(['HELD', 'QUEUED', 'SUBMITTING', 'PENDING', 'RUNNING', 'LOST'] as const)('nothing is taken of a job that is %s', (state) => {
    for (const action of ['ARCHIVE', 'DELETE'] as const) expect(decide(jobOf(steps('1'), { state }), { ...none, action, includeResumable: true }).kept).toEqual(['1 JOB_NOT_ENDED']);
  });

  test.each([
    ['STATE', checkpoint('1', { state: 'WRITING' })], ['STATE', checkpoint('1', { state: 'PARTIAL' })], ['STATE', checkpoint('1', { state: 'ARCHIVED' })],
    ['OUTSIDE', checkpoint('1', { path: '/elsewhere/1.ckpt' })], ['OUTSIDE', checkpoint('1', { path: '/root/job2/1.ckpt' })], ['OUTSIDE', checkpoint('1', { path: '/root/job/../other/1.ckpt' })],
    ['SHARED', checkpoint('1', { isSharedWithJob: true })], ['TOO_LARGE', checkpoint('1', { sizeBytes: 21 * 1024 ** 3 })], ['ASKED_BEFORE', checkpoint('1', { isAsked: true })],
  ] as const)('%s', (reason, one) => {
    expect(decide(jobOf([one]), none)).toEqual({ taken: [], kept: [`1 ${reason}`] });
  });

  test('a folder that holds another checkpoint is kept, and so is that one', () => {
    const [folder, inside] = [checkpoint('1', { path: '/root/job/checkpoints/1' }), checkpoint('2', { path: '/root/job/checkpoints/1/2.ckpt' })];
    expect(decide(jobOf([folder, inside]), none).kept).toEqual(['1 SHARED', '2 SHARED']);
  });

  test('a folder is kept in which a checkpoint was archived that nobody asks about', () => {
    const job = jobOf([checkpoint('1', { path: '/root/job/checkpoints/1' })], { occupiedPaths: ['/root/job/checkpoints/1', '/root/job/checkpoints/1/2.ckpt'] });
    expect(decide(job, { ...none, action: 'DELETE' }).kept).toEqual(['1 SHARED']);
  });

  test('a large one is deleted on the login node, and archived in a SLURM job', () => {
    const job = jobOf([checkpoint('1', { sizeBytes: 21 * 1024 ** 3 })]);
    expect(decide(job, { ...none, action: 'DELETE' }).taken).toEqual(['1']);
    expect(decide(job, { ...none, place: 'SLURM_JOB' }).taken).toEqual(['1']);
  });

  test('a cluster that is not configured keeps what it has', () => {
    expect(decide(jobOf(steps('1'), { isClusterConfigured: false }), none).kept).toEqual(['1 CLUSTER_NOT_CONFIGURED']);
  });
});

test('archived ones are restored, whatever the state of their job; a running one may be given digests', () => {
  const job = jobOf([checkpoint('1', { state: 'ARCHIVED' }), checkpoint('2')], { state: 'RUNNING' });
  expect(decide(job, { action: 'RESTORE', keep: null })).toEqual({ taken: ['1'], kept: ['2 STATE'] });
  expect(decide(job, { action: 'DIGEST', keep: null })).toEqual({ taken: ['2'], kept: ['1 STATE'] });
});
