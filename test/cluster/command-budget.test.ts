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
  expect(countOf(begun, 'look')).toBe(36);
  ask('submit', 200);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(countOf(begun, 'submit')).toBe(15);
  ask('wish', 6);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(countOf(begun, 'wish')).toBe(6);
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
