import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Breaker, type CallScope } from '../../src/cluster/breaker.ts';
import { NoChannelError, NotTriedError, TransportError, type TransportFailure } from '../../src/cluster/transport.ts';

beforeEach(() => { vi.useFakeTimers({ now: new Date('2030-01-01T00:00:00Z') }); });
afterEach(() => { vi.useRealTimers(); });

const noJitter = (): number => 0.5;
const ok = (breaker: Breaker, scope: CallScope = 'scheduler'): Promise<string> => breaker.run(scope, async () => 'done', () => null);
async function fail(breaker: Breaker, failure: TransportFailure = 'unreachable', words = 'connect ECONNREFUSED'): Promise<unknown> {
  const error: unknown = await breaker.run('machine', async () => { throw new TransportError(failure, words); }, () => null).catch((thrown: unknown) => thrown);
  vi.advanceTimersByTime(1);
  return error;
}
async function noController(breaker: Breaker): Promise<void> {
  await breaker.run('scheduler', async () => 'squeue: error', () => 'Unable to contact slurm controller (connect failure)').catch(() => undefined);
  vi.advanceTimersByTime(1);
}
async function times(count: number, work: () => Promise<unknown>): Promise<void> {
  for (let done = 0; done < count; done += 1) await work();
}

test('opens after five failures in a row, then tries nothing until the pause is over, and says all that', async () => {
  const breaker = new Breaker(noJitter);
  await times(4, () => fail(breaker));
  expect(await ok(breaker)).toBe('done');
  await times(4, () => fail(breaker));
  expect(breaker.status()).toMatchObject({ state: 'CLOSED', failureCount: 4, reason: 'connect ECONNREFUSED', nextTryAt: null });
  await fail(breaker);
  expect(breaker.status()).toEqual({
    state: 'OPEN', failureCount: 5, reason: 'connect ECONNREFUSED', openedAt: new Date('2030-01-01T00:00:00.008Z'), nextTryAt: new Date('2030-01-01T00:00:05.008Z'),
  });
  let calls = 0;
  const refused: unknown = await breaker.run('machine', async () => { calls += 1; }, () => null).catch((error: unknown) => error);
  expect(calls).toBe(0);
  expect(refused).toBeInstanceOf(NotTriedError);
  expect((refused as Error).message).toBe('not tried again before 2030-01-01T00:00:05.008Z, after 5 failures in a row: connect ECONNREFUSED');
});

test('one call tries, those that come meanwhile wait for what it comes to, and then all go', async () => {
  const breaker = new Breaker(noJitter);
  await times(5, () => fail(breaker));
  vi.advanceTimersByTime(5_000);
  let answer = (): void => undefined;
  const trial = breaker.run('machine', () => new Promise<string>((resolve) => { answer = () => resolve('back'); }), () => null);
  expect(breaker.status().state).toBe('HALF_OPEN');
  let otherWasSent = false;
  const other = breaker.run('machine', async () => { otherWasSent = true; }, () => null);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(otherWasSent).toBe(false);
  const recoveries: boolean[] = [];
  breaker.onChange((_, isRecovery) => recoveries.push(isRecovery));
  answer();
  await Promise.all([trial, other]);
  expect({ status: breaker.status().state, otherWasSent, recoveries }).toEqual({ status: 'CLOSED', otherWasSent: true, recoveries: [true] });
});

test('each vain try makes the pause longer, up to a minute, and those that waited for it are not sent', async () => {
  const breaker = new Breaker(noJitter);
  await times(5, () => fail(breaker));
  const pauses: number[] = [];
  for (let tries = 0; tries < 6; tries += 1) {
    const pause = breaker.untilTryMs('machine');
    pauses.push(Math.round(pause / 1000));
    await vi.advanceTimersByTimeAsync(pause);
    const [trial, other] = await Promise.all([fail(breaker), ok(breaker).catch((error: unknown) => error)]);
    expect(trial).not.toBeInstanceOf(NotTriedError);
    expect(other).toBeInstanceOf(NotTriedError);
  }
  expect(pauses).toEqual([5, 10, 20, 40, 60, 60]);
  expect(breaker.openedCount()).toBe(1);
});

test('the pauses of many servers do not end together', async () => {
  const pauses = await Promise.all([0, 0.5, 1].map(async (random) => {
    const breaker = new Breaker(() => random);
    await times(5, () => fail(breaker));
    return breaker.untilTryMs('machine');
  }));
  expect(new Set(pauses).size).toBe(3);
});

test('a login that is refused is not tried again soon: sites lock out who keeps trying', async () => {
  const breaker = new Breaker(noJitter);
  await fail(breaker, 'authentication', 'the key was not accepted');
  expect(breaker.status()).toMatchObject({ state: 'OPEN', failureCount: 1 });
  expect(breaker.untilTryMs('machine')).toBeGreaterThan(59_000);
});

test('all that was under way when a connection broke counts as one failure', async () => {
  const breaker = new Breaker(noJitter);
  let breakOff = (): void => undefined;
  const broken = new Promise<never>((_, reject) => { breakOff = () => reject(new TransportError('interrupted', 'the connection was lost')); });
  const calls = Array.from({ length: 8 }, () => breaker.run('machine', () => broken, () => null).catch(() => undefined));
  vi.advanceTimersByTime(10);
  breakOff();
  await Promise.all(calls);
  expect(breaker.status()).toMatchObject({ state: 'CLOSED', failureCount: 1 });
});

test('while only the controller does not answer, files are read, and that they can be is no news of the controller', async () => {
  const breaker = new Breaker(noJitter);
  for (let count = 0; count < 5; count += 1) {
    await noController(breaker);
    expect(await ok(breaker, 'machine')).toBe('done');
  }
  expect(breaker.status()).toMatchObject({ state: 'OPEN', reason: 'Unable to contact slurm controller (connect failure)' });
  expect(await ok(breaker, 'machine')).toBe('done');
  await expect(ok(breaker, 'scheduler')).rejects.toThrow(NotTriedError);
  breaker.noteReached();
  expect(breaker.status().state).toBe('OPEN');
  vi.advanceTimersByTime(5_000);
  expect(await ok(breaker, 'scheduler')).toBe('done');
  expect(breaker.status().state).toBe('CLOSED');
});

test('that the machine is known to be reached closes it at once', async () => {
  const breaker = new Breaker(noJitter);
  await times(5, () => fail(breaker));
  breaker.noteReached();
  expect(breaker.status()).toEqual({ state: 'CLOSED', reason: null, failureCount: 0, openedAt: null, nextTryAt: null });
});

test('a machine that has no channel for a stream is no machine that cannot be reached: nobody is told of faults that come and go', async () => {
  const breaker = new Breaker(noJitter);
  let told = 0;
  breaker.onChange(() => { told += 1; });
  await times(6, async () => {
    await expect(breaker.run('machine', async () => { throw new NoChannelError('maxChannels is 1'); }, () => null)).rejects.toThrow('maxChannels is 1');
    await ok(breaker);
  });
  expect([told, breaker.status()]).toMatchObject([0, { state: 'CLOSED', failureCount: 0 }]);
});
