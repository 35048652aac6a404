import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { downsampleMinMax } from '../../src/domain/downsample.ts';

const series = fc.array(fc.tuple(fc.nat({ max: 50 }), fc.double()), { maxLength: 300 }).map((pairs) => {
  let step = 0;
  return { steps: pairs.map(([gap]) => (step += gap)), values: pairs.map(([, value]) => value) };
});
const finite = (values: number[]) => values.filter(Number.isFinite);

describe('downsampling', () => {
  it('keeps a series that is short enough whole', () => {
    expect(downsampleMinMax([1, 2, 3], [NaN, 1, 2], 3)).toEqual({ indexes: [0, 1, 2], sampled: false });
    expect(downsampleMinMax([], [], 10)).toEqual({ indexes: [], sampled: false });
  });

  it('keeps at most that many points, in order, with the ends and the extremes', () => {
    fc.assert(fc.property(series, fc.integer({ min: 4, max: 60 }), ({ steps, values }, maxPoints) => {
      const { indexes, sampled } = downsampleMinMax(steps, values, maxPoints);
      const kept = indexes.map((index) => values[index] ?? NaN);
      expect(indexes.length).toBeLessThanOrEqual(maxPoints);
      expect(sampled).toBe(indexes.length < values.length);
      expect(indexes).toEqual([...new Set(indexes)].sort((a, b) => a - b));
      if (values.length > 0) expect([indexes[0], indexes.at(-1)]).toEqual([0, values.length - 1]);
      expect(Math.min(...finite(kept))).toBe(Math.min(...finite(values)));
      expect(Math.max(...finite(kept))).toBe(Math.max(...finite(values)));
    }));
  });

  it('shows that a run diverged', () => {
    const steps = Array.from({ length: 1000 }, (_, index) => index);
    const { indexes } = downsampleMinMax(steps, steps.map((step) => (step < 500 ? 1 / step : NaN)), 20);
    expect(indexes.some((index) => index >= 500 && index < 700)).toBe(true);
  });

  it('honours even the smallest bounds', () => {
    const steps = [1, 2, 3, 4, 5, 6];
    expect([0, 1, 2, 3].map((maxPoints) => downsampleMinMax(steps, steps, maxPoints).indexes)).toEqual([[], [5], [0, 5], [0, 5]]);
  });
});
