import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { jobNames } from '../../src/domain/job-name.ts';
import { expandSweep } from '../../src/domain/sweep.ts';

describe('job names', () => {
  it('say what varies, by the last part of each key', () => {
    const jobs = expandSweep({ grid: [{ key: 'optim.lr', values: [0.1, 1 / 3] }, { key: 'model.depth', values: [3] }], seeds: { values: [1, 2] } });
    expect(jobNames(jobs, 'sweep')).toEqual(['lr=0.1 seed=1', 'lr=0.1 seed=2', 'lr=0.3333 seed=1', 'lr=0.3333 seed=2']);
  });

  it('tell values apart that differ in late digits only', () => {
    expect(jobNames(expandSweep({ grid: [{ key: 'a', values: [0.123411, 0.123412, 0.5] }] }), 'sweep')).toEqual(['a=0.123411', 'a=0.123412', 'a=0.5']);
  });

  it('use as many parts of a key as it takes to tell it from the others', () => {
    const jobs = expandSweep({ grid: [{ key: 'gen.optim.lr', values: [1, 2] }, { key: 'disc.optim.lr', values: [3, 4] }, { key: 'lr', values: [5, 6] }] });
    expect(jobNames(jobs, 'sweep')[0]).toBe('gen.optim.lr=1 disc.optim.lr=3 lr=5');
  });

  it('show a key that only some variants set', () => {
    expect(jobNames(expandSweep({ list: [{ a: 1 }, { a: 1, b: 'x y' }] }), 'sweep')).toEqual(['sweep', 'b=x y']);
  });

  it('name a single job after all its values, or by the fallback', () => {
    expect(jobNames([{ axes: [{ key: 'optim.lr', value: 0.1 }, { key: 'act', value: null }] }], 'x')).toEqual(['lr=0.1 act=null']);
    expect(jobNames([{ axes: [] }], 'resnet')).toEqual(['resnet']);
  });

  it('are one line of at most 120 characters, cut after whole parts', () => {
    const axes = Array.from({ length: 30 }, (_, index) => ({ key: `key${index}`, value: index }));
    const [name = ''] = jobNames([{ axes }], 'x');
    expect(name).toMatch(/^key0=0 .* key\d+=\d+ …$/);
    const texts = fc.string({ unit: 'binary', maxLength: 300 });
    fc.assert(fc.property(fc.array(fc.record({ key: texts, value: texts }), { maxLength: 6 }), texts, (someAxes, fallback) => {
      for (const each of jobNames([{ axes: someAxes }], `f${fallback}`)) {
        expect(each.length).toBeLessThanOrEqual(120);
        expect(each).toMatch(/^[^\n\0]+$/u);
      }
    }));
  });
});
