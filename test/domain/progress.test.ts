import { describe, expect, it } from 'vitest';
import { RECENT_FINISHED_COUNT, summariseProgress } from '../../src/domain/progress.ts';

const minute = (count: number) => new Date(Date.UTC(2026, 0, 1, 0, count));

describe('progress', () => {
  it('counts every state, and done in whatever way as done', () => {
    const progress = summariseProgress({ countsByState: { COMPLETED: 3, FAILED: 1, CANCELLED: 1, LOST: 1, RUNNING: 2 }, firstStartedAt: null, finishedTimes: [], now: minute(0) });
    expect(progress).toMatchObject({ total: 8, done: 6, percentDone: 75, jobsPerHour: null, etaSeconds: null });
    expect(progress.countsByState).toMatchObject({ QUEUED: 0, RUNNING: 2, LOST: 1 });
  });

  it('takes the rate since the first start while few have ended', () => {
    const progress = summariseProgress({
      countsByState: { COMPLETED: 2, RUNNING: 3, HELD: 10 }, firstStartedAt: minute(0), finishedTimes: [minute(20), minute(10)], now: minute(30),
    });
    expect(progress).toMatchObject({ jobsPerHour: 4, etaSeconds: 2700 });
  });

  it('takes it over the newest ends once there are enough', () => {
    const finishedTimes = Array.from({ length: RECENT_FINISHED_COUNT }, (_, index) => minute(1000 + index));
    const progress = summariseProgress({ countsByState: { COMPLETED: 500, QUEUED: 60 }, firstStartedAt: minute(0), finishedTimes, now: minute(1049) });
    expect(progress.jobsPerHour).toBeCloseTo(60);
    expect(progress.etaSeconds).toBe(3600);
  });

  it('slows down while nothing ends', () => {
    const facts = { countsByState: { COMPLETED: 1, RUNNING: 1 }, firstStartedAt: minute(0), finishedTimes: [minute(1)] };
    const etas = [2, 10, 60].map((now) => summariseProgress({ ...facts, now: minute(now) }).etaSeconds);
    expect(etas).toEqual([120, 600, 3600]);
  });

  it('is over when all is done, and keeps the rate it had', () => {
    const facts = { countsByState: { COMPLETED: 2 }, firstStartedAt: minute(0), finishedTimes: [minute(30), minute(60)] };
    expect(summariseProgress({ ...facts, now: minute(9000) })).toMatchObject({ percentDone: 100, jobsPerHour: 2, etaSeconds: 0 });
  });

  it('knows nothing of no jobs, of held jobs and of clocks that disagree', () => {
    expect(summariseProgress({ countsByState: {}, firstStartedAt: null, finishedTimes: [], now: minute(0) })).toMatchObject({ total: 0, percentDone: 0, etaSeconds: null });
    expect(summariseProgress({ countsByState: { HELD: 1, COMPLETED: 1 }, firstStartedAt: minute(0), finishedTimes: [minute(1)], now: minute(5) }).etaSeconds).toBeNull();
    expect(summariseProgress({ countsByState: { QUEUED: 1, COMPLETED: 1 }, firstStartedAt: minute(5), finishedTimes: [minute(5)], now: minute(1) }).etaSeconds).toBeNull();
  });
});
