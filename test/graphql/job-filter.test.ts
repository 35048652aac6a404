import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openFixture, seedExperiment, seedJobs, seedSweep, shownErrors, type Fixture } from './fixture.ts';

let fixture: Fixture;
let experimentId: string;
let sweepId: string;
let ids: Record<'a' | 'b' | 'c', string>;

beforeAll(async () => {
  fixture = await openFixture();
  experimentId = await seedExperiment(fixture.db, { project: 'vision', name: 'filters' });
  sweepId = await seedSweep(fixture.db, experimentId);
  const other = await seedExperiment(fixture.db, { project: 'speech', name: 'filters' });
  const [a, b, c] = await seedJobs(fixture.db, experimentId, [
    {
      name: 'Alpha', state: 'COMPLETED', tags: ['x', 'lr=0.1'], priority: 10, sweepId, cluster: 'hpc',
      config: { optim: { lr: 0.1, name: 'adam' }, seed: 1, layers: [64, 32], flag: null },
      createdAt: new Date('2026-01-01T00:00:00Z'), startedAt: new Date('2026-01-01T01:00:00Z'), finishedAt: new Date('2026-01-01T02:00:00Z'),
      attempts: [{ slurmJobId: '123_4' }], metrics: { 'val/loss': [[1, 0.9], [2, 0.2], [3, 0.5]] },
    },
    {
      name: 'beta_100%', state: 'FAILED', tags: ['x', 'y'], priority: 100, cluster: 'local',
      config: { optim: { lr: 0.01, name: 'sgd' }, seed: 2, 'note': 'quote \' and "' },
      createdAt: new Date('2026-01-02T00:00:00Z'), attempts: [{ slurmJobId: '1234' }], metrics: { 'val/loss': [[1, 0.8]] },
    },
    {
      name: 'gamma', state: 'QUEUED', tags: [], priority: 500, cluster: 'hpc', config: { optim: { lr: '0.1' }, seed: 3 },
      createdAt: new Date('2026-01-03T00:00:00Z'), metrics: { 'val/loss': [[1, Number.NaN]] },
    },
  ]);
  ids = { a: a!, b: b!, c: c! };
  await seedJobs(fixture.db, other, [{ name: 'elsewhere', createdAt: new Date('2026-01-04T00:00:00Z') }]);
});
afterAll(() => fixture?.close());

async function names(filter: object): Promise<string[]> {
  const result = await fixture.run('query ($filter: JobFilter) { jobs(filter: $filter) { nodes { name } totalCount } }', { filter });
  expect(result.errors).toBeUndefined();
  const found = result.data.jobs.nodes.map((job: { name: string }) => job.name.slice(0, 1).toLowerCase());
  expect(result.data.jobs.totalCount).toBe(found.length);
  return found;
}

