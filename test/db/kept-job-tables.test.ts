import { describe, expect, it, vi } from 'vitest';
import { cancelJobs } from '../../src/actions/cancel-jobs.ts';
import { recordMetrics } from '../../src/actions/record-metrics.ts';
import { submitSweep } from '../../src/actions/submit-sweep.ts';
import { tagJobs } from '../../src/actions/tag-jobs.ts';
import { jobPage, leaderboardsOf } from '../../src/db/read/jobs-of-experiments.ts';
import { JobTables, type JobTableLimits } from '../../src/db/read/job-tables.ts';
import type { JobFilter } from '../../src/domain/job-filter.ts';
import { JobTable, MetricColumn } from '../../src/domain/job-table.ts';
import { actionTest, smallSweep, type ActionTest } from '../support/actions.ts';

describe('a table that is kept', () => {
  interface Kept { at: ActionTest; tables: JobTables; ids: string[]; experimentId: string }

  async function keep(limits: Partial<JobTableLimits> = {}): Promise<Kept> {
    const at = await actionTest();
    const { jobs } = await submitSweep(at.context, smallSweep({ held: true }));
    const ids = jobs.map(({ jobId }) => jobId!);
    for (const [index, jobId] of ids.entries()) await record(at, jobId, index + 1);
    const { rows: [experiment] } = await at.db.pool.query<{ id: string }>('select id from experiments');
    return { at, tables: new JobTables(at.db.database, { minJobs: 1, ...limits }), ids, experimentId: experiment!.id };
  }

  async function record({ context }: ActionTest, jobId: string, value: number, key = 'loss'): Promise<void> {
    await recordMetrics(context, { jobId, attempt: null, series: [{ key, steps: [1], values: [value], times: [new Date()] }] });
  }

  async function best({ at, tables, experimentId: id }: Kept, key = 'loss'): Promise<[jobId: string, value: number][]> {
    const [board] = await leaderboardsOf({ database: at.db.database, tables }, [{ experimentId: id, metric: key, goal: 'MIN' }], { groupBy: null, states: ['HELD', 'QUEUED', 'CANCELLED'], first: 100 });
    return board!.map(({ bestJobId, bestValue }) => [bestJobId, bestValue]);
  }

  async function chosen({ at, tables, experimentId: id }: Kept, filter: JobFilter): Promise<string[]> {
    const { rows } = await jobPage({ database: at.db.database, tables }, { experimentIds: [id], ...filter }, [], { first: 100, after: null });
    return rows.map(({ row }) => row.id);
  }

  it('shows what was written just before it is asked', async () => {
    const kept = await keep();
    const { at, ids } = kept;
    try {
      expect(await best(kept)).toEqual(ids.map((id, index) => [id, index + 1]));
      await record(at, ids[3]!, 0.5);
      expect((await best(kept))[0]).toEqual([ids[3], 0.5]);
      expect(await best(kept, 'late')).toEqual([]);
      await record(at, ids[2]!, 7, 'late');
      expect(await best(kept, 'late')).toEqual([[ids[2], 7]]);
      expect(await chosen(kept, { tagsAll: ['kept'] })).toEqual([]);
      await tagJobs(at.context, { ids: [ids[1]!], add: ['kept'] });
      expect(await chosen(kept, { tagsAll: ['kept'] })).toEqual([ids[1]]);
      await cancelJobs(at.context, { ids: [ids[0]!] });
      expect(await chosen(kept, { states: ['CANCELLED'] })).toEqual([ids[0]]);
      const { jobs } = await submitSweep(at.context, smallSweep({ space: { grid: [{ key: 'optim.lr', values: [0.7] }] } }));
      expect(await chosen(kept, { config: [{ key: 'optim.lr', gt: 0.5 }] })).toEqual([jobs[0]!.jobId]);
      await record(at, jobs[0]!.jobId!, 0.25);
      expect((await best(kept))[0]).toEqual([jobs[0]!.jobId, 0.25]);
    } finally {
      await at.db.drop();
    }
  });

  it('is the same for many who ask while others write', async () => {
    const kept = await keep();
    const { at, ids } = kept;
    try {
      for (let round = 0; round < 10; round += 1) {
        const value = -round - 1;
        const asked = Array.from({ length: 6 }, () => best(kept));
        await record(at, ids[round % ids.length]!, value);
        expect((await best(kept))[0]).toEqual([ids[round % ids.length], value]);
        for (const board of await Promise.all(asked)) expect(board).toHaveLength(ids.length);
      }
    } finally {
      await at.db.drop();
    }
  });

  it('is read anew when too much has happened since, or when others took its room', async () => {
    for (const limits of [{ maxEvents: 1 }, { maxNumbers: 180 }]) {
      const kept = await keep(limits);
      const { at, ids } = kept;
      try {
        await best(kept);
        for (const jobId of ids) await record(at, jobId, 0.5);
        expect((await best(kept)).map(([, value]) => value)).toEqual(ids.map(() => 0.5));
        expect(await chosen(kept, { config: [{ key: 'seed', eq: 1 }] })).toHaveLength(ids.length / 2);
      } finally {
        await at.db.drop();
      }
    }
  });

  it('is made of no experiment that is too large to be read whole', async () => {
    const kept = await keep({ maxJobs: 5 });
    expect([...await kept.tables.largeAmong([kept.experimentId])]).toEqual([]);
    expect(await best(kept)).toHaveLength(kept.ids.length);
    await kept.at.db.drop();
  });

  it('is not left half changed by a failure', async () => {
    const kept = await keep();
    const { at, ids } = kept;
    try {
      await best(kept);
      await record(at, ids[5]!, 0.5);
      const failing = vi.spyOn(at.db.pool, 'query').mockRejectedValueOnce(new Error('away') as never);
      await expect(best(kept)).rejects.toThrow();
      failing.mockRestore();
      expect((await best(kept))[0]).toEqual([ids[5], 0.5]);
    } finally {
      await at.db.drop();
    }
  });

  it('keeps what it holds when a column cannot be added', async () => {
    const kept = await keep();
    const { at, ids } = kept;
    try {
      await best(kept);
      const add = vi.spyOn(JobTable.prototype, 'addJob');
      const failing = failOnce(at, 'metric_series', new Error('away'));
      await expect(best(kept, 'other')).rejects.toThrow();
      expect(failing).toHaveBeenCalled();
      failing.mockRestore();
      await record(at, ids[5]!, 0.5);
      expect((await best(kept))[0]).toEqual([ids[5], 0.5]);
      expect(add.mock.calls).toEqual([[ids[5]]]);
      add.mockRestore();
    } finally {
      await at.db.drop();
    }
  });

  it('leaves to the database, and does not soon ask for again, what it could not read in time', async () => {
    const kept = await keep();
    const { at, ids } = kept;
    try {
      await best(kept);
      for (const jobId of ids) await record(at, jobId, 3, 'slow');
      const failing = failOnce(at, 'metric_series', Object.assign(new Error('canceling statement due to statement timeout'), { code: '57014' }));
      expect(await best(kept, 'slow')).toHaveLength(ids.length);
      failing.mockRestore();
      const set = vi.spyOn(MetricColumn.prototype, 'set');
      expect(await best(kept, 'slow')).toHaveLength(ids.length);
      expect(set).not.toHaveBeenCalled();
      expect(await best(kept)).toHaveLength(ids.length);
      set.mockRestore();
    } finally {
      await at.db.drop();
    }
  });

  it('does not keep a metric that no job has', async () => {
    const kept = await keep();
    let metrics: string[] = [];
    await best(kept, 'nobody');
    await kept.tables.read(kept.experimentId, { columns: [], metrics: ['loss'] }, (table) => { metrics = [...table.metrics.keys()]; });
    expect(metrics).toEqual(['loss']);
    await kept.at.db.drop();
  });

  it('is not asked for more values than the limit, nor for what has no room', async () => {
    for (const limits of [{ maxNeeds: 1 }, { maxNumbers: 100 }, { maxNumbers: 140 }]) {
      const kept = await keep(limits);
      const use = vi.fn();
      expect(await kept.tables.read(kept.experimentId, { columns: ['state'], metrics: ['loss'] }, use)).toBeNull();
      expect(use).not.toHaveBeenCalled();
      expect(await best(kept)).toHaveLength(kept.ids.length);
      await kept.at.db.drop();
    }
  });

  it('is filled with the jobs of all reads', async () => {
    const kept = await keep({ jobsPerRead: 2 });
    expect(await best(kept)).toEqual(kept.ids.map((id, index) => [id, index + 1]));
    await kept.at.db.drop();
  });

  /** Lets the next statement fail that speaks of `words` and not of the log. */
  function failOnce({ db: { pool } }: ActionTest, words: string, error: Error) {
    const query = pool.query.bind(pool) as (...args: unknown[]) => unknown;
    let hasFailed = false;
    return vi.spyOn(pool, 'query').mockImplementation(((...args: unknown[]) => {
      if (hasFailed || !JSON.stringify(args[0]).includes(words)) return query(...args);
      hasFailed = true;
      return Promise.reject(error);
    }) as never);
  }
});
