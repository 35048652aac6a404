import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { jobCount, jobPage, jobPagesOfParents, leaderboardsOf } from '../../src/db/read/jobs-of-experiments.ts';
import { JobTables } from '../../src/db/read/job-tables.ts';
import type { JobFilter } from '../../src/domain/job-filter.ts';
import type { JobOrder } from '../../src/domain/job-order.ts';
import type { Json } from '../../src/domain/job-spec.ts';
import { JOB_STATES, type JobState } from '../../src/domain/states.ts';
import { seedExperiment, seedJobs, seedSweep, type SeedJob } from '../graphql/fixture.ts';
import { testDatabase, type TestDatabase } from '../support/database.ts';

const VALUES: Json[] = [0, 1, 1.5, -2, 1e-7, 12_345_678, '1', 'a', 'é', '', true, false, null, [1, 2], ['x'], { b: 1, a: { c: 2 } }];
const NUMBERS = VALUES.filter((value) => typeof value === 'number');
const TAGS = ['x', 'y', 'lr=0.1'];
/** Equal ones, and some whose order and small letters are not those of JavaScript. */
const NAMES = ['lr=0.1', 'LR=0.1', 'lr=0.1 seed=1', 'École', 'école', 'İzmir', '\uff5a', '\u{1f600}', 'straße', 'STRASSE', ' ', 'job', 'job'];
const START = Date.UTC(2026, 1, 1);

let db: TestDatabase;
let experimentId: string;
let otherId: string;
let sweepIds: string[];

beforeAll(async () => {
  db = await testDatabase();
  experimentId = await seedExperiment(db);
  otherId = await seedExperiment(db);
  sweepIds = [await seedSweep(db, experimentId), await seedSweep(db, experimentId)];
  await seedJobs(db, experimentId, Array.from({ length: 120 }, (_, index): SeedJob => ({
    state: JOB_STATES[index % JOB_STATES.length]!, cluster: ['hpc', 'local'][index % 2]!, priority: [100, 10, 1000][index % 3]!, sweepId: [...sweepIds, null][index % 3]!,
    tags: TAGS.filter((_, tag) => (index >> tag) % 2 === 1),
    config: { lr: NUMBERS[index % NUMBERS.length]!, ...(index % 5 === 0 ? {} : { any: VALUES[index % VALUES.length]! }), deep: { list: [index % 3, 'z'], n: index % 4 } },
    // Several at the same moment, and some with microseconds.
    createdAt: new Date(Date.UTC(2026, 0, 1) + (index >> 3) * 1234),
    name: NAMES[index % NAMES.length]!, startedAt: index % 4 === 0 ? null : new Date(START + (index % 7) * 1000), finishedAt: index % 3 === 0 ? null : new Date(START + ((index * 7) % 11) * 1000),
    metrics: { ...(index % 6 === 0 ? {} : { loss: [[1, (index % 9) / 4 - 1], [2, index % 11 === 0 ? Number.NaN : (index % 13) / 8]] }), ...(index % 10 === 3 ? { odd: [[5, Number.NaN]] } : {}) },
  })));
  await db.pool.query(`update jobs set created_at = created_at + interval '7 microseconds', started_at = started_at + interval '1 microsecond' where priority = 10`);
  await seedJobs(db, otherId, [{ config: { lr: 1 }, metrics: { loss: [[1, -5]] } }]);
}, 60_000);
afterAll(() => db?.drop());

/** The same question asked of a table in memory and of the database. */
async function inBothWays<Answer>(ask: (sources: { database: TestDatabase['database']; tables: JobTables }) => Promise<Answer>, isInMemory = true): Promise<[Answer, Answer]> {
  const memory = new JobTables(db.database, { minJobs: 1 });
  const read = vi.spyOn(memory, 'read');
  const fromMemory = await ask({ database: db.database, tables: memory });
  expect(read.mock.calls.length > 0).toBe(isInMemory);
  return [fromMemory, await ask({ database: db.database, tables: new JobTables(db.database) })];
}

async function walk(sources: Parameters<typeof jobPage>[0], filter: JobFilter, order: JobOrder[], size: number): Promise<string[][]> {
  const pages: string[][] = [];
  for (let after: string | null = null; pages.length < 200;) {
    const page = await jobPage(sources, { experimentIds: [experimentId], ...filter }, order, { first: size, after });
    pages.push(page.rows.map(({ row, cursor }) => `${row.id} ${cursor}`));
    if (!page.hasNextPage) return pages;
    after = page.rows.at(-1)!.cursor;
  }
  throw new Error('the pages do not end');
}

