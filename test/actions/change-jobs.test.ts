import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { cancelJobs } from '../../src/actions/cancel-jobs.ts';
import type { JobChangeAnswer } from '../../src/actions/change-jobs.ts';
import { holdJobs } from '../../src/actions/hold-jobs.ts';
import { releaseJobs } from '../../src/actions/release-jobs.ts';
import { retryJobs } from '../../src/actions/retry-jobs.ts';
import { setPriority } from '../../src/actions/set-priority.ts';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import { tagJobs } from '../../src/actions/tag-jobs.ts';
import { JOB_STATES, type JobState } from '../../src/domain/states.ts';
import { actionTest, smallSweep, type ActionTest } from '../support/actions.ts';

let at: ActionTest;
/** A job in each state. */
let idOf: Record<JobState, string>;
let lastSeq: number;

beforeEach(async () => {
  at = await actionTest();
  const values = JOB_STATES.map((_, index) => index);
  const { jobs } = await submitSweep(at.context, smallSweep({ space: { grid: [{ key: 'n', values }] }, tags: ['one', 'two'] }));
  idOf = Object.fromEntries(JOB_STATES.map((state, index) => [state, jobs[index]?.jobId])) as Record<JobState, string>;
  for (const state of JOB_STATES) {
    const ended = state === 'COMPLETED' || state === 'FAILED' || state === 'CANCELLED' || state === 'LOST';
    await at.db.pool.query(`update jobs set state = $2, attempt_count = $3, state_reason = 'before', started_at = case when $4 then now() end,
      finished_at = case when $4 then now() end, harvested_at = case when $4 then now() end where id = $1`, [idOf[state], state, ended ? 1 : 0, ended]);
  }
  lastSeq = Number((await at.db.pool.query('select max(seq) from events')).rows[0].max);
});
afterEach(() => at.db.drop());

const all = (): string[] => JOB_STATES.map((state) => idOf[state]);

function stateOf(id: string): JobState | undefined {
  return JOB_STATES.find((state) => idOf[state] === id);
}

/** Whose jobs changed and whose did not, by the state they were in. */
function byState(answer: JobChangeAnswer): { changed: (JobState | undefined)[]; unchanged: (JobState | undefined)[] } {
  const inOrder = (ids: string[]): (JobState | undefined)[] => JOB_STATES.filter((state) => ids.includes(idOf[state]));
  expect(answer.changedJobIds.every((id) => stateOf(id) !== undefined)).toBe(true);
  return { changed: inOrder(answer.changedJobIds), unchanged: inOrder(answer.unchanged.map(({ jobId }) => jobId)) };
}

async function row(state: JobState): Promise<Record<string, unknown>> {
  return (await at.db.pool.query('select * from jobs where id = $1', [idOf[state]])).rows[0];
}

async function newEvents(): Promise<{ job: JobState | undefined; kind: string; payload: Record<string, unknown> }[]> {
  const { rows } = await at.db.pool.query('select job_id, kind, payload from events where seq > $1 order by seq', [lastSeq]);
  return rows.map((event) => ({ job: stateOf(event.job_id), kind: event.kind, payload: event.payload }));
}

describe('cancelJobs', () => {
  test('ends what no cluster has, asks for the end of what one has, and leaves what has ended', async () => {
    const answer = await cancelJobs(at.context, { ids: all() });
    expect(byState(answer)).toEqual({ changed: ['HELD', 'QUEUED', 'SUBMITTING', 'PENDING', 'RUNNING'], unchanged: ['COMPLETED', 'FAILED', 'CANCELLED', 'LOST'] });
    expect(answer.unchanged[0]?.reason).toMatch(/^has ended/);
    for (const state of ['HELD', 'QUEUED'] as const) {
      expect(await row(state)).toMatchObject({ state: 'CANCELLED', state_reason: 'cancelled before it was submitted', finished_at: expect.any(Date), harvested_at: expect.any(Date) });
    }
    for (const state of ['SUBMITTING', 'PENDING', 'RUNNING'] as const) expect(await row(state)).toMatchObject({ state, cancel_requested: true });
    expect(await newEvents()).toEqual([
      { job: 'HELD', kind: 'JOB_STATE_CHANGED', payload: { from: 'HELD', to: 'CANCELLED', reason: 'cancelled before it was submitted' } },
      { job: 'QUEUED', kind: 'JOB_STATE_CHANGED', payload: { from: 'QUEUED', to: 'CANCELLED', reason: 'cancelled before it was submitted' } },
      ...(['SUBMITTING', 'PENDING', 'RUNNING'] as const).map((job) => ({ job, kind: 'JOB_UPDATED', payload: { changed: ['cancelRequested'] } })),
    ]);
  });

  test('twice is once', async () => {
    await cancelJobs(at.context, { ids: [idOf.RUNNING] });
    expect(await cancelJobs(at.context, { ids: [idOf.RUNNING] })).toEqual({ changedJobIds: [], unchanged: [{ jobId: idOf.RUNNING, reason: 'was asked to end before' }], matchedCount: 1 });
    expect(await newEvents()).toHaveLength(1);
  });

  test('by filter says why jobs that have ended stay as they are', async () => {
    const answer = await cancelJobs(at.context, { filter: { project: 'vision' } });
    expect(byState(answer)).toEqual({ changed: ['HELD', 'QUEUED', 'SUBMITTING', 'PENDING', 'RUNNING'], unchanged: ['COMPLETED', 'FAILED', 'CANCELLED', 'LOST'] });
    expect(answer.unchanged.find(({ jobId }) => jobId === idOf.LOST)?.reason).toBe('has ended: LOST');
    expect(answer.matchedCount).toBe(9);
    expect(await cancelJobs(at.context, { filter: { states: ['LOST'], tagsAll: ['none'] } })).toEqual({ changedJobIds: [], unchanged: [], matchedCount: 0 });
  });

  test('as a dry run says the same and changes nothing', async () => {
    const preview = await cancelJobs(at.context, { ids: all(), dryRun: true });
    expect(await newEvents()).toEqual([]);
    expect((await row('QUEUED'))['state']).toBe('QUEUED');
    expect(await cancelJobs(at.context, { ids: all() })).toEqual(preview);
  });
});

