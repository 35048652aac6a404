import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expandSweep, sweepSize, sweepStrategy, withRecordedSeed } from '../../src/domain/sweep.ts';
import type { SweepSpace } from '../../src/domain/sweep.ts';
import { validateSweepSpace } from '../../src/domain/sweep-faults.ts';

const LIMITS = { maxJobsPerSweep: 10_000, maxConfigBytes: 1_000_000 };
const configsOf = (space: SweepSpace) => expandSweep(space).map((job) => job.config);
const faults = (space: SweepSpace) => validateSweepSpace(space, LIMITS).map((fault) => `${fault.field.join('/')}: ${fault.message}`);

describe('expanding a sweep', () => {
  it('takes the list slowest, then the grid in order, then the seeds, over the base', () => {
    const space: SweepSpace = {
      base: { 'optim': { name: 'sgd', lr: 1 }, 'data.path': '/d' },
      list: [{ 'model': 'cnn' }, { 'model': 'mlp', 'optim.name': 'adam' }],
      grid: [{ key: 'optim.lr', values: [0.1, 0.2] }],
      seeds: { values: [0, 1] },
    };
    const data = { path: '/d' };
    expect(configsOf(space)).toEqual([
      { data, optim: { name: 'sgd', lr: 0.1 }, model: 'cnn', seed: 0 },
      { data, optim: { name: 'sgd', lr: 0.1 }, model: 'cnn', seed: 1 },
      { data, optim: { name: 'sgd', lr: 0.2 }, model: 'cnn', seed: 0 },
      { data, optim: { name: 'sgd', lr: 0.2 }, model: 'cnn', seed: 1 },
      { data, optim: { name: 'adam', lr: 0.1 }, model: 'mlp', seed: 0 },
      { data, optim: { name: 'adam', lr: 0.1 }, model: 'mlp', seed: 1 },
      { data, optim: { name: 'adam', lr: 0.2 }, model: 'mlp', seed: 0 },
      { data, optim: { name: 'adam', lr: 0.2 }, model: 'mlp', seed: 1 },
    ]);
    expect(expandSweep(space)[5]).toMatchObject({
      index: 5,
      axes: [{ key: 'model', value: 'mlp' }, { key: 'optim.name', value: 'adam' }, { key: 'optim.lr', value: 0.1 }, { key: 'seed', value: 1 }],
    });
  });

  it('is one job for a space without parts', () => expect(configsOf({ base: { a: 1 } })).toEqual([{ a: 1 }]));

  it('replaces a group by a grid value that is an object, and keeps duplicates', () => {
    expect(configsOf({ base: { model: { depth: 3 } }, grid: [{ key: 'model', values: [{ 'a.b': 1 }, { 'a.b': 1 }] }] }))
      .toEqual([{ model: { a: { b: 1 } } }, { model: { a: { b: 1 } } }]);
  });

  it('has the size that was computed without expanding, and every job sets the same keys', () => {
    fc.assert(fc.property(spaces, (space) => {
      expect(validateSweepSpace(space, LIMITS)).toEqual([]);
      const jobs = expandSweep(space);
      expect(jobs).toHaveLength(sweepSize(space));
      expect(jobs.map((job) => job.index)).toEqual(jobs.map((_, index) => index));
      expect(expandSweep(JSON.parse(JSON.stringify(space)))).toEqual(jobs);
    }));
  });

  it('handles the largest sweep allowed quickly enough to answer a request', () => {
    const values = Array.from({ length: 100 }, (_, index) => index);
    expect(expandSweep({ base: { x: 'y'.repeat(10_000) }, grid: [{ key: 'a', values }, { key: 'b', values }] })).toHaveLength(10_000);
  });
});

