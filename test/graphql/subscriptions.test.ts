import { parse, subscribe, validate, type ExecutionResult } from 'graphql';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { openFeed } from '../../src/db/feed.ts';
import { appendEvents } from '../../src/db/write/events.ts';
import type { EventPayloads, NewEvent } from '../../src/domain/events.ts';
import { Changes } from '../../src/graphql/changes.ts';
import { statementsOf } from '../support/statements.ts';
import { openFixture, schema, seedExperiment, seedJobs, seedSweep, shownErrors, type Fixture } from './fixture.ts';

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
let fixture: Fixture;
let experimentId: string;
const open: AsyncIterator<unknown>[] = [];

beforeAll(async () => {
  fixture = await openFixture((db) => openFeed(db, silent));
  experimentId = await seedExperiment(fixture.db);
});
afterEach(async () => {
  for (const iterator of open.splice(0)) await iterator.return?.();
});
afterAll(() => fixture?.close());

async function start(query: string, variables: Record<string, unknown> = {}): Promise<AsyncIterator<ExecutionResult<any>> | ExecutionResult> {
  const document = parse(query);
  expect(validate(schema, document)).toEqual([]);
  const answer = await subscribe({ schema, document, contextValue: fixture.context(), variableValues: variables });
  if (Symbol.asyncIterator in answer) open.push(answer);
  return answer as never;
}

async function stream(query: string, variables: Record<string, unknown> = {}): Promise<AsyncIterator<ExecutionResult<any>>> {
  const answer = await start(query, variables);
  expect(answer).not.toHaveProperty('errors');
  return answer as AsyncIterator<ExecutionResult<any>>;
}

async function next(source: AsyncIterator<ExecutionResult<any>>): Promise<any> {
  const { done, value } = await source.next();
  expect(done).toBe(false);
  expect(value.errors).toBeUndefined();
  return value.data;
}

function append(...events: NewEvent[]): Promise<void> {
  return fixture.db.database.transaction((transaction) => appendEvents(transaction, events));
}

function stateChange(jobId: string, to: EventPayloads['JOB_STATE_CHANGED']['to'], sweepId: string | null = null): NewEvent {
  return { kind: 'JOB_STATE_CHANGED', experimentId, sweepId, jobId, attemptNumber: null, payload: { from: 'QUEUED', to, reason: `now ${to}` } };
}

async function setState(jobId: string, state: string): Promise<void> {
  await fixture.db.pool.query('update jobs set state = $2 where id = $1', [jobId, state]);
}

