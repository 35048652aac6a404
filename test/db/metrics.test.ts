import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { recordMetrics } from '../../src/actions/record-metrics.ts';
import { transact } from '../../src/db/transaction.ts';
import { writePoints, type WrittenSeries } from '../../src/db/write/metrics.ts';
import { actionTest, freshJobs, type ActionTest } from '../support/actions.ts';

let at: ActionTest;
let freshJob: () => string;
beforeAll(async () => {
  at = await actionTest();
  freshJob = await freshJobs(at, 200);
});
afterAll(() => at.db.drop());

interface Write {
  attempt: number;
  points: { key: string; step: number; value: number }[];
}

const epoch = Date.UTC(2026, 0, 1);
/** Times differ between writes, so that a summary that kept the wrong one is seen. */
const timeOf = (write: number, step: number): Date => new Date(epoch + write * 1_000_000 + step * 1_000 + 123);

async function apply(jobId: string, write: Write, index: number): Promise<WrittenSeries[]> {
  const series = write.points.map(({ key, step, value }) => ({ key, steps: [step], values: [value], times: [timeOf(index, step).getTime()] }));
  const [written] = await at.db.database.transaction((transaction) => writePoints(transaction, [{ jobId, attemptNumber: write.attempt, series }]));
  return written!.series;
}

interface Naive { step: number; value: number; time: Date }

/** What the summaries must be, from all points ever written. */
function expectedSummaries(writes: Write[]): Map<string, object> {
  const byKey = new Map<string, Map<number, Naive & { attempt: number }>>();
  for (const [index, { attempt, points }] of writes.entries()) {
    for (const { key, step, value } of points) {
      const steps = byKey.get(key) ?? new Map();
      byKey.set(key, steps);
      if ((steps.get(step)?.attempt ?? 0) <= attempt) steps.set(step, { step, value, time: timeOf(index, step), attempt });
    }
  }
  return new Map([...byKey].map(([key, steps]) => {
    const finite = [...steps.values()].filter((point) => Number.isFinite(point.value)).sort((a, b) => a.step - b.step);
    const pick = (better: (a: Naive, b: Naive) => boolean): Naive | undefined => finite.reduce<Naive | undefined>((best, point) => (best === undefined || better(point, best) ? point : best), undefined);
    const [last, min, max] = [finite.at(-1), pick((a, b) => a.value < b.value), pick((a, b) => a.value > b.value)];
    return [key, {
      count: steps.size, last_step: last?.step ?? null, last_value: last?.value ?? null, last_time: last?.time ?? null,
      min_step: min?.step ?? null, min_value: min?.value ?? null, min_time: min?.time ?? null,
      max_step: max?.step ?? null, max_value: max?.value ?? null, max_time: max?.time ?? null,
    }];
  }));
}

async function storedSummaries(jobId: string): Promise<Map<string, object>> {
  const { rows } = await at.db.pool.query(`select key, point_count::int as count, last_step::int, last_value, last_time, min_step::int, min_value, min_time,
    max_step::int, max_value, max_time from metric_series where job_id = $1`, [jobId]);
  return new Map(rows.map(({ key, ...summary }) => [key, summary]));
}

const value = fc.oneof({ weight: 6, arbitrary: fc.integer({ min: -3, max: 3 }) }, { weight: 1, arbitrary: fc.constantFrom(Number.NaN, Infinity, -Infinity, 0.1 + 0.2, 1e-300) });
const points = (from: number, to: number) => fc.array(fc.record({ key: fc.constantFrom('loss', 'val/loss', "it's \"odd\""), step: fc.integer({ min: from, max: to }), value }), { maxLength: 8 });
/** Mostly appended, as a run does it; sometimes overlapping, as a resumed run or a repeated read does. */
const history = fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.boolean()), { minLength: 1, maxLength: 6 }).chain((shape) =>
  fc.tuple(...shape.map(([attempt, appends], index) => (appends ? points(index * 10, index * 10 + 9) : points(0, 60)).map((made): Write => ({ attempt, points: made })))));