describe('a selection', () => {
  test('that names unknown jobs is refused, and nothing is changed', async () => {
    const unknown = '01900000-0000-7000-8000-000000000000';
    await expect(cancelJobs(at.context, { ids: [idOf.QUEUED, unknown, 'no-id'] })).rejects.toMatchObject({
      faults: [{ code: 'NOT_FOUND', message: `there is no job ${unknown}` }, { code: 'NOT_FOUND', message: 'there is no job no-id' }],
    });
    expect((await row('QUEUED'))['state']).toBe('QUEUED');
  });

  test('whose filter names what does not exist is refused', async () => {
    const unknown = '01900000-0000-7000-8000-000000000000';
    await expect(cancelJobs(at.context, { filter: { project: 'visoin', clusters: ['greene', 'green'], experimentIds: [unknown, 'no-id'], sweepIds: [unknown] } })).rejects.toMatchObject({
      faults: [
        { field: ['filter', 'project'], code: 'NOT_FOUND', message: 'there is no project "visoin"' },
        { field: ['filter', 'experimentIds'], message: `there is no experiment ${unknown}` }, { field: ['filter', 'experimentIds'], message: 'there is no experiment no-id' },
        { field: ['filter', 'sweepIds'], message: `there is no sweep ${unknown}` },
        { field: ['filter', 'clusters'], message: 'there is no cluster "green"; there are greene, torch' },
      ],
    });
  });

  test('that names a job twice changes it once', async () => {
    expect((await cancelJobs(at.context, { ids: [idOf.QUEUED, idOf.QUEUED.toUpperCase()] })).changedJobIds).toEqual([idOf.QUEUED]);
  });

  test.each([[{}], [{ ids: [], filter: {} }], [{ filter: {} }], [{ filter: { states: undefined } }]])('%j is refused: it does not say which jobs', async (selection) => {
    await expect(cancelJobs(at.context, selection)).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
  });
});

