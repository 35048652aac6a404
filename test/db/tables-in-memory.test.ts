import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { bestCheckpointsAmong } from '../../src/db/read/best-checkpoints.ts';
import { JobTables, type JobSources } from '../../src/db/read/job-tables.ts';
import { progressOf, resultCount, resultPage } from '../../src/db/read/jobs-of-experiments.ts';
import type { ResultFilter } from '../../src/db/read/results.ts';
import type { ConfigCondition } from '../../src/domain/job-filter.ts';
import type { ResultOrder } from '../../src/domain/job-order.ts';
import type { Json } from '../../src/domain/job-spec.ts';
import { JOB_STATES } from '../../src/domain/states.ts';
import { seedExperiment, seedJobs, type SeedJob } from '../graphql/fixture.ts';
import { testDatabase, type TestDatabase } from '../support/database.ts';

const START = Date.UTC(2026, 0, 1);
const FINAL: Json[] = [0.5, 0.25, -1, 2];

let db: TestDatabase;
let experimentId: string;

beforeAll(async () => {
  db = await testDatabase();
  experimentId = await seedExperiment(db);
  await seedJobs(db, experimentId, Array.from({ length: 90 }, (_, index): SeedJob => ({
    state: JOB_STATES[index % JOB_STATES.length]!, name: `job ${index % 20}`, config: { lr: index % 4 },
    startedAt: index % 5 === 0 ? null : new Date(START + index * 60_000), finishedAt: index % 3 === 0 ? null : new Date(START + 10_000_000 + ((index * 37) % 90) * 1000),
    metrics: index % 7 === 0 ? {} : { loss: [[1, (index % 9) - 3], [2, index % 11]] },
    checkpoints: index % 4 === 1 ? [] : [{ step: 1, state: index % 4 === 2 ? 'PARTIAL' : 'COMPLETE' }, ...(index % 6 === 0 ? [{ step: 2, loggedMetrics: { loss: (index % 8) - 4 } }] : [])],
    ...(index % 3 === 1 ? { result: { finishedAt: new Date(START + (index % 13) * 1000), metrics: { ...(index % 2 === 0 ? { final: FINAL[index % FINAL.length]! } : {}), ...(index % 5 === 0 ? { mixed: index % 2 === 0 ? 'nan' : 1 } : {}) } } } : {}),
  })));
}, 60_000);
afterAll(() => db?.drop());
afterEach(() => { vi.useRealTimers(); });

/** The same question asked of a table in memory and of the database. */
async function inBothWays<Answer>(ask: (sources: JobSources) => Promise<Answer>): Promise<[Answer, Answer]> {
  const memory = new JobTables(db.database, { minJobs: 1 });
  const read = vi.spyOn(memory, 'read');
  const fromMemory = await ask({ database: db.database, tables: memory });
  expect(read).toHaveBeenCalled();
  return [fromMemory, await ask({ database: db.database, tables: new JobTables(db.database) })];
}

async function walk(sources: JobSources, filter: ResultFilter, order: ResultOrder[], size: number): Promise<string[][]> {
  const pages: string[][] = [];
  for (let after: string | null = null; pages.length < 100;) {
    const page = await resultPage(sources, filter, order, { first: size, after });
    pages.push(page.rows.map(({ row, cursor }) => `${row.jobId} ${cursor}`));
    if (!page.hasNextPage) return pages;
    after = page.rows.at(-1)!.cursor;
  }
  throw new Error('the pages do not end');
}

const order: fc.Arbitrary<ResultOrder> = fc.oneof(
  fc.record({ field: fc.constantFrom('FINISHED_AT' as const, 'NAME' as const), descending: fc.boolean() }),
  fc.record({ field: fc.constant('CONFIG' as const), key: fc.constantFrom('lr', 'none'), descending: fc.boolean() }),
  fc.record({ field: fc.constant('METRIC' as const), key: fc.constantFrom('loss', 'none'), at: fc.constantFrom('LAST' as const, 'MIN' as const), descending: fc.boolean() }),
  fc.record({ field: fc.constant('RESULT_METRIC' as const), key: fc.constantFrom('final', 'mixed', 'none'), descending: fc.boolean() }),
);
const time = fc.record({ from: fc.constantFrom(new Date(START), new Date(START + 3000)), to: fc.constantFrom(new Date(START + 3000), new Date(START + 9000)) }, { requiredKeys: [] });