test('summaries are exact after any sequence of writes by any attempts', async () => {
  await fc.assert(fc.asyncProperty(history, async (writes) => {
    const jobId = freshJob();
    for (const [index, write] of writes.entries()) {
      await apply(jobId, write, index);
      expect(await storedSummaries(jobId)).toEqual(expectedSummaries(writes.slice(0, index + 1)));
    }
  }), { numRuns: 60 });
}, 120_000);

describe('writePoints', () => {
  test('says what it covered, and the same points again change nothing', async () => {
    const jobId = freshJob();
    const write = { attempt: 1, points: [{ key: 'a', step: 5, value: 1 }, { key: 'a', step: 2, value: 3 }, { key: 'b', step: 9, value: Number.NaN }, { key: 'a', step: 5, value: 2 }] };
    const first = await apply(jobId, write, 0);
    expect(first.sort((a, b) => (a.key < b.key ? -1 : 1))).toEqual([{ key: 'a', firstStep: 2, lastStep: 5, count: 2 }, { key: 'b', firstStep: 9, lastStep: 9, count: 1 }]);
    const before = await storedSummaries(jobId);
    await apply(jobId, write, 0);
    expect(await storedSummaries(jobId)).toEqual(before);
    expect((await at.db.pool.query('select value from metric_points where job_id = $1 order by series_number, step', [jobId])).rows).toEqual([{ value: 3 }, { value: 2 }, { value: Number.NaN }]);
  });

  test('keeps every step, value and time to the last bit, of new points and of points that come again', async () => {
    const jobId = freshJob();
    const steps = [0, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 12_345, Number.MAX_SAFE_INTEGER];
    const values = [1 / 3, 5e-324, Number.MAX_VALUE, Number.NaN, Infinity, -Infinity];
    const times = ['0001-01-01T00:00:00.001Z', '1969-12-31T23:59:59.999Z', '1999-12-31T23:59:59.999Z', '2000-01-01T00:00:00.000Z', '2026-03-04T05:06:07.089Z', '9999-12-31T23:59:59.999Z'].map((time) => Date.parse(time));
    for (let time = 0; time < 2; time += 1) {
      await at.db.database.transaction((transaction) => writePoints(transaction, [{ jobId, attemptNumber: 2 ** 31 - 1, series: [{ key: 'loss', steps, values, times }] }]));
      const { rows } = await at.db.pool.query(`select step::text, encode(float8send(value), 'hex') as value, (extract(epoch from time) * 1000)::text as ms, attempt_number as attempt
        from metric_points where job_id = $1 order by metric_points.step`, [jobId]);
      expect(rows.map(({ step, value, ms, attempt }) => ({ step: Number(step), value: Buffer.from(value, 'hex').readDoubleBE(), ms: Number(ms), attempt })))
        .toEqual(steps.map((step, index) => ({ step, value: values[index], ms: times[index], attempt: 2 ** 31 - 1 })));
    }
  });

  test('a connection that breaks while points are copied is said to the caller, and the same points again are exact', async () => {
    const jobId = freshJob();
    const steps = Array.from({ length: 300_000 }, (_, step) => step);
    const series = [{ key: 'loss', steps, values: steps, times: steps.map((step) => epoch + step) }];
    const write = (): Promise<unknown> => transact(at.db.database, (transaction) => writePoints(transaction, [{ jobId, attemptNumber: 1, series }]));
    const failure = write().then(() => null, (error: unknown) => error);
    const breakIt = `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and state = 'active' and query like 'copy metric_points%'`;
    await expect.poll(async () => (await at.db.pool.query(breakIt)).rowCount, { timeout: 60_000, interval: 1 }).toBe(1);
    expect(await failure).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    expect(await storedSummaries(jobId)).toEqual(new Map());
    await write();
    expect((await storedSummaries(jobId)).get('loss')).toMatchObject({ count: 300_000, last_step: 299_999, min_value: 0, max_value: 299_999 });
  }, 120_000);

  test('gives every series a number of its own when many writers bring new keys at once', async () => {
    const jobId = freshJob();
    await Promise.all(Array.from({ length: 12 }, (_, writer) => apply(jobId, { attempt: 1, points: [{ key: `k${writer}`, step: writer, value: writer }, { key: 'shared', step: writer, value: writer }] }, 0)));
    const { rows } = await at.db.pool.query('select key, series_number, point_count::int as count from metric_series where job_id = $1', [jobId]);
    expect(new Set(rows.map((row) => row.series_number)).size).toBe(13);
    expect(rows.find((row) => row.key === 'shared').count).toBe(12);
  });

  test('takes in 200,000 points in a few seconds', async () => {
    const jobId = freshJob();
    const steps = Array.from({ length: 100_000 }, (_, step) => step);
    const column = { steps, values: steps.map((step) => Math.sin(step)), times: steps.map((step) => timeOf(0, step).getTime()) };
    const started = performance.now();
    await at.db.database.transaction((transaction) => writePoints(transaction, [{ jobId, attemptNumber: 1, series: [{ key: 'a', ...column }, { key: 'b', ...column }] }]));
    // Two to three seconds alone on two cores.
    expect(performance.now() - started).toBeLessThan(15_000);
    expect([...(await storedSummaries(jobId)).values()]).toMatchObject([{ count: 100_000, last_step: 99_999 }, { count: 100_000 }]);
  });
});