describe('random draws', () => {
  const random = {
    count: 2000,
    seed: 42,
    parameters: [
      { key: 'lr', logRange: { min: 1e-5, max: 1 } }, { key: 'depth', range: { min: 1, max: 4 }, integer: true },
      { key: 'batch', logRange: { min: 1, max: 256 }, integer: true }, { key: 'drop', range: { min: -0.5, max: 0.5 } }, { key: 'act', choice: ['relu', null, [1]] },
    ],
  };

  it('never change for a recorded seed', () => {
    expect(configsOf({ random: { ...random, count: 3 } })).toEqual([
      { lr: 0.0002861219312309672, depth: 1, batch: 5, drop: 0.1252355930628104, act: null },
      { lr: 0.0000105169132512964, depth: 4, batch: 44, drop: 0.16748979123451657, act: [1] },
      { lr: 0.1759950514474409, depth: 2, batch: 19, drop: 0.1706183940843331, act: 'relu' },
    ]);
  });

  it('begin the same when more are drawn, and differ between seeds', () => {
    const few = configsOf({ random: { ...random, count: 10 } });
    expect(configsOf({ random }).slice(0, 10)).toEqual(few);
    expect(configsOf({ random: { ...random, seed: 43, count: 10 } })).not.toEqual(few);
    expect(configsOf({ random: { ...random, seed: 42 + 2 ** 32, count: 10 } })).not.toEqual(few);
  });

  it('stay inside their bounds, reach all of them and are spread as asked', () => {
    const drawn = configsOf({ random }) as { lr: number; depth: number; batch: number; drop: number; act: unknown }[];
    const share = (holds: (config: (typeof drawn)[number]) => boolean) => drawn.filter(holds).length / drawn.length;
    expect(share(({ lr }) => lr >= 1e-5 && lr <= 1)).toBe(1);
    expect(share(({ lr }) => lr < 10 ** -2.5)).toBeCloseTo(0.5, 1);
    for (const depth of [1, 2, 3, 4]) expect(share((config) => config.depth === depth)).toBeCloseTo(0.25, 1);
    expect(share(({ batch }) => Number.isInteger(batch) && batch >= 1 && batch <= 256)).toBe(1);
    expect(share(({ batch }) => batch < 16)).toBeCloseTo(0.5, 1);
    expect(share(({ drop }) => drop >= -0.5 && drop <= 0.5)).toBe(1);
    expect(share(({ drop }) => drop < 0)).toBeCloseTo(0.5, 1);
    expect(share(({ act }) => act === null)).toBeCloseTo(1 / 3, 1);
  });

  it('get a seed recorded only where they have none', () => {
    expect(withRecordedSeed({ random: { ...random, seed: undefined } }, 7).random?.seed).toBe(7);
    expect(withRecordedSeed({ random: { ...random, seed: 0 } }, 7).random?.seed).toBe(0);
    expect(withRecordedSeed({ base: {} }, 7)).toEqual({ base: {} });
  });
});

describe('the size of a sweep', () => {
  const values = Array.from({ length: 1000 }, (_, index) => index);

  it('is refused before expansion, with the size and the limit', () => {
    const space = { grid: ['a', 'b', 'c'].map((key) => ({ key, values })) };
    expect(sweepSize(space)).toBe(1e9);
    expect(faults(space)).toEqual([expect.stringMatching(/^space: stands for 1,000,000,000 jobs; the limit is 10,000/)]);
  });

  it('may be beyond any number', () => {
    const space = { grid: Array.from({ length: 200 }, (_, index) => ({ key: `k${index}`, values })) };
    expect(sweepSize(space)).toBe(Infinity);
    expect(faults(space)).toEqual([expect.stringContaining('more than 10^308 jobs')]);
  });

  it('counts bytes too', () => {
    const base = { text: 'x'.repeat(500_000) };
    expect(faults({ base, seeds: { values: values.slice(0, 500) } })).toEqual([]);
    expect(faults({ base, seeds: { values } })).toEqual([expect.stringMatching(/bytes of configurations; the limit is 268435456/)]);
    expect(faults({ base, list: [{ more: 'x'.repeat(600_000) }] })).toEqual([expect.stringContaining('the limit is 1000000')]);
  });
});