describe('a table in memory', () => {
  it('lists the results that the database would, in the same order, page by page', async () => {
    const filter = fc.record({ config: fc.constant<ConfigCondition[]>([{ key: 'lr', gte: 1 }]), nameContains: fc.constant('JOB 1') }, { requiredKeys: [] });
    await fc.assert(fc.asyncProperty(filter, fc.option(time, { nil: undefined }), fc.array(order, { maxLength: 2 }), fc.integer({ min: 1, max: 40 }), async (jobs, finishedAt, orders, size) => {
      const wanted: ResultFilter = { jobs: { experimentIds: [experimentId], ...jobs }, ...(finishedAt && { finishedAt }) };
      const [fromMemory, fromDatabase] = await inBothWays((sources) => walk(sources, wanted, orders, size));
      expect(fromMemory).toEqual(fromDatabase);
      const [count, countOfDatabase] = await inBothWays((sources) => resultCount(sources, wanted));
      expect(count).toBe(countOfDatabase);
      expect(count).toBe(fromDatabase.flat().length);
    }), { numRuns: 60 });
  }, 120_000);

  it('tells the progress that the database would', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: START + 20_000_000 });
    const [fromMemory, fromDatabase] = await inBothWays((sources) => progressOf(sources, [experimentId]));
    expect(fromMemory).toEqual(fromDatabase);
    expect(fromMemory[0]).toMatchObject({ total: 90, jobsPerHour: expect.any(Number), etaSeconds: expect.any(Number) });
    const few = await seedExperiment(db);
    await seedJobs(db, few, [{ state: 'QUEUED' }, { state: 'COMPLETED', startedAt: new Date(START), finishedAt: new Date(START + 60_500) }]);
    const [ofFew, ofFewFromDatabase] = await inBothWays((sources) => progressOf(sources, [few]));
    expect(ofFew).toEqual(ofFewFromDatabase);
    expect(ofFew[0]?.countsByState).toMatchObject({ QUEUED: 1, COMPLETED: 1 });
  });

  it('tells the progress of many large experiments without loading them, each in its place; one that is there already answers from memory', async () => {
    const ids = [await seedExperiment(db), experimentId, await seedExperiment(db), await seedExperiment(db)];
    for (const [index, id] of ids.entries()) if (id !== experimentId) await seedJobs(db, id, Array.from({ length: index + 1 }, (): SeedJob => ({ state: 'QUEUED' })));
    const memory = new JobTables(db.database, { minJobs: 1 });
    const read = vi.spyOn(memory, 'read');
    const totals = async (): Promise<number[]> => (await progressOf({ database: db.database, tables: memory }, ids)).map(({ total }) => total);
    expect(await totals()).toEqual([1, 90, 3, 4]);
    expect(read).not.toHaveBeenCalled();
    await progressOf({ database: db.database, tables: memory }, [experimentId]);
    expect(await totals()).toEqual([1, 90, 3, 4]);
    expect(read.mock.calls.map(([id]) => id)).toEqual([experimentId, experimentId]);
  });

  it('finds the best checkpoint that the database would, also one by the metric that was given with it', async () => {
    for (const metric of ['loss', 'none']) {
      for (const goal of ['MIN', 'MAX'] as const) {
        const [fromMemory, fromDatabase] = await inBothWays((sources) => bestCheckpointsAmong(sources, [{ parent: 'EXPERIMENT', id: experimentId, metric, goal }]));
        expect(fromMemory).toEqual(fromDatabase);
        expect(fromMemory[0] === null).toBe(metric === 'none');
      }
    }
  });

  it('looks on for a checkpoint while those of the first jobs have no value', async () => {
    const id = await seedExperiment(db);
    const jobs = await seedJobs(db, id, Array.from({ length: 70 }, (_, index): SeedJob => ({ metrics: { loss: [[5, index]] }, checkpoints: [{ step: index < 68 ? 1 : 9 }] })));
    const [fromMemory, fromDatabase] = await inBothWays((sources) => bestCheckpointsAmong(sources, [{ parent: 'EXPERIMENT', id, metric: 'loss', goal: 'MIN' }]));
    expect(fromMemory).toEqual(fromDatabase);
    expect(fromMemory[0]?.jobId).toBe(jobs[68]);
  });
});