const bounds = fc.record({ lt: fc.constantFrom(...NUMBERS), gte: fc.constantFrom(...NUMBERS), lte: fc.constantFrom(...NUMBERS), gt: fc.constantFrom(...NUMBERS) }, { requiredKeys: [] });
const configKey = fc.constantFrom('lr', 'any', 'deep', 'deep.n', 'deep.list', 'deep.list.0', 'none', 'any.a.c');
const configCondition = fc.oneof(
  fc.record({ key: configKey, eq: fc.constantFrom(...VALUES, 2, { a: { c: 2 }, b: 1 }) }), fc.record({ key: configKey, ne: fc.constantFrom(...VALUES) }),
  fc.record({ key: configKey, in: fc.subarray(VALUES) }), fc.record({ key: configKey, exists: fc.boolean() }),
  fc.tuple(configKey, bounds.filter((each) => Object.keys(each).length > 0)).map(([key, given]) => ({ key, ...given })),
);
const metricCondition = fc.tuple(fc.constantFrom('loss', 'odd', 'none'), fc.constantFrom('LAST' as const, 'MIN' as const, 'MAX' as const), bounds)
  .map(([key, at, given]) => ({ key, at, ...given }));
const time = fc.record({ from: fc.constantFrom(new Date(Date.UTC(2026, 0, 1) + 1234), new Date(Date.UTC(2026, 0, 1) + 1235)), to: fc.constantFrom(new Date(Date.UTC(2026, 0, 1) + 6 * 1234)) }, { requiredKeys: [] });
const laterTime = fc.record({ from: fc.constantFrom(new Date(START), new Date(START + 2000)), to: fc.constantFrom(new Date(START + 2000), new Date(START + 5000)) }, { requiredKeys: [] });
const states = fc.subarray<JobState>([...JOB_STATES]);
const anyFilter = (): fc.Arbitrary<JobFilter> => fc.record({
  config: fc.array(configCondition, { maxLength: 2 }), metrics: fc.array(metricCondition, { maxLength: 1 }), states, clusters: fc.subarray(['hpc', 'local', 'away']),
  sweepIds: fc.subarray([...sweepIds, 'nonsense']).map((ids) => ids.map((id) => id.toUpperCase())), tagsAll: fc.subarray(TAGS), tagsAny: fc.subarray(TAGS), tagsNone: fc.subarray(['y', 'nowhere']),
  priorityMin: fc.constantFrom(10, 100), priorityMax: fc.constantFrom(10, 100), createdAt: time, startedAt: laterTime, finishedAt: laterTime,
  nameContains: fc.constantFrom('', 'LR', 'é', 'É', 'i', 'İ', 'ß', 'SS', '\u{1f600}', 'nowhere'),
}, { requiredKeys: [] });
const orderTerm: fc.Arbitrary<JobOrder> = fc.oneof(
  fc.record({ field: fc.constantFrom('CREATED_AT' as const, 'STARTED_AT' as const, 'FINISHED_AT' as const, 'NAME' as const, 'PRIORITY' as const, 'STATE' as const), descending: fc.boolean() }),
  fc.record({ field: fc.constant('CONFIG' as const), key: fc.constantFrom('lr', 'deep.n', 'deep.list.0', 'none'), descending: fc.boolean() }),
  fc.record({ field: fc.constant('METRIC' as const), key: fc.constantFrom('loss', 'odd', 'none'), at: fc.constantFrom('LAST' as const, 'MIN' as const, 'MAX' as const), descending: fc.boolean() }),
);