describe('validating a space', () => {
  it.each<[string, SweepSpace, string]>([
    ['an axis without values', { grid: [{ key: 'a', values: [] }] }, 'space/grid/0/values: is empty'],
    ['an axis without a key', { grid: [{ key: '', values: [1] }] }, 'space/grid/0/key: .*empty part'],
    ['an empty list', { list: [] }, 'space/list: is empty'],
    ['no seeds', { seeds: { values: [] } }, 'space/seeds/values: is empty'],
    ['a fractional seed', { seeds: { values: [1, 1.5] } }, 'space/seeds/values/1: must be an integer, not 1.5'],
    ['two axes of one key', { grid: [{ key: 'a', values: [1] }, { key: 'a', values: [2] }] }, '"a" is already set by grid.0'],
    ['an axis below another', { grid: [{ key: 'a.b', values: [1] }, { key: 'a', values: [2] }] }, '"a" is already set by grid.0'],
    ['an axis above another', { grid: [{ key: 'a', values: [1] }], seeds: { key: 'a.b', values: [2] } }, '"a.b" is already set by grid.0'],
    ['a list and an axis of one key', { list: [{ a: { b: 1 } }], grid: [{ key: 'a.b', values: [1] }] }, '"a.b" is already set by list'],
    ['an axis below a value of the base', { base: { a: 1 }, grid: [{ key: 'a.b', values: [1] }] }, '"a" is a plain value in base'],
    ['a base that is no object', { base: 5 as never }, 'space/base: must be an object'],
    ['a bad value deep in an axis', { grid: [{ key: 'a', values: [1, { b: ['\0'] }] }] }, 'space/grid/0/values/1/b/0: .*NUL'],
    ['no draws', { random: { count: 0, parameters: [{ key: 'a', choice: [1] }] } }, 'space/random/count: .*1 or more, not 0'],
    ['half a draw', { random: { count: 1.5, parameters: [{ key: 'a', choice: [1] }] } }, 'space/random/count: .*not 1.5'],
    ['no parameters', { random: { count: 1, parameters: [] } }, 'space/random/parameters: is empty'],
    ['a negative seed', { random: { count: 1, seed: -1, parameters: [{ key: 'a', choice: [1] }] } }, 'space/random/seed: .*from 0'],
    ['an empty choice', { random: { count: 1, parameters: [{ key: 'a', choice: [] }] } }, 'space/random/parameters/0/choice: is empty'],
    ['min above max', { random: { count: 1, parameters: [{ key: 'a', range: { min: 2, max: 1 } }] } }, 'min \\(2\\) must be less than max \\(1\\)'],
    ['min equal to max', { random: { count: 1, parameters: [{ key: 'a', range: { min: 1, max: 1 } }] } }, 'must be less than max'],
    ['the logarithm of 0', { random: { count: 1, parameters: [{ key: 'a', logRange: { min: 0, max: 1 } }] } }, 'logRange: min must be more than 0'],
    ['NaN', { random: { count: 1, parameters: [{ key: 'a', range: { min: NaN, max: 1 } }] } }, 'must be finite'],
    ['a range as wide as all numbers', { random: { count: 1, parameters: [{ key: 'a', range: { min: -1e308, max: 1e308 } }] } }, 'must be finite'],
    ['fractional ends of an integer range', { random: { count: 1, parameters: [{ key: 'a', integer: true, range: { min: 0.5, max: 3 } }] } }, 'whole numbers'],
    ['a parameter of no kind', { random: { count: 1, parameters: [{ key: 'a' } as never] } }, 'exactly one of range, logRange and choice; it has none'],
    ['a parameter of two kinds', { random: { count: 1, parameters: [{ key: 'a', choice: [1], range: { min: 0, max: 1 } }] } }, 'it has range and choice'],
  ])('refuses %s', (_, space, reason) => expect(faults(space)).toEqual([expect.stringMatching(reason)]));

  it('reports all faults at once', () => {
    expect(faults({ list: [], grid: [{ key: '', values: [] }], seeds: { key: 'a..b', values: [NaN] } })).toHaveLength(5);
  });
});

describe('the strategy of a sweep', () => {
  const grid = [{ key: 'a', values: [1] }];
  const random = { count: 1, seed: 1, parameters: [] };
  it.each<[SweepSpace, string]>([
    [{}, 'SINGLE'], [{ grid: [] }, 'SINGLE'], [{ grid }, 'GRID'], [{ grid, seeds: { values: [1] } }, 'GRID'], [{ list: [{}] }, 'LIST'],
    [{ random }, 'RANDOM'], [{ seeds: { values: [1] } }, 'SEEDS'], [{ grid, random }, 'MIXED'],
  ])('of %j is %s', (space, strategy) => expect(sweepStrategy(space)).toBe(strategy));
});

/** Spaces whose parts set different keys. */
const spaces: fc.Arbitrary<SweepSpace> = fc.record({
  base: fc.constant({ base: { x: 1 } }),
  list: fc.array(fc.record({ 'variant.a': fc.integer() }), { minLength: 1, maxLength: 3 }),
  random: fc.record({
    count: fc.integer({ min: 1, max: 4 }),
    seed: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
    parameters: fc.constant([{ key: 'drawn.lr', logRange: { min: 1e-4, max: 1 } }, { key: 'drawn.n', range: { min: 0, max: 9 }, integer: true }]),
  }),
  grid: fc.uniqueArray(fc.record({ key: fc.stringMatching(/^g[0-9]$/), values: fc.array(fc.integer(), { minLength: 1, maxLength: 3 }) }), { selector: (axis) => axis.key, maxLength: 3 }),
  seeds: fc.record({ values: fc.array(fc.integer(), { minLength: 1, maxLength: 3 }) }),
}, { requiredKeys: [] });
