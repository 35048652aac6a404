import { describe, expect, test } from 'vitest';
import { LOG_TAIL_BYTES, planLines, planTail, READ_CHUNK_BYTES } from '../../src/domain/harvest-plan.ts';

const file = (sizeBytes: number, inode = 'i1') => ({ path: '/job/metrics.jsonl', sizeBytes, inode });
const cursor = (offsetBytes: number) => ({ offsetBytes, inode: 'i1', nextStep: 5, skipping: false, memory: null });

describe('what to read of a growing file', () => {
  test('only what is new', () => {
    expect(planLines(file(100), cursor(60))).toMatchObject({ offsetBytes: 60, maxBytes: 40, hasMore: false, from: { nextStep: 5 } });
    expect(planLines(file(100), cursor(100))).toBeNull();
  });
  test('at most a chunk, and word that there is more', () => {
    expect(planLines(file(READ_CHUNK_BYTES * 3), undefined)).toMatchObject({ offsetBytes: 0, maxBytes: READ_CHUNK_BYTES, hasMore: true });
  });
  test('all of it again when it was replaced or shortened', () => {
    expect(planLines(file(100, 'i2'), cursor(60))).toMatchObject({ offsetBytes: 0, maxBytes: 100, from: { inode: 'i2', nextStep: 0 } });
    expect(planLines(file(40), cursor(60))).toMatchObject({ offsetBytes: 0, maxBytes: 40 });
  });
});

describe('what to read of the end of a log', () => {
  test('the last bytes, once for each size', () => {
    const plan = planTail(file(LOG_TAIL_BYTES + 10), undefined, LOG_TAIL_BYTES)!;
    expect(plan).toMatchObject({ offsetBytes: 10, maxBytes: LOG_TAIL_BYTES });
    expect(planTail(file(LOG_TAIL_BYTES + 10), plan.from, LOG_TAIL_BYTES)).toBeNull();
  });
  test('nothing of an empty file', () => {
    expect(planTail(file(0), undefined, 100)).toBeNull();
  });
});
