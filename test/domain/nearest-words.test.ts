import { expect, test } from 'vitest';
import { nearestWords } from '../../src/domain/nearest-words.ts';

test('what is typed wrong, in part or with letters that changed places finds what was meant, nearest first', () => {
  const keys = ['optim.lr', 'optim.momentum', 'val/loss', 'val/accuracy', 'train/loss'];
  expect(nearestWords('lr', keys)).toEqual(['optim.lr']);
  expect(nearestWords('val/lsos', keys)[0]).toBe('val/loss');
  expect(nearestWords('loss', keys)).toEqual(['val/loss', 'train/loss']);
  expect(nearestWords('nothing at all', keys)).toEqual([]);
});

test('a word as long as a request may be is near to nothing, at once', () => {
  const long = 'x'.repeat(16 * 1024 * 1024);
  expect(nearestWords(long, ['val/loss', 'x'.repeat(100), long])).toEqual([]);
  expect(nearestWords('val/los', [long, 'val/loss'])).toEqual(['val/loss']);
});
