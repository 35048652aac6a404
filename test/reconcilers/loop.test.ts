import { EventEmitter, once } from 'node:events';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { startLoop } from '../../src/reconcilers/loop.ts';

const logger = pino({ level: 'silent' });
const HOUR_MS = 3_600_000;

test('a wake-up runs the work again without waiting for the period, and never twice at once', async () => {
  let running = 0;
  let runs = 0;
  let overlapped = false;
  const moments = new EventEmitter();
  const third = once(moments, 'third');
  const loop = startLoop({
    name: 'test', logger, periodMs: () => HOUR_MS,
    run: async () => {
      running += 1;
      overlapped ||= running > 1;
      runs += 1;
      loop.wake();
      await new Promise((resolve) => setImmediate(resolve));
      if (runs === 3) moments.emit('third');
      running -= 1;
    },
  });
  await third;
  await loop.stop();
  expect(overlapped).toBe(false);
  expect(runs).toBeGreaterThanOrEqual(3);
});

test('a failure does not end the loop', async () => {
  let runs = 0;
  const moments = new EventEmitter();
  const again = once(moments, 'again');
  const loop = startLoop({
    name: 'test', logger, periodMs: () => 1,
    run: async () => {
      runs += 1;
      if (runs === 1) throw new Error('no route to host');
      moments.emit('again');
    },
  });
  await again;
  await loop.stop();
  expect(runs).toBeGreaterThanOrEqual(2);
});

test('after a failure a wake-up waits, and a retry does not', async () => {
  let runs = 0;
  const moments = new EventEmitter();
  const failed = once(moments, 'failed');
  const again = once(moments, 'again');
  const loop = startLoop({
    name: 'test', logger, periodMs: () => HOUR_MS,
    run: async () => {
      runs += 1;
      moments.emit(runs === 1 ? 'failed' : 'again');
      if (runs === 1) throw new Error('no route to host');
    },
  });
  await failed;
  await new Promise((resolve) => setImmediate(resolve));
  loop.wake();
  await new Promise((resolve) => setImmediate(resolve));
  expect(runs).toBe(1);
  loop.retry();
  await again;
  await loop.stop();
});

test('stopping waits for the present run and starts no other', async () => {
  let runs = 0;
  let finished = false;
  const moments = new EventEmitter();
  const started = once(moments, 'started');
  const loop = startLoop({
    name: 'test', logger, periodMs: () => 1,
    run: async () => {
      runs += 1;
      moments.emit('started');
      await new Promise((resolve) => setTimeout(resolve, 20));
      finished = true;
    },
  });
  await started;
  await loop.stop();
  expect({ runs, finished }).toEqual({ runs: 1, finished: true });
});