describe('a job filter', () => {
  it('means every job when it is empty', async () => {
    expect(await names({})).toEqual(['a', 'b', 'g', 'e']);
  });

  it('takes all its conditions together', async () => {
    expect(await names({ tagsAll: ['x'], states: ['FAILED'] })).toEqual(['b']);
  });

  it.each<[string, () => object, string[]]>([
    ['ids', () => ({ ids: [ids.a, ids.c] }), ['a', 'g']],
    ['ids that cannot exist', () => ({ ids: ['nonsense'] }), []],
    ['no ids', () => ({ ids: [] }), []],
    ['a project', () => ({ project: 'speech' }), ['e']],
    ['experiments', () => ({ experimentIds: [experimentId] }), ['a', 'b', 'g']],
    ['sweeps', () => ({ sweepIds: [sweepId] }), ['a']],
    ['states', () => ({ states: ['COMPLETED', 'FAILED'] }), ['a', 'b']],
    ['no states', () => ({ states: [] }), []],
    ['clusters', () => ({ clusters: ['local'] }), ['b']],
    ['all of some tags', () => ({ tagsAll: ['x', 'y'] }), ['b']],
    ['any of some tags', () => ({ tagsAny: ['lr=0.1', 'y'] }), ['a', 'b']],
    ['any of no tags', () => ({ tagsAny: [] }), []],
    ['none of some tags', () => ({ tagsNone: ['x'] }), ['g', 'e']],
    ['part of a name in any case', () => ({ nameContains: 'ALPH' }), ['a']],
    ['a name with characters that a pattern would interpret', () => ({ nameContains: '_100%' }), ['b']],
    ['a fingerprint', () => ({ fingerprint: ids.c }), ['g']],
    ['the id of one array task', () => ({ slurmJobId: '123_4' }), ['a']],
    ['the id of an array, not of ids that begin alike', () => ({ slurmJobId: '123' }), ['a']],
    ['priorities', () => ({ priorityMin: 100, priorityMax: 100, project: 'vision' }), ['b']],
    ['creation from a moment on', () => ({ createdAt: { from: '2026-01-02T00:00:00Z', to: '2026-01-03T00:00:00Z' } }), ['b']],
    ['start before a moment', () => ({ startedAt: { to: '2026-01-01T01:00:01Z' } }), ['a']],
    ['finish from a moment on', () => ({ finishedAt: { from: '2026-01-01T03:00:00Z' } }), []],
    ['a number', () => ({ config: [{ key: 'optim.lr', eq: 0.1 }] }), ['a']],
    ['a text, which is no number', () => ({ config: [{ key: 'optim.lr', eq: '0.1' }] }), ['g']],
    ['a list as a whole', () => ({ config: [{ key: 'layers', eq: [64, 32] }] }), ['a']],
    ['a list, not part of it', () => ({ config: [{ key: 'layers', eq: [64] }] }), []],
    ['an item of a list', () => ({ config: [{ key: 'layers.1', eq: 32 }] }), ['a']],
    ['an object, not part of it', () => ({ config: [{ key: 'optim', eq: { lr: 0.1 } }] }), []],
    ['a null that is there', () => ({ config: [{ key: 'flag', eq: null }] }), ['a']],
    ['another value or none', () => ({ config: [{ key: 'optim.name', ne: 'adam' }] }), ['b', 'g', 'e']],
    ['one of several values', () => ({ config: [{ key: 'seed', in: [1, 3] }] }), ['a', 'g']],
    ['a range of numbers', () => ({ config: [{ key: 'optim.lr', gte: 0.01, lt: 0.1 }] }), ['b']],
    ['both ends of a range', () => ({ config: [{ key: 'optim.lr', gt: 0.01, lte: 0.1 }] }), ['a']],
    ['a key that is there', () => ({ config: [{ key: 'note', exists: true }] }), ['b']],
    ['a key that is not there', () => ({ config: [{ key: 'optim.lr', exists: false }] }), ['e']],
    ['several configuration values', () => ({ config: [{ key: 'seed', gt: 0 }, { key: 'seed', ne: 2 }] }), ['a', 'g']],
    ['a text with quotes', () => ({ config: [{ key: 'note', eq: 'quote \' and "' }] }), ['b']],
    ['the last value of a metric', () => ({ metrics: [{ key: 'val/loss', lt: 0.6 }] }), ['a']],
    ['the least value of a metric', () => ({ metrics: [{ key: 'val/loss', at: 'MIN', lte: 0.2 }] }), ['a']],
    ['the greatest value of a metric', () => ({ metrics: [{ key: 'val/loss', at: 'MAX', gt: 0.8, gte: 0.9 }] }), ['a']],
    ['a metric with any finite value', () => ({ metrics: [{ key: 'val/loss' }] }), ['a', 'b']],
  ])('selects by %s', async (_, filter, expected) => {
    expect(await names(filter())).toEqual(expected);
  });

  it('refuses a condition that compares nothing, because it would match everything', async () => {
    const result = await fixture.run('{ jobs(filter: {config: [{key: "a"}]}) { totalCount } }');
    expect(shownErrors(result)).toEqual([{ code: 'BAD_USER_INPUT', message: expect.stringContaining('filter.config.0: compares nothing') }]);
  });

  it.each([{ key: 'a\ud800', eq: 1 }, { key: 'a', eq: 'half \ud800' }, { key: 'a', ne: { b: '\udc00' } }, { key: 'a', in: ['\ud800'] }])(
    'refuses a text that no configuration can hold: %j', async (condition) => {
      const result = await fixture.run('query ($filter: JobFilter) { jobs(filter: $filter) { totalCount } }', { filter: { config: [condition] } });
      expect(shownErrors(result)).toEqual([{ code: 'BAD_USER_INPUT', message: expect.stringMatching(/^filter\.config\.0\..*surrogate/) }]);
    },
  );
});

describe('a question with more than anybody means', () => {
  const many = (count: number, entry: object): object[] => Array.from({ length: count }, (_, index) => ({ key: `k${index}`, ...entry }));

  it.each<[string, Record<string, unknown>, RegExp]>([
    ['configuration conditions', { f: { config: many(101, { eq: 1 }) } }, /^filter\.config: has 101 entries; the limit is 100/],
    ['metric conditions', { f: { metrics: many(101, {}) } }, /^filter\.metrics: has 101 entries; the limit is 100/],
    ['sort keys', { o: many(11, { field: 'METRIC' }) }, /^orderBy: has 11 entries; the limit is 10/],
    ['a metric that cannot be', { f: { metrics: [{ key: 'a\0' }] } }, /^filter\.metrics\.0\.key: .*NUL/],
    ['an order by a metric that cannot be', { o: [{ field: 'METRIC', key: 'a\0' }] }, /^orderBy\.0\.key: .*NUL/],
    ['an order by a value that cannot be', { o: [{ field: 'CONFIG', key: 'a\0' }] }, /^orderBy\.0\.key: .*NUL/],
  ])('is refused: %s', async (_, variables, message) => {
    const result = await fixture.run('query ($o: [JobOrder!], $f: JobFilter) { jobs(orderBy: $o, filter: $f) { nodes { id } } }', variables);
    expect(shownErrors(result)).toEqual([{ code: 'BAD_USER_INPUT', message: expect.stringMatching(message) }]);
  });

  it('takes as many as the limits say', async () => {
    const variables = { o: many(10, { field: 'METRIC' }), f: { config: many(100, { exists: false }), metrics: many(100, {}) } };
    const result = await fixture.run('query ($o: [JobOrder!], $f: JobFilter) { jobs(orderBy: $o, filter: $f) { nodes { id } } }', variables);
    expect(result).toMatchObject({ data: { jobs: { nodes: [] } } });
  });
});

