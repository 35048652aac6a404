import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LEVEL_SHIFT } from '../../src/db/metric-bucket-levels.ts';
import { pointsOfSeries } from '../../src/db/read/metrics.ts';
import { writePoints, type WrittenPoints } from '../../src/db/write/metrics.ts';
import { markRolledUp, rollUpStretch } from '../../src/db/write/roll-up.ts';
import { actionTest, freshJobs, type ActionTest } from '../support/actions.ts';

let at: ActionTest;
let freshJob: () => string;
beforeAll(async () => {
  at = await actionTest();
  freshJob = await freshJobs(at, 200);
  await at.db.pool.query(`insert into projects (name, exact_days, points_per_series) values ('vision', 1, 1000)`);
  await at.db.pool.query(`update jobs set state = 'COMPLETED', finished_at = now() - interval '2 days', harvested_at = now()`);
});
afterAll(() => at.db.drop());

const timeOf = (step: number, attempt: number): number => 1_760_000_000_000 + step * 10 + attempt;
const valueOf = (step: number, attempt: number): number => (step % 97 === 13 ? Number.NaN : step % 101 === 7 ? Infinity : Math.round(1000 * Math.sin(step / 50 + attempt)));
const range = (from: number, to: number, stride = 1): number[] => Array.from({ length: Math.max(0, Math.ceil((to - from) / stride)) }, (_, index) => from + index * stride);

async function log(jobId: string, attempt: number, steps: number[]): Promise<WrittenPoints> {
  const [written] = await at.db.database.transaction((transaction) => writePoints(transaction, [{ jobId, attemptNumber: attempt, series: [
    { key: 'loss', steps, values: steps.map((step) => valueOf(step, attempt)), times: steps.map((step) => timeOf(step, attempt)) }] }]));
  return written!;
}

/** Rolls up all of the series; answers in how many transactions. */
async function rollUp(jobId: string, pointsPerSeries: number, pointsPerTransaction: number): Promise<number> {
  for (let count = 1; ; count += 1) {
    if (!await at.db.database.transaction((transaction) => rollUpStretch(transaction, { jobId, seriesNumber: 1, pointsPerSeries }, pointsPerTransaction))) return count;
  }
}

interface Stored { bucket_shift: number; bucketed: number; below: number | null; level: number | null; [column: string]: unknown }

async function seriesOf(jobId: string): Promise<Stored> {
  const { rows: [row] } = await at.db.pool.query<Stored>(`select *, bucketed_below_step::float8 as bucketed, rolled_up_below_step::float8 as below, rolled_up_level as level from metric_series where job_id = $1`, [jobId]);
  return row!;
}

const summaryOf = ({ point_count, last_step, last_value, last_time, min_step, min_value, min_time, max_step, max_value, max_time }: Stored) => (
  { point_count, last_step, last_value, last_time, min_step, min_value, min_time, max_step, max_value, max_time });

/** Without the sums, whose last bits depend on the order in which values are added. */
async function bucketsOf(jobId: string): Promise<{ level: number; bucket: number; least: number[] | null; greatest: number[] | null; non_finite: number[] | null }[]> {
  return (await at.db.pool.query(`select level, bucket::float8, point_count::int, finite_count::int, least, greatest, non_finite from metric_buckets where job_id = $1 order by level, bucket`, [jobId])).rows;
}

async function stepsOf(jobId: string): Promise<number[]> {
  return (await at.db.pool.query<{ step: number }>('select distinct step::float8 from metric_points where job_id = $1 order by step', [jobId])).rows.map(({ step }) => step);
}

const chartOf = async (jobId: string, maxPoints: number) => (await pointsOfSeries(at.db.database, [{ jobId, seriesNumber: 1 }], maxPoints))[0]!;