describe('a table in memory', () => {
  it('chooses the jobs that the database would, in the same order, page by page', async () => {
    await fc.assert(fc.asyncProperty(anyFilter(), fc.array(orderTerm, { minLength: 1, maxLength: 2 }), fc.integer({ min: 1, max: 60 }), async (filter, order, size) => {
      const isByAge = Object.values(filter).flat().length === 0 && Object.keys(filter).every((name) => name === 'config' || name === 'metrics') && order.every(({ field }) => field === 'CREATED_AT');
      const [fromMemory, fromDatabase] = await inBothWays((sources) => walk(sources, filter, order, size), !isByAge);
      expect(fromMemory).toEqual(fromDatabase);
      const [count, countOfDatabase] = await inBothWays((sources) => jobCount(sources, { experimentIds: [experimentId], states: [...JOB_STATES], ...filter }));
      expect(count).toBe(countOfDatabase);
    }), { numRuns: 60 });
  }, 120_000);

  it('ranks configurations as the database would', async () => {
    const groupBy = fc.option(fc.subarray(['lr', 'any', 'deep', 'deep.n', 'deep.list.0', 'none']), { nil: null });
    await fc.assert(fc.asyncProperty(groupBy, fc.constantFrom('MIN' as const, 'MAX' as const), fc.constantFrom('loss', 'odd', 'none'), states, fc.integer({ min: 1, max: 130 }), async (keys, goal, metric, wanted, first) => {
      const [fromMemory, fromDatabase] = await inBothWays((sources) => leaderboardsOf(sources, [{ experimentId, metric, goal }], { groupBy: keys, states: wanted, first }));
      // Sums may differ in their last digit, by the order in which they were added up; groups that are equal but for it may change places.
      const means = (boards: typeof fromMemory) => boards[0]!.map(({ mean }) => expect.closeTo(mean, 9));
      expect(fromMemory[0]!.map(({ mean }) => mean)).toEqual(means(fromDatabase));
      const whole = (boards: typeof fromMemory) => new Map(boards[0]!.map(({ rank: _, mean, standardDeviation, ...rest }) => [JSON.stringify(rest.groupValues) + (keys === null ? rest.bestJobId : ''),
        { ...rest, mean: mean.toPrecision(9), standardDeviation: standardDeviation?.toPrecision(6) }]));
      if (first > 120) expect(whole(fromMemory)).toEqual(whole(fromDatabase));
    }), { numRuns: 60 });
  }, 120_000);

  it('ranks runs that diverged to the edge of what a double holds', async () => {
    const id = await seedExperiment(db);
    const job = (lr: number, value: number): SeedJob => ({ state: 'COMPLETED', config: { lr }, metrics: { loss: [[1, value]] } });
    await seedJobs(db, id, [job(0.1, 2), job(0.1, 4), job(0.5, 3), job(0.5, 1e200), job(0.9, 1.5e308), job(0.9, 1.7e308), job(2, -1.7e308), job(2, -1.6e308), job(3, 1.7e308), job(3, -1.7e308)]);
    for (const goal of ['MIN', 'MAX'] as const) {
      const [fromMemory, fromDatabase] = await inBothWays((sources) => leaderboardsOf(sources, [{ experimentId: id, metric: 'loss', goal }], { groupBy: ['lr'], states: ['COMPLETED'], first: 10 }));
      const shown = (boards: typeof fromMemory) => boards[0]!.map(({ mean, standardDeviation, ...rest }) => ({ ...rest, mean: mean.toPrecision(6), deviation: standardDeviation?.toPrecision(3) }));
      expect(shown(fromMemory)).toEqual(shown(fromDatabase));
    }
  });

  it('leaves to the database what is no order of numbers, and what it does not hold', async () => {
    const filters: [JobFilter, JobOrder[], boolean][] = [
      [{ states: ['COMPLETED'] }, [{ field: 'CONFIG', key: 'any', descending: false }], true], [{ states: ['COMPLETED'] }, [{ field: 'NAME', descending: true }], true],
      [{ project: 'vision', states: ['COMPLETED'] }, [{ field: 'NAME', descending: true }], false], [{}, [], false], [{}, [{ field: 'CREATED_AT', descending: true }], false],
    ];
    for (const [filter, order, isInMemory] of filters) {
      const [fromMemory, fromDatabase] = await inBothWays((sources) => walk(sources, filter, order, 7), isInMemory);
      expect(fromMemory.flat().length).toBeGreaterThan(0);
      expect(fromMemory).toEqual(fromDatabase);
    }
  });

  it('leaves values to the database that are too long to be held', async () => {
    const id = await seedExperiment(db);
    const long = ['x', 'y'].map((end) => `${'v'.repeat(2000)}${end}`);
    await seedJobs(db, id, [...long, long[0]!, 'short'].map((text, index) => ({ state: 'COMPLETED' as const, config: { text, index }, metrics: { loss: [[1, index]] as [number, number][] } })));
    for (const filter of [{ config: [{ key: 'text', eq: long[0]! }] }, { config: [{ key: 'text', ne: 'short' }] }, { config: [{ key: 'index', gt: 0 }] }]) {
      const [fromMemory, fromDatabase] = await inBothWays(async (sources) => (await jobPage(sources, { experimentIds: [id], ...filter }, [], { first: 9, after: null })).rows.map(({ row }) => row.id));
      expect(fromMemory).toEqual(fromDatabase);
      expect(fromMemory.length).toBeGreaterThan(1);
    }
    const [fromMemory, fromDatabase] = await inBothWays((sources) => leaderboardsOf(sources, [{ experimentId: id, metric: 'loss', goal: 'MIN' }], { groupBy: ['text'], states: ['COMPLETED'], first: 9 }));
    expect(fromMemory).toEqual(fromDatabase);
    expect(fromMemory[0]).toHaveLength(3);
  });

  it('answers for large and small experiments together, in the order asked for', async () => {
    const tables = new JobTables(db.database, { minJobs: 2 });
    const read = vi.spyOn(tables, 'read');
    const pages = await jobPagesOfParents({ database: db.database, tables }, { parent: 'EXPERIMENT', filter: { config: [{ key: 'lr', eq: 1 }] }, order: [] }, { first: 1, after: null }, [otherId, experimentId]);
    expect(pages.map(({ rows }) => rows.map(({ row }) => row.experimentId))).toEqual([[otherId], [experimentId]]);
    expect(read.mock.calls.map(([id]) => id)).toEqual([experimentId]);
  });

  it('refuses a cursor of another order, as the database does', async () => {
    const sources = { database: db.database, tables: new JobTables(db.database, { minJobs: 1 }) };
    const { rows } = await jobPage(sources, { experimentIds: [experimentId] }, [{ field: 'PRIORITY', descending: false }], { first: 1, after: null });
    await expect(jobPage(sources, { experimentIds: [experimentId] }, [{ field: 'METRIC', key: 'loss', at: 'MIN', descending: false }], { first: 1, after: rows[0]!.cursor }))
      .rejects.toThrow('does not belong to this list in this order');
  });
});