describe('an order of jobs', () => {
  async function ordered(orderBy: object[]): Promise<string[]> {
    const result = await fixture.run(
      'query ($o: [JobOrder!], $f: JobFilter) { jobs(orderBy: $o, filter: $f) { nodes { name } } }', { o: orderBy, f: { project: 'vision' } });
    expect(result.errors).toBeUndefined();
    return result.data.jobs.nodes.map((job: { name: string }) => job.name.slice(0, 1).toLowerCase());
  }

  it.each([
    ['priority, highest first', [{ field: 'PRIORITY', direction: 'DESC' }], ['g', 'b', 'a']],
    ['creation, newest first', [{ field: 'CREATED_AT', direction: 'DESC' }], ['g', 'b', 'a']],
    ['state, in the order of a life', [{ field: 'STATE' }], ['g', 'a', 'b']],
    ['name', [{ field: 'NAME', direction: 'DESC' }], ['g', 'b', 'a']],
    ['finish, the unfinished last', [{ field: 'FINISHED_AT', direction: 'DESC' }, { field: 'PRIORITY', direction: 'DESC' }], ['a', 'g', 'b']],
    ['start, those not started last', [{ field: 'STARTED_AT' }, { field: 'PRIORITY' }], ['a', 'b', 'g']],
    ['a configuration value', [{ field: 'CONFIG', key: 'seed', direction: 'DESC' }], ['g', 'b', 'a']],
    ['a metric, those without last', [{ field: 'METRIC', key: 'val/loss', at: 'MAX' }], ['b', 'a', 'g']],
  ])('sorts by %s', async (_, orderBy, expected) => {
    expect(await ordered(orderBy)).toEqual(expected);
  });

  it('needs the name of the value that it sorts by', async () => {
    const result = await fixture.run('{ jobs(orderBy: [{field: CONFIG}]) { totalCount } }');
    expect(shownErrors(result)).toEqual([{ code: 'BAD_USER_INPUT', message: expect.stringContaining('orderBy.0.key') }]);
  });
});

describe('a name that no job of the experiment has', () => {
  const LIST = 'query ($filter: JobFilter, $orderBy: [JobOrder!]) { jobs(filter: $filter, orderBy: $orderBy) { totalCount } }';
  const asked = async (filter: object, orderBy?: object[]): Promise<string> => {
    const result = await fixture.run(LIST, { filter, ...(orderBy && { orderBy }) });
    return shownErrors(result)[0]?.message ?? `${result.data.jobs.totalCount} jobs`;
  };

  it('is refused where it finds nothing, with what was probably meant', async () => {
    const experimentIds = [experimentId];
    expect(await asked({ experimentIds, config: [{ key: 'lr', eq: 0.1 }] })).toBe('filter.config: no job has a config value "lr"; did you mean optim.lr?');
    expect(await asked({ experimentIds, metrics: [{ key: 'val/los', lt: 1 }] })).toBe('filter.metrics: no job has a metric "val/los"; did you mean val/loss?');
    expect(await asked({ experimentIds }, [{ field: 'CONFIG', key: 'lr' }])).toBe('orderBy: no job has a config value "lr"; did you mean optim.lr?');
    expect(await asked({ experimentIds }, [{ field: 'METRIC', key: 'loss' }])).toBe('orderBy: no job has a metric "loss"; did you mean val/loss?');
    expect(await asked({ experimentIds, config: [{ key: 'optim.lr', eq: 77 }] }, [{ field: 'CONFIG', key: 'optim.lr' }])).toBe('0 jobs');
  });

  it('is no error of all experiments together, nor of one whose jobs may still log it', async () => {
    expect(await asked({ config: [{ key: 'lr', eq: 0.1 }] })).toBe('0 jobs');
    const own = await seedExperiment(fixture.db);
    await seedJobs(fixture.db, own, [{ state: 'RUNNING', metrics: { loss: [[1, 1]] } }]);
    expect(await asked({ experimentIds: [own], metrics: [{ key: 'val/loss' }] }, [{ field: 'METRIC', key: 'val/loss' }])).toBe('0 jobs');
  });
});