describe('a long series that is rolled up', () => {
  test('keeps its summary and the buckets from a level on exactly, and of the points the extremes, the ends and what checkpoints refer to', async () => {
    const jobId = freshJob();
    await log(jobId, 1, range(0, 40_000));
    await at.db.pool.query(`insert into checkpoints (job_id, path, id, attempt_number, state, step, size_bytes, file_count, written_at)
      select $1, '/c' || step, gen_random_uuid(), 1, 'COMPLETE', step, 1, 1, now() from unnest(array[777, 12345, 39999]) as step`, [jobId]);
    const [before, bucketsBefore, chartBefore] = [await seriesOf(jobId), await bucketsOf(jobId), await chartOf(jobId, 200)];
    expect(await rollUp(jobId, 1000, 5_000)).toBeGreaterThan(5);
    const after = await seriesOf(jobId);
    expect(summaryOf(after)).toEqual(summaryOf(before));
    const [level, below] = [after.level!, after.below!];
    expect(level).toBeGreaterThan(0);
    const width = 2 ** (after.bucket_shift + LEVEL_SHIFT * level);
    expect(below).toBe(Math.floor(before.bucketed / width) * width);
    const isKept = (bucket: { level: number; bucket: number }): boolean => bucket.level >= level || bucket.bucket * 2 ** (after.bucket_shift + LEVEL_SHIFT * bucket.level) >= below;
    expect(await bucketsOf(jobId)).toEqual(bucketsBefore.filter(isKept));
    const steps = new Set(await stepsOf(jobId));
    const extremes = bucketsBefore.filter((bucket) => bucket.level === level).flatMap(({ least, greatest, non_finite }) => [least, greatest, non_finite].flatMap((point) => point?.[1] ?? []));
    for (const step of [0, 777, 12_345, ...extremes, ...range(below, 40_000)]) expect(steps).toContain(step);
    expect(steps.size).toBeLessThan(4_000);
    expect(await chartOf(jobId, 200)).toEqual(chartBefore);
    const whole = await chartOf(jobId, 10_000);
    expect(whole.reduced).toBe(true);
    expect(whole.steps).toEqual([...steps]);
    expect(await rollUp(jobId, 1000, 5_000)).toBe(1);
    expect(new Set(await stepsOf(jobId))).toEqual(steps);
  });

  test('refuses points below the steps that are still exact, counts them on the job, and takes all others exactly', async () => {
    await fc.assert(fc.asyncProperty(fc.integer({ min: 100, max: 3000 }), fc.integer({ min: 4_000, max: 9_000 }), fc.array(
      fc.record({ attempt: fc.integer({ min: 1, max: 3 }), from: fc.integer({ min: 0, max: 12_000 }), length: fc.integer({ min: 1, max: 3_000 }), every: fc.constantFrom(1, 7), rollsUp: fc.boolean() }), { minLength: 1, maxLength: 4 },
    ), async (pointsPerSeries, firstLength, parts) => {
      const [jobId, twin] = [freshJob(), freshJob()];
      for (const id of [jobId, twin]) await log(id, 2, range(0, firstLength + 1_000));
      let refusedCount = 0;
      for (const { attempt, from, length, every, rollsUp } of [{ attempt: 2, from: 0, length: 0, every: 1, rollsUp: true }, ...parts]) {
        const steps = range(from, from + length, every);
        const below = (await seriesOf(jobId)).below ?? 0;
        const taken = steps.filter((step) => step >= below);
        expect((await log(jobId, attempt, steps)).refusedCount).toBe(steps.length - taken.length);
        refusedCount += steps.length - taken.length;
        await log(twin, attempt, taken);
        if (rollsUp) await rollUp(jobId, pointsPerSeries, 2_000);
        const [rolled, exact] = [await seriesOf(jobId), await seriesOf(twin)];
        expect(summaryOf(rolled)).toEqual(summaryOf(exact));
        const present = (bucket: { level: number; bucket: number }): boolean => bucket.level >= rolled.level! || bucket.bucket * 2 ** (rolled.bucket_shift + LEVEL_SHIFT * bucket.level) >= rolled.below!;
        expect(await bucketsOf(jobId)).toEqual((await bucketsOf(twin)).filter(present));
      }
      const { rows } = await at.db.pool.query<{ count: number }>('select count::int from dropped_items where job_id = $1', [jobId]);
      expect(rows).toEqual(refusedCount === 0 ? [] : [{ count: refusedCount }]);
    }), { numRuns: 12 });
  }, 180_000);

  test('one whose job runs again since it was found due keeps every point, and so does one whose project keeps them for ever after all', async () => {
    const jobId = freshJob();
    await log(jobId, 1, range(0, 12_000));
    await at.db.pool.query(`update jobs set state = 'QUEUED', finished_at = null, harvested_at = null where id = $1`, [jobId]);
    expect(await rollUp(jobId, 500, 2_000)).toBe(1);
    await at.db.pool.query(`update jobs set state = 'COMPLETED', finished_at = now() - interval '2 days', harvested_at = now() where id = $1`, [jobId]);
    await at.db.pool.query('update projects set exact_days = null');
    expect(await rollUp(jobId, 500, 2_000)).toBe(1);
    await at.db.database.transaction((transaction) => markRolledUp(transaction, jobId));
    expect((await at.db.pool.query('select rolled_up_at from jobs where id = $1', [jobId])).rows).toEqual([{ rolled_up_at: null }]);
    expect(await stepsOf(jobId)).toHaveLength(12_000);
    await at.db.pool.query('update projects set exact_days = 1');
    expect(await rollUp(jobId, 500, 2_000)).toBeGreaterThan(1);
  });

  test('a job to which points come between the last stretch and the note that all is done is looked at again', async () => {
    const jobId = freshJob();
    const isDone = async () => (await at.db.pool.query<{ done: boolean }>('select rolled_up_at is not null as done from jobs where id = $1', [jobId])).rows[0]!.done;
    const mark = () => at.db.database.transaction((transaction) => markRolledUp(transaction, jobId));
    await log(jobId, 1, range(0, 12_000));
    await rollUp(jobId, 500, 20_000);
    await log(jobId, 1, range(12_000, 24_000));
    await mark();
    expect(await isDone()).toBe(false);
    await rollUp(jobId, 500, 20_000);
    await mark();
    expect(await isDone()).toBe(true);
    await log(jobId, 1, range(24_000, 24_010));
    expect(await isDone()).toBe(false);
  });

  test('a job is not made to run again while its history is rolled up', async () => {
    const jobId = freshJob();
    await log(jobId, 1, range(0, 12_000));
    await at.db.database.transaction(async (transaction) => {
      await rollUpStretch(transaction, { jobId, seriesNumber: 1, pointsPerSeries: 500 });
      await expect(at.db.pool.query('select from jobs where id = $1 for no key update nowait', [jobId])).rejects.toMatchObject({ code: '55P03' });
    });
  });

  test('a short one is left as it is', async () => {
    const jobId = freshJob();
    await log(jobId, 1, range(0, 3_000));
    expect(await rollUp(jobId, 100, 5_000)).toBe(1);
    expect(await stepsOf(jobId)).toHaveLength(3_000);
    expect((await chartOf(jobId, 10_000)).reduced).toBe(false);
  });
});
