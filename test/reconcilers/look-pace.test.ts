import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LookPace } from '../../src/reconcilers/look-pace.ts';

test('the first questions may be asked at once and soon after each other', () => {
  const pace = new LookPace();
  expect(pace.earliest()).toBe(-Infinity);
  pace.note(1000, 1);
  expect(pace.earliest()).toBe(3000);
});

test('however much is asked, SLURM is not asked more than 8 times nor sacct run more than 6 times in any minute', () => {
  fc.assert(fc.property(fc.constantFrom(0, 1, 2, 3), fc.array(fc.nat(30_000), { minLength: 60, maxLength: 60 }), (cost, pauses) => {
    const pace = new LookPace();
    const looks: number[] = [];
    let time = 0;
    for (const pause of pauses) {
      // Most of the time somebody wants to know at once.
      time = Math.max(pace.earliest(), time + (pause < 25_000 ? 0 : pause));
      looks.push(time);
      pace.note(time, cost);
    }
    for (const end of looks) {
      const count = looks.filter((at) => at > end - 60_000 && at <= end).length;
      expect(count).toBeLessThanOrEqual(8);
      expect(count * cost).toBeLessThanOrEqual(6);
    }
  }));
});

test.each([[0, 15], [1, 15], [2, 30], [3, 30]])('a steady demand of looks that run sacct %s times is served evenly: none waits for more than %s s', (cost, mostSeconds) => {
  const pace = new LookPace();
  const looks: number[] = [];
  for (let time = 0; looks.length < 40; time = pace.earliest()) {
    looks.push(time);
    pace.note(time, cost);
  }
  for (const [index, at] of looks.slice(1).entries()) expect(at - looks[index]!).toBeLessThanOrEqual(mostSeconds * 1000);
});