describe('jobEvents', () => {
  const QUERY = `subscription ($filter: JobEventFilter, $after: String) { jobEvents(filter: $filter, after: $after) {
    cursor kind fromState toState reason note changed attempt { number } job { id state } experiment { id } } }`;

  it('goes on after the cursor that was asked for before, with all that happened meanwhile', async () => {
    const [jobId] = await seedJobs(fixture.db, experimentId, [{}]);
    await append(stateChange(jobId!, 'PENDING'));
    const { data: { eventCursor } } = await fixture.run('{ eventCursor }');
    await append(stateChange(jobId!, 'RUNNING'), stateChange(jobId!, 'COMPLETED'));
    const events = await stream(QUERY, { filter: { jobIds: [jobId] }, after: eventCursor });
    expect([(await next(events)).jobEvents.toState, (await next(events)).jobEvents.toState]).toEqual(['RUNNING', 'COMPLETED']);
  });

  it('tells in each experiment that settings of the project were changed, by whom and to what', async () => {
    const own = await seedExperiment(fixture.db, { project: 'settings' });
    const events = await stream(QUERY, { filter: { experimentIds: [own] }, after: '0' });
    const { data } = await fixture.run('mutation { updateProject(input: { project: "settings", metricRetention: { exactDays: 30 } }) { userErrors { message } } }');
    expect(data.updateProject).toEqual({ userErrors: [] });
    expect((await next(events)).jobEvents).toMatchObject({
      kind: 'PROJECT_UPDATED', changed: ['metricRetention'], job: null, experiment: { id: own },
      reason: 'set by admin: every point is kept for 30 days after the end of a job, then about 2000 of a long history',
    });
  });

  it('shows each event with the job as it is then, not as the first event saw it', async () => {
    const [jobId] = await seedJobs(fixture.db, experimentId, [{ attempts: [{}] }]);
    const events = await stream(QUERY, { filter: { jobIds: [jobId] } });
    for (const state of ['PENDING', 'RUNNING'] as const) {
      const arrived = next(events);
      await setState(jobId!, state);
      await append(stateChange(jobId!, state));
      expect((await arrived).jobEvents).toMatchObject({
        kind: 'JOB_STATE_CHANGED', fromState: 'QUEUED', toState: state, reason: `now ${state}`, job: { id: jobId, state }, experiment: { id: experimentId },
      });
    }
  });

  it('tells of a failure what was found of its cause since, of that end and of no other', async () => {
    const [jobId] = await seedJobs(fixture.db, experimentId, [{ state: 'FAILED', attempts: [{}, {}] }]);
    await fixture.db.pool.query("update jobs set state_reason = 'now FAILED; NAN_LOSS: loss is nan' where id = $1", [jobId]);
    const { data: { eventCursor } } = await fixture.run('{ eventCursor }');
    const reasonIs = (reason: string): NewEvent => ({ ...stateChange(jobId!, 'FAILED'), attemptNumber: null, kind: 'JOB_UPDATED', payload: { changed: ['stateReason'], reason } });
    await append({ ...stateChange(jobId!, 'FAILED'), attemptNumber: 1 }, reasonIs('now FAILED; NODE_FAILURE'), { ...stateChange(jobId!, 'QUEUED'), attemptNumber: null },
      { ...stateChange(jobId!, 'FAILED'), attemptNumber: 2 }, reasonIs('now FAILED; NAN_LOSS: loss is nan'));
    const events = await stream(QUERY, { filter: { jobIds: [jobId] }, after: eventCursor });
    const reasons: string[] = [];
    while (reasons.length < 5) reasons.push((await next(events)).jobEvents.reason);
    expect(reasons).toEqual(['now FAILED', 'now FAILED; NODE_FAILURE', 'now QUEUED', 'now FAILED; NAN_LOSS: loss is nan', 'now FAILED; NAN_LOSS: loss is nan']);
  });

  it('reads what many events refer to together, not for each anew', async () => {
    const jobIds = await seedJobs(fixture.db, experimentId, Array.from({ length: 40 }, () => ({ attempts: [{}] })));
    const events = await stream(`subscription ($filter: JobEventFilter) { jobEvents(filter: $filter) { job { id state } attempt { number } experiment { id } sweep { id } } }`, { filter: { jobIds } });
    const seen: string[] = [];
    const statements = await statementsOf(fixture.db.pool, async () => {
      const arrived = next(events);
      await append(...jobIds.map((jobId): NewEvent => ({ ...stateChange(jobId, 'RUNNING'), attemptNumber: 1 })));
      seen.push((await arrived).jobEvents.job.id);
      while (seen.length < jobIds.length) {
        const { jobEvents } = await next(events);
        expect(jobEvents).toMatchObject({ attempt: { number: 1 }, experiment: { id: experimentId }, sweep: null });
        seen.push(jobEvents.job.id);
      }
    });
    expect(seen).toEqual(jobIds);
    // The transaction has four, the feed reads a page, and there are three kinds of rows.
    expect(statements).toBeLessThan(12);
  });

  it('shows a consumer that is slow no rows from long before', async () => {
    const [jobId] = await seedJobs(fixture.db, experimentId, [{ state: 'PENDING' }]);
    const events = await stream(QUERY, { filter: { jobIds: [jobId] } });
    vi.useFakeTimers({ toFake: ['performance'] });
    try {
      const arrived = next(events);
      await append(stateChange(jobId!, 'PENDING'), stateChange(jobId!, 'RUNNING'));
      expect((await arrived).jobEvents.job.state).toBe('PENDING');
      await setState(jobId!, 'COMPLETED');
      vi.advanceTimersByTime(5_000);
      expect((await next(events)).jobEvents.job.state).toBe('COMPLETED');
    } finally {
      vi.useRealTimers();
    }
  });

  it('reads rows again for the next event when they could not be read', async () => {
    const [jobId] = await seedJobs(fixture.db, experimentId, [{}]);
    const events = await stream(QUERY, { filter: { jobIds: [jobId] } });
    const arrived = events.next();
    await fixture.db.pool.query('alter table jobs rename to jobs_away');
    await append(stateChange(jobId!, 'PENDING'), stateChange(jobId!, 'RUNNING'));
    expect((await arrived).value.errors).toHaveLength(1);
    await fixture.db.pool.query('alter table jobs_away rename to jobs');
    expect((await next(events)).jobEvents).toMatchObject({ toState: 'RUNNING', job: { id: jobId } });
  });

  it('replays what came after a cursor, nothing missed and nothing twice, then goes live', async () => {
    const [jobId] = await seedJobs(fixture.db, experimentId, [{}]);
    const filter = { jobIds: [jobId] };
    const notes = (from: number, count: number) => Array.from({ length: count }, (_, index): NewEvent =>
      ({ kind: 'NOTE', experimentId, sweepId: null, jobId: jobId!, attemptNumber: null, payload: { note: { n: from + index } } }));
    const first = await stream(QUERY, { filter });
    const arrived = next(first);
    await append(...notes(0, 5));
    const { cursor } = (await arrived).jobEvents;
    await first.return?.();
    const resumed = await stream(QUERY, { filter, after: cursor });
    const seen: number[] = [];
    for (let count = 0; count < 4; count += 1) seen.push((await next(resumed)).jobEvents.note.n);
    const live = next(resumed);
    await append(...notes(5, 1));
    seen.push((await live).jobEvents.note.n);
    expect(seen).toEqual([1, 2, 3, 4, 5]);
  });

  it.each<[string, (jobId: string, sweepId: string) => object]>([
    ['kinds', () => ({ kinds: ['JOB_STATE_CHANGED'] })], ['a sweep', (_, sweepId) => ({ sweepIds: [sweepId] })], ['states', () => ({ toStates: ['FAILED'] })],
    ['a job', (jobId) => ({ jobIds: [jobId], kinds: ['JOB_STATE_CHANGED'], experimentIds: [experimentId] })],
  ])('can be narrowed to %s', async (_, filterOf) => {
    const sweepId = await seedSweep(fixture.db, experimentId);
    const [jobId, other] = await seedJobs(fixture.db, experimentId, [{ sweepId }, {}]);
    const events = await stream(QUERY, { filter: filterOf(jobId!, sweepId) });
    const arrived = next(events);
    await append(
      { kind: 'JOB_UPDATED', experimentId, sweepId: null, jobId: other!, attemptNumber: null, payload: { changed: ['priority'] } },
      stateChange(jobId!, 'FAILED', sweepId),
    );
    expect((await arrived).jobEvents).toMatchObject({ kind: 'JOB_STATE_CHANGED', toState: 'FAILED', job: { id: jobId } });
  });

  it('refuses what is no cursor', async () => {
    for (const after of ['x', '-1', '1.5', '99999999999999999999', '900000000000']) {
      const answer = await start(QUERY, { after });
      const result = 'errors' in answer ? answer : (await (answer as AsyncIterator<ExecutionResult>).next().catch((error: unknown) => ({ value: { errors: [error] } }))).value as ExecutionResult;
      expect(result.errors?.[0]?.message, after).toMatch(/cursor/);
    }
  });

  it('ends while it waits', async () => {
    const events = await stream(QUERY);
    const waiting = events.next();
    await events.return?.();
    expect(await waiting).toMatchObject({ done: true });
  });
});