test('holdJobs holds what waits, here or in the cluster, and nothing else', async () => {
  const answer = await holdJobs(at.context, { ids: all() });
  expect(byState(answer)).toEqual({ changed: ['QUEUED', 'SUBMITTING', 'PENDING'], unchanged: ['HELD', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED', 'LOST'] });
  expect(await row('QUEUED')).toMatchObject({ state: 'HELD', hold_requested: false });
  expect(await row('PENDING')).toMatchObject({ state: 'PENDING', hold_requested: true });
  expect(await newEvents()).toMatchObject([
    { job: 'QUEUED', payload: { from: 'QUEUED', to: 'HELD' } }, { job: 'SUBMITTING', kind: 'JOB_UPDATED' }, { job: 'PENDING', kind: 'JOB_UPDATED' }]);
});

test('releaseJobs undoes both kinds of hold', async () => {
  await holdJobs(at.context, { ids: [idOf.QUEUED, idOf.PENDING] });
  const answer = await releaseJobs(at.context, { ids: all() });
  expect(byState(answer).changed).toEqual(['HELD', 'QUEUED', 'PENDING']);
  expect(await row('HELD')).toMatchObject({ state: 'QUEUED' });
  expect(await row('QUEUED')).toMatchObject({ state: 'QUEUED' });
  expect(await row('PENDING')).toMatchObject({ state: 'PENDING', hold_requested: false });
});

describe('retryJobs with an idempotency key', () => {
  const byKey = { idempotencyKey: 'k1', tags: ['again'] };

  test.each([
    ['as they are', {}], ['with other resources', { resourceChanges: { cpus: 3 } }], ['with another configuration', { configChanges: { lr: 0.5 } }],
  ])('%s: asked many times, also at once, it is done once and answered alike', async (_, changes) => {
    const input = { ids: [idOf.FAILED, idOf.RUNNING], ...byKey, ...changes };
    const jobCount = async (): Promise<number> => (await at.db.pool.query('select 1 from jobs')).rowCount ?? 0;
    const before = await jobCount();
    const answers = await Promise.all(Array.from({ length: 5 }, () => retryJobs(at.context, input)));
    const after = await jobCount();
    answers.push(await retryJobs(at.context, input));
    expect(answers[0]).toMatchObject({ changedJobIds: [expect.any(String)], unchanged: [{ jobId: idOf.RUNNING }], matchedCount: 2 });
    expect(new Set(answers.map((answer) => JSON.stringify(Object.entries(answer).sort()))).size).toBe(1);
    expect([after - before, await jobCount()]).toEqual(['configChanges' in changes ? 1 : 0, after]);
    expect((await newEvents()).filter(({ kind }) => kind === 'JOB_STATE_CHANGED')).toHaveLength(1);
  });

  test('is refused for another input, takes no part in a dry run, and is free again after a failure', async () => {
    expect((await retryJobs(at.context, { ids: [idOf.LOST], ...byKey, dryRun: true })).changedJobIds).toEqual([idOf.LOST]);
    await expect(retryJobs(at.context, { ids: ['00000000-0000-7000-8000-000000000000'], ...byKey })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect((await retryJobs(at.context, { ids: [idOf.FAILED], ...byKey })).changedJobIds).toEqual([idOf.FAILED]);
    await expect(retryJobs(at.context, { ids: [idOf.LOST], ...byKey })).rejects.toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' });
    await expect(retryJobs(at.context, { ids: [idOf.LOST], idempotencyKey: '' })).rejects.toMatchObject({ faults: [{ field: ['idempotencyKey'] }] });
  });
});

describe('retryJobs', () => {
  test('puts what ended without completing back into the queue as if new, ahead of the others, and keeps what completed', async () => {
    await at.db.pool.query(`insert into results (job_id, metrics, artifacts, finished_at) values ($1, '{}', '[]', now()), ($2, '{}', '[]', now())`, [idOf.COMPLETED, idOf.FAILED]);
    await at.db.pool.query('update jobs set cancel_requested = true, hold_requested = true, held_on_cluster = true where id = $1', [idOf.CANCELLED]);
    const answer = await retryJobs(at.context, { ids: all(), tags: ['oom'] });
    expect(byState(answer)).toEqual({ changed: ['FAILED', 'CANCELLED', 'LOST'], unchanged: ['HELD', 'QUEUED', 'SUBMITTING', 'PENDING', 'RUNNING', 'COMPLETED'] });
    expect(answer.unchanged.find(({ jobId }) => jobId === idOf.COMPLETED)?.reason).toBe('has completed; submit it with RUN_AGAIN to run it once more');
    expect(await row('COMPLETED')).toMatchObject({ state: 'COMPLETED', finished_at: expect.any(Date) });
    for (const state of ['FAILED', 'CANCELLED', 'LOST'] as const) {
      expect(await row(state)).toMatchObject({
        state: 'QUEUED', state_reason: null, priority: 150, tags: ['one', 'two', 'retry', 'oom'], attempt_count: 1, cancel_requested: false, hold_requested: false,
        held_on_cluster: false, started_at: null, finished_at: null, harvested_at: null,
      });
    }
    expect((await at.db.pool.query('select job_id from results')).rows).toEqual([{ job_id: idOf.COMPLETED }]);
    expect((await newEvents())[0]).toEqual({ job: 'FAILED', kind: 'JOB_STATE_CHANGED', payload: { from: 'FAILED', to: 'QUEUED', reason: 'retried by tester' } });
  });

  test.each([{}, { dryRun: true }, { configChanges: { n: 77 } }, { resourceChanges: { cpus: 8 } }])('leaves completed jobs as they are with %j', async (how) => {
    expect(byState(await retryJobs(at.context, { ids: [idOf.COMPLETED], ...how }))).toEqual({ changed: [], unchanged: ['COMPLETED'] });
    expect(await newEvents()).toEqual([]);
  });

  test('keeps the priority within 0 to 1000', async () => {
    await at.db.pool.query('update jobs set priority = 980 where id = $1', [idOf.FAILED]);
    await retryJobs(at.context, { ids: [idOf.FAILED] });
    await retryJobs(at.context, { ids: [idOf.LOST], priorityBoost: -500 });
    expect([(await row('FAILED'))['priority'], (await row('LOST'))['priority']]).toEqual([1000, 0]);
    await expect(retryJobs(at.context, { ids: [idOf.FAILED], priorityBoost: 0.5 })).rejects.toMatchObject({ faults: [{ field: ['priorityBoost'] }] });
  });

  test('by filter retries what matches', async () => {
    expect(byState(await retryJobs(at.context, { filter: { states: ['FAILED', 'RUNNING'] } }))).toEqual({ changed: ['FAILED'], unchanged: ['RUNNING'] });
    expect(byState(await retryJobs(at.context, { filter: { states: ['COMPLETED', 'LOST'] }, resourceChanges: { cpus: 3 }, dryRun: true }))).toEqual({ changed: ['LOST'], unchanged: ['COMPLETED'] });
  });
});

test('setPriority moves jobs in our queue only, and says why not elsewhere', async () => {
  const answer = await setPriority(at.context, { ids: all(), priority: 700 });
  expect(byState(answer).changed).toEqual(['HELD', 'QUEUED']);
  expect(answer.unchanged.find(({ jobId }) => jobId === idOf.PENDING)?.reason).toContain('own scheduler');
  expect(await row('QUEUED')).toMatchObject({ priority: 700 });
  expect((await setPriority(at.context, { ids: [idOf.QUEUED], priority: 700 })).changedJobIds).toEqual([]);
  await expect(setPriority(at.context, { ids: [idOf.QUEUED], priority: 1001 })).rejects.toMatchObject({ faults: [{ field: ['priority'] }] });
});

describe('tagJobs', () => {
  test('adds and removes in one go, whatever the state', async () => {
    const answer = await tagJobs(at.context, { filter: { project: 'vision' }, add: ['three', 'two'], remove: ['one', 'none'] });
    expect(answer.changedJobIds).toHaveLength(9);
    expect(await row('COMPLETED')).toMatchObject({ tags: ['two', 'three'] });
    expect((await tagJobs(at.context, { ids: all(), add: ['two'], remove: ['one'] })).changedJobIds).toEqual([]);
    const reasonFor = async (change: object) => (await tagJobs(at.context, { ids: [idOf.QUEUED], ...change })).unchanged[0]?.reason;
    expect(await reasonFor({ add: ['two'] })).toBe('has this tag already');
    expect(await reasonFor({ remove: ['one', 'none'] })).toBe('has none of these tags');
    expect(await reasonFor({ add: ['two'], remove: ['one'] })).toBe('has the tags to add already, and none of those to remove');
  });

  test('refuses what makes no sense', async () => {
    await expect(tagJobs(at.context, { ids: all() })).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    await expect(tagJobs(at.context, { ids: all(), add: ['a'], remove: ['a'] })).rejects.toMatchObject({ faults: [{ field: ['remove'] }] });
    const many = Array.from({ length: 99 }, (_, index) => `t${index}`);
    expect((await tagJobs(at.context, { ids: [idOf.QUEUED], add: many })).unchanged[0]?.reason).toContain('more than 100 tags');
  });
});

test('a filter that selects many unchangeable jobs names the first hundred and counts them all', async () => {
  const values = Array.from({ length: 150 }, (_, index) => index);
  const { sweepId } = await submitSweep(at.context, smallSweep({ name: 'many', space: { grid: [{ key: 'a', values }] } }));
  const answer = await retryJobs(at.context, { filter: { sweepIds: [sweepId ?? ''] } });
  expect(answer).toMatchObject({ changedJobIds: [], matchedCount: 150 });
  expect(answer.unchanged).toHaveLength(100);
  expect(answer.unchanged[0]?.reason).toBe('has not ended: QUEUED');
});

test('10,000 jobs change in a few statements and seconds', async () => {
  const values = Array.from({ length: 100 }, (_, index) => index);
  const { sweepId } = await submitSweep(at.context, smallSweep({ name: 'wide', space: { grid: [{ key: 'a', values }, { key: 'b', values }] } }));
  const started = performance.now();
  const filter = { sweepIds: [sweepId ?? ''] };
  for (const change of [
    () => tagJobs(at.context, { filter, add: ['x'] }), () => holdJobs(at.context, { filter }), () => releaseJobs(at.context, { filter }),
    () => cancelJobs(at.context, { filter }), () => retryJobs(at.context, { filter }),
  ]) expect((await change()).changedJobIds).toHaveLength(10_000);
  // About four seconds for all five alone on two cores.
  expect(performance.now() - started).toBeLessThan(25_000);
}, 60_000);

test('changes of the same jobs at once in opposite orders all succeed', async () => {
  const ids = all();
  await Promise.all(Array.from({ length: 8 }, (_, index) => tagJobs(at.context, { ids: index % 2 === 0 ? ids : ids.toReversed(), add: [`by-${index}`] })));
  expect((await row('HELD'))['tags']).toHaveLength(10);
});
