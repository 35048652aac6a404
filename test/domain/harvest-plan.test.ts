import { describe, expect, test } from 'vitest';
import { appendedBytes, LOG_TAIL_BYTES, OVERLAP_BYTES, planLines, planTail, READ_CHUNK_BYTES, startOf, withOverlap } from '../../src/domain/harvest-plan.ts';

const file = (sizeBytes: number, inode = 'i1') => ({ path: '/job/metrics.jsonl', sizeBytes, inode });
const cursor = (offsetBytes: number) => ({ offsetBytes, inode: 'i1', nextStep: 5, skipping: false, memory: null, overlapDigest: null });

describe('what to read of a growing file', () => {
  test('only what is new, and the last bytes before it', () => {
    expect(planLines(file(10_100), cursor(10_060))).toMatchObject({ offsetBytes: 10_060 - OVERLAP_BYTES, maxBytes: 40 + OVERLAP_BYTES, hasMore: false, from: { nextStep: 5 } });
    expect(planLines(file(100), cursor(60))).toMatchObject({ offsetBytes: 0, maxBytes: 100, from: { offsetBytes: 60 } });
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

describe('a growing file', () => {
  const read = (content: string, from = startOf({ inode: 'i1' })) => {
    const { offsetBytes, maxBytes } = planLines(file(content.length), from)!;
    return Buffer.from(content).subarray(offsetBytes, offsetBytes + maxBytes);
  };
  const readTo = (content: string, offsetBytes: number, from = startOf({ inode: 'i1' })) => withOverlap(read(content, from), from, { ...from, offsetBytes });

  test.each([1, 40, OVERLAP_BYTES - 1, OVERLAP_BYTES, 10_000])('of which %i bytes were read shows what was appended, while it is the same file', (length) => {
    const [first, second] = ['a'.repeat(length), 'b'.repeat(7)];
    const once = readTo(first, length);
    expect(appendedBytes(read(first + second, once), once)?.toString()).toBe(second);
    // By a few bytes more only, whose digest covers what was read before.
    const twice = readTo(first + second, length + 7, once);
    expect(appendedBytes(read(`${first}${second}c`, twice), twice)?.toString()).toBe('c');
    expect(appendedBytes(read(`${first}${'x'.repeat(7)}c`, twice), twice)).toBeNull();
    expect(appendedBytes(read(`${'x'.repeat(length)}${second}c`, once), once)).toBeNull();
  });

  test('that has become shorter since it was listed is another one', () => {
    const from = readTo('a'.repeat(100), 100);
    expect(appendedBytes(Buffer.from('a'.repeat(99)), from)).toBeNull();
  });

  test('whose last bytes were stepped over is taken as the same, until bytes of it are read again', () => {
    const from = withOverlap(Buffer.from('a'.repeat(100)), startOf({ inode: 'i1' }), { ...startOf({ inode: 'i1' }), offsetBytes: 5_000 });
    expect(from.overlapDigest).toBeNull();
    expect(appendedBytes(read('x'.repeat(5_001), from), from)?.toString()).toBe('x');
    const next = readTo('x'.repeat(5_001), 5_001, from);
    expect(appendedBytes(read('y'.repeat(5_002), next), next)).toBeNull();
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