describe('recordMetrics', () => {
  test('takes columns with non-finite values named aside, and appends one event', async () => {
    const jobId = freshJob();
    const answer = await recordMetrics(at.context, { jobId, series: [
      { key: 'loss', steps: [1, 2, 3], values: [0.5, null, 0.25], nonFinite: [{ index: 1, value: '-Infinity' }], times: [1, 2, 3].map((step) => timeOf(0, step)) },
      { key: 'acc', steps: [1], values: [0.1] },
    ] });
    expect(answer).toEqual({ pointCount: 4, refusedPointCount: 0 });
    expect((await storedSummaries(jobId)).get('loss')).toMatchObject({ count: 3, last_value: 0.25, min_value: 0.25, max_value: 0.5 });
    const { rows } = await at.db.pool.query("select payload, attempt_number from events where job_id = $1 and kind = 'METRICS_APPENDED'", [jobId]);
    expect(rows).toEqual([{ attempt_number: 1, payload: { series: expect.arrayContaining([{ key: 'loss', firstStep: 1, lastStep: 3, count: 3 }, { key: 'acc', firstStep: 1, lastStep: 1, count: 1 }]) } }]);
  });

  test('refuses columns that do not fit together, naming each fault', async () => {
    const jobId = freshJob();
    await expect(recordMetrics(at.context, { jobId, series: [
      { key: '', steps: [1, -1], values: [1], times: [] },
      { key: 'x', steps: [1, 2.5], values: [null, Number.NaN], nonFinite: [{ index: 1, value: 'NaN' }] },
    ] })).rejects.toMatchObject({ faults: [
      { field: ['series', '0', 'key'] }, { field: ['series', '0', 'values'] }, { field: ['series', '0', 'times'] }, { field: ['series', '0', 'steps', '1'] },
      { field: ['series', '1', 'steps', '1'] }, { field: ['series', '1', 'values', '0'] }, { field: ['series', '1', 'values', '1'] }, { field: ['series', '1', 'nonFinite'] },
    ] });
    await expect(recordMetrics(at.context, { jobId: 'nobody', series: [] })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(recordMetrics(at.context, { jobId, attempt: 2, series: [] })).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    const steps = Array.from({ length: 100_001 }, (_, step) => step);
    await expect(recordMetrics(at.context, { jobId, series: [{ key: 'x', steps, values: steps }] })).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });
});
