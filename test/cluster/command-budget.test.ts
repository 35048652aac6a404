import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { CommandBudget, type CommandUse } from '../../src/cluster/command-budget.ts';
import { NotTriedError } from '../../src/cluster/transport.ts';

beforeEach(() => { vi.useFakeTimers(); });
afterEach(() => { vi.useRealTimers(); });

/** Asks for turns and notes who got one, and when in seconds. */
function asker(budget: CommandBudget): { ask(use: CommandUse, count?: number): void; begun: { use: CommandUse; at: number }[] } {
  const begun: { use: CommandUse; at: number }[] = [];
  const start = performance.now();
  return { begun, ask(use, count = 1) {
    for (let asked = 0; asked < count; asked += 1) void budget.take(use).then(() => begun.push({ use, at: (performance.now() - start) / 1000 }));
  } };
}
const countOf = (begun: { use: CommandUse }[], use: CommandUse): number => begun.filter((each) => each.use === use).length;

test('in no minute are there more commands than allowed, and none is dropped', async () => {
  const budget = new CommandBudget(60);
  const { ask, begun } = asker(budget);
  const rounds = 40;
  for (let round = 0; round < rounds; round += 1) {
    ask('look', 3);
    ask('submit', 2);
    ask('wish');
    ask('describe');
    await vi.advanceTimersByTimeAsync(3_000);
  }
  await vi.advanceTimersByTimeAsync(20 * 60_000);
  expect(begun).toHaveLength(rounds * 7);
  for (const { at } of begun) expect(begun.filter((other) => other.at >= at && other.at < at + 60).length).toBeLessThanOrEqual(60);
});

test('looks at the jobs leave room for submissions and wishes, which leave room for looks', async () => {
  const budget = new CommandBudget(60);
  const { ask, begun } = asker(budget);
  ask('look', 200);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(countOf(begun, 'look')).toBe(15);
  ask('submit', 200);
  await vi.advanceTimersByTimeAsync(1_000);
  // Besides a tenth for wishes and a little for descriptions, looks keep one for each four seconds to come.
  expect(countOf(begun, 'submit')).toBe(60 - 15 - 6 - 3 - 15);
  ask('wish', 6);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(countOf(begun, 'wish')).toBe(6);
});

/** Looks as a lane takes them: commands one after another, then a pause. Answers until when in seconds each command waited, and how long. */
function lane(budget: CommandBudget, commandsEach: number, pauseMs: number): { at: number; waited: number }[] {
  const start = performance.now();
  const taken: { at: number; waited: number }[] = [];
  const run = async (): Promise<never> => {
    for (;;) {
      for (let command = 0; command < commandsEach; command += 1) {
        const asked = performance.now();
        await budget.take('look');
        taken.push({ at: (performance.now() - start) / 1000, waited: (performance.now() - asked) / 1000 });
        await new Promise((resolve) => { setTimeout(resolve, 50); });
      }
      await new Promise((resolve) => { setTimeout(resolve, pauseMs); });
    }
  };
  void run();
  return taken;
}
const longest = (taken: { waited: number }[]): number => Math.max(...taken.map(({ waited }) => waited));
const mostInAMinute = (taken: { at: number }[]): number => Math.max(...taken.map(({ at }) => taken.filter((other) => other.at >= at && other.at < at + 60).length));

test('a queue that is polled as often as by default is never waited for', async () => {
  const budget = new CommandBudget(60);
  const looks = lane(budget, 1, 2_000);
  const { ask, begun } = asker(budget);
  for (let minute = 0; minute < 10; minute += 1) {
    ask('describe', 4);
    ask('submit', 5);
    await vi.advanceTimersByTimeAsync(60_000);
  }
  expect(looks.length).toBeGreaterThan(280);
  expect(begun).toHaveLength(90);
  expect(Object.values(budget.waitCounts).map(({ waits }) => waits)).toEqual([0, 0, 0, 0]);
});

test('looks that are wanted more often than allowed take half of the whole, evenly: none waits for the minute to be over', async () => {
  const budget = new CommandBudget(60);
  const looks = lane(budget, 1, 250);
  const { ask, begun } = asker(budget);
  for (let minute = 0; minute < 10; minute += 1) {
    ask('describe', 4);
    ask('submit', 10);
    await vi.advanceTimersByTimeAsync(60_000);
  }
  expect(mostInAMinute(looks)).toBe(30);
  expect(looks.length).toBeGreaterThan(290);
  expect(longest(looks)).toBeLessThan(4);
  // What others ask for is not kept waiting by it.
  expect(begun).toHaveLength(140);
  expect(budget.waitCounts).toMatchObject({ submit: { waits: 0 }, describe: { waits: 0 } });
});

test('while more is submitted than allowed, there is still a look every few seconds, and no less is submitted for it', async () => {
  await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 3 }), fc.constantFrom(0, 500, 2_000), fc.integer({ min: 0, max: 90 }), async (commandsEach, pauseMs, calmSeconds) => {
    const budget = new CommandBudget(60);
    const looks = lane(budget, commandsEach, pauseMs);
    await vi.advanceTimersByTimeAsync(calmSeconds * 1000);
    const { ask, begun } = asker(budget);
    ask('submit', 150);
    await vi.advanceTimersByTimeAsync(5 * 60_000);
    expect(longest(looks)).toBeLessThan(8);
    expect(begun).toHaveLength(150);
    expect(mostInAMinute([...looks, ...begun.map(({ at }) => ({ at: at + calmSeconds }))])).toBeLessThanOrEqual(60);
  }), { numRuns: 15 });
});

test('what people asked for goes first, and may take all there is', async () => {
  const budget = new CommandBudget(60);
  const { ask, begun } = asker(budget);
  ask('wish', 60);
  await vi.advanceTimersByTimeAsync(10);
  expect(countOf(begun, 'wish')).toBe(60);
  ask('describe');
  ask('look');
  ask('submit');
  ask('wish');
  await vi.advanceTimersByTimeAsync(60_000);
  expect(begun.slice(60).map(({ use }) => use)).toEqual(['wish', 'submit', 'look', 'describe']);
  expect(budget.waitCounts).toMatchObject({ wish: { waits: 1 }, look: { waits: 1 } });
  expect(budget.waitCounts.look.seconds).toBeCloseTo(60, 0);
});

test('who waits is let go when the loops are to end, and may ask again when they go on', async () => {
  const budget = new CommandBudget(6);
  await Promise.all(Array.from({ length: 6 }, () => budget.take('wish')));
  const waiting = budget.take('wish').catch((error: unknown) => error);
  budget.suspend();
  expect(await waiting).toBeInstanceOf(NotTriedError);
  await expect(budget.take('wish')).rejects.toThrow('about to stop');
  budget.resume();
  const turn = budget.take('wish');
  await vi.advanceTimersByTimeAsync(60_000);
  await turn;
});
