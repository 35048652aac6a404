import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BUCKET_LEVELS, LEVEL_SHIFT } from '../../src/db/metric-bucket-levels.ts';
import { pointsOfSeries } from '../../src/db/read/metrics.ts';
import { writePoints } from '../../src/db/write/metrics.ts';
import { actionTest, freshJobs, type ActionTest } from '../support/actions.ts';

let at: ActionTest;
let freshJob: () => string;
beforeAll(async () => {
  at = await actionTest();
  freshJob = await freshJobs(at, 40);
});
afterAll(() => at.db.drop());

const timeMsOf = (step: number, attempt: number): number => 1_760_000_000_000 + (step % 1_000_000) * 10 + attempt;
const valueOf = (step: number, attempt: number): number => (step % 97 === 13 ? Number.NaN : step % 101 === 7 ? Infinity : Math.round(1000 * Math.sin(step / 50 + attempt)));

async function log(jobId: string, attempt: number, steps: number[]): Promise<void> {
  await at.db.database.transaction((transaction) => writePoints(transaction, [{ jobId, attemptNumber: attempt, series: [
    { key: 'loss', steps, values: steps.map((step) => valueOf(step, attempt)), times: steps.map((step) => timeMsOf(step, attempt)) }] }]));
}

const range = (from: number, to: number, stride = 1): number[] => Array.from({ length: Math.max(0, Math.ceil((to - from) / stride)) }, (_, index) => from + index * stride);

interface Bucket { level: number; bucket: number; count: number; finite: number; least: number[] | null; greatest: number[] | null; holdsNonFinite: boolean }

/** The buckets as they must be, from all that was logged. */
function expectedBuckets(newest: Map<number, number>, shift: number, below: number): Bucket[] {
  const made = new Map<string, Bucket>();
  for (const [step, attempt] of [...newest].sort(([a], [b]) => a - b)) {
    if (step >= below) continue;
    const value = valueOf(step, attempt);
    for (const level of Array.from({ length: BUCKET_LEVELS }, (_, index) => index)) {
      const bucket = Math.floor(step / 2 ** (shift + level * LEVEL_SHIFT));
      const place = `${level} ${bucket}`;
      const known = made.get(place) ?? { level, bucket, count: 0, finite: 0, least: null, greatest: null, holdsNonFinite: false };
      made.set(place, known);
      known.count += 1;
      if (!Number.isFinite(value)) known.holdsNonFinite = true;
      else {
        known.finite += 1;
        if (known.least === null || value < known.least[0]!) known.least = [value, step, timeMsOf(step, attempt)];
        if (known.greatest === null || value > known.greatest[0]!) known.greatest = [value, step, timeMsOf(step, attempt)];
      }
    }
  }
  return [...made.values()].sort((a, b) => a.level - b.level || a.bucket - b.bucket);
}

async function storedBuckets(jobId: string): Promise<Bucket[]> {
  const { rows } = await at.db.pool.query<Bucket>(`select level, bucket::float8, point_count::int as count, finite_count::int as finite, least, greatest, non_finite is not null as "holdsNonFinite"
    from metric_buckets where job_id = $1 order by level, bucket`, [jobId]);
  return rows;
}

interface StoredSummary { point_count: number; bucket_shift: number | null; below: number; min_value: number; min_step: number; max_value: number; max_step: number; last_step: number; last_value: number }

async function summary(jobId: string): Promise<StoredSummary> {
  const { rows: [row] } = await at.db.pool.query<StoredSummary>(`select point_count::int, bucket_shift, bucketed_below_step::float8 as below, min_value, min_step::float8, max_value, max_step::float8,
    last_step::float8, last_value from metric_series where job_id = $1`, [jobId]);
  return row!;
}

async function expectExact(jobId: string, newest: Map<number, number>): Promise<void> {
  const stored = await summary(jobId);
  const points = [...newest].map(([step, attempt]) => ({ step, value: valueOf(step, attempt) })).sort((a, b) => a.step - b.step);
  const finite = points.filter(({ value }) => Number.isFinite(value));
  const least = finite.reduce((best, point) => (point.value < best.value ? point : best));
  const greatest = finite.reduce((best, point) => (point.value > best.value ? point : best));
  expect(stored).toMatchObject({
    point_count: points.length, min_value: least.value, min_step: least.step, max_value: greatest.value, max_step: greatest.step,
    last_step: finite.at(-1)!.step, last_value: finite.at(-1)!.value,
  });
  if (stored.bucket_shift !== null) expect(await storedBuckets(jobId)).toEqual(expectedBuckets(newest, stored.bucket_shift, stored.below));
}