describe('sweepProgress', () => {
  const QUERY = 'subscription ($id: ID!) { sweepProgress(sweepId: $id) { total done percentDone } }';

  it('comes at once, then merges many changes, and always ends with the last', async () => {
    const sweepId = await seedSweep(fixture.db, experimentId);
    const jobIds = await seedJobs(fixture.db, experimentId, Array.from({ length: 30 }, () => ({ sweepId })));
    const progress = await stream(QUERY, { id: sweepId });
    expect((await next(progress)).sweepProgress).toEqual({ total: 30, done: 0, percentDone: 0 });
    const startedAt = performance.now();
    const changes = (async () => {
      for (const jobId of jobIds) {
        await setState(jobId, 'COMPLETED');
        await append(stateChange(jobId, 'COMPLETED', sweepId));
      }
    })();
    let messages = 0;
    let done = 0;
    while (done < 30) {
      done = (await next(progress)).sweepProgress.done;
      messages += 1;
    }
    await changes;
    expect(messages).toBeLessThanOrEqual(1 + Math.ceil((performance.now() - startedAt) / 250));
    expect(messages).toBeLessThan(30);
  });

  it('says when there is no such sweep', async () => {
    for (const id of ['nonsense', '0190163d-8694-739b-aea5-966c26f8ad90']) {
      expect(shownErrors(await start(QUERY, { id }) as ExecutionResult)).toMatchObject([{ code: 'NOT_FOUND' }]);
    }
  });

  it('ends while it waits', async () => {
    const progress = await stream(QUERY, { id: await seedSweep(fixture.db, experimentId) });
    await next(progress);
    const waiting = progress.next();
    await progress.return?.();
    expect(await waiting).toMatchObject({ done: true });
  });
});

describe('announced changes', () => {
  it('fail with their source, after the last change', async () => {
    async function* source(): AsyncGenerator<number> {
      yield 1;
      throw new Error('lost');
    }
    const changes = new Changes(source(), 1);
    expect(await changes.next()).toEqual({ done: false, value: true });
    await expect((async () => { while ((await changes.next()).done !== true); })()).rejects.toThrow('lost');
    expect(await changes.next()).toMatchObject({ done: true });
  });
});

describe('metricsAppended', () => {
  it('brings the points of the metrics that were asked for', async () => {
    const [jobId] = await seedJobs(fixture.db, experimentId, [{ metrics: { loss: [[1, 0.5], [2, Number.NaN], [3, 0.3]], acc: [[3, 1]] } }]);
    const appended = (key: string, firstStep: number, lastStep: number): NewEvent => ({
      kind: 'METRICS_APPENDED', experimentId, sweepId: null, jobId: jobId!, attemptNumber: 1,
      payload: { series: [{ key, firstStep, lastStep, count: lastStep - firstStep + 1 }] },
    });
    const metrics = await stream(`subscription ($id: ID!) { metricsAppended(jobId: $id, keys: ["loss"]) { job { id }
      series { key steps values nonFinite { step value } sampled } } }`, { id: jobId });
    const arrived = next(metrics);
    await append(appended('acc', 3, 3), appended('loss', 2, 3));
    expect((await arrived).metricsAppended).toEqual({
      job: { id: jobId }, series: [{ key: 'loss', steps: [2, 3], values: [null, 0.3], nonFinite: [{ step: 2, value: 'NAN' }], sampled: false }],
    });
  });
});