/** Parts of a run in any order: pieces of its steps, by one attempt or another. */
const pieces = fc.array(fc.record({ attempt: fc.integer({ min: 1, max: 3 }), from: fc.integer({ min: 0, max: 9_000 }), length: fc.integer({ min: 1, max: 3_000 }), every: fc.constantFrom(1, 1, 7) }), { minLength: 3, maxLength: 7 });

describe('the buckets of a long series', () => {
  test('and its summary are exact, whatever the order in which its points come and whichever attempt logs them', async () => {
    await fc.assert(fc.asyncProperty(pieces, fc.constantFrom(1, 1000), async (parts, stride) => {
      const jobId = freshJob();
      const newest = new Map<number, number>();
      for (const { attempt, from, length, every } of [{ attempt: 1, from: 2_000, length: 5_000, every: 1 }, ...parts]) {
        const steps = range(from * stride, (from + length) * stride, every * stride);
        await log(jobId, attempt, steps);
        for (const step of steps) newest.set(step, Math.max(newest.get(step) ?? 0, attempt));
        await expectExact(jobId, newest);
      }
    }), { numRuns: 12 });
  }, 180_000);

  test('follow a run that logs a little at a time, and lag by few', async () => {
    const jobId = freshJob();
    const newest = new Map<number, number>();
    for (const from of range(0, 12_000, 300)) {
      const steps = range(from, from + 300);
      await log(jobId, 1, steps);
      for (const step of steps) newest.set(step, 1);
    }
    await expectExact(jobId, newest);
    const { below } = await summary(jobId);
    expect(12_000 - below).toBeLessThan(2_000);
  });

  test('take a jump of the steps, as from a counter to the time of day, and are exact on both sides of it', async () => {
    const jobId = freshJob();
    const newest = new Map<number, number>();
    for (const from of [0, 1_760_000_000_000, 9_007_199_254_740_000]) {
      const steps = range(from, Math.min(from + 5_000, Number.MAX_SAFE_INTEGER));
      await log(jobId, 1, steps);
      for (const step of steps) newest.set(step, 1);
      await expectExact(jobId, newest);
    }
    const [chart] = await pointsOfSeries(at.db.database, [{ jobId, seriesNumber: 1 }], 200);
    expect([chart!.steps[0], chart!.steps.at(-1)]).toEqual([0, Number.MAX_SAFE_INTEGER - 1]);
  });

  test('a chart drawn from them shows the extremes and the ends that the points have, and no more points than asked for', async () => {
    const jobId = freshJob();
    const steps = range(0, 60_000);
    await log(jobId, 1, steps);
    for (const query of [{}, { fromStep: 10_001, toStep: 49_999 }, { fromStep: 59_000 }, { toStep: 20_000 }]) {
      const asked = steps.filter((step) => step >= (query.fromStep ?? 0) && step <= (query.toStep ?? Infinity));
      const [chart] = await pointsOfSeries(at.db.database, [{ jobId, seriesNumber: 1, ...query }], 200);
      expect(chart!.reduced).toBe(true);
      expect(chart!.steps.length).toBeLessThanOrEqual(200);
      expect(chart!.steps).toEqual([...new Set(chart!.steps)].sort((a, b) => a - b));
      expect([chart!.steps[0], chart!.steps.at(-1)]).toEqual([asked[0], asked.at(-1)]);
      const finite = (values: number[]): number[] => values.filter((value) => Number.isFinite(value));
      const all = finite(asked.map((step) => valueOf(step, 1)));
      expect([Math.min(...finite(chart!.values)), Math.max(...finite(chart!.values))]).toEqual([Math.min(...all), Math.max(...all)]);
      for (const [index, step] of chart!.steps.entries()) expect([chart!.values[index], chart!.times[index]]).toEqual([valueOf(step, 1), timeMsOf(step, 1)]);
    }
  });
});
