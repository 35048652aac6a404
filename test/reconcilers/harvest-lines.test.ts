import { expect, test } from 'vitest';
import type { CursorPosition } from '../../src/domain/harvest-plan.ts';
import { parseNote, readItemLines } from '../../src/reconcilers/harvest-lines.ts';

const start: CursorPosition = { offsetBytes: 0, inode: 'i', nextStep: 0, skipping: false, memory: null, overlapDigest: null };

test('a piece of events.jsonl becomes notes; what the database cannot hold is dropped and counted', () => {
  const read = readItemLines(Buffer.from('{"event":"started"}\n[1]\n{"a":"\\u0000"}\n{"half'), start, { atEnd: false }, 'events.jsonl', parseNote);
  expect(read.items).toEqual([{ event: 'started' }]);
  expect(read.dropped).toEqual([{ reason: 'a line of events.jsonl is not a JSON object that can be stored', count: 2 }]);
  expect(read.cursor.offsetBytes).toBe(39);
});

test('a file that was emptied and written anew, longer than before, is read from its start', () => {
  const read = (content: string, from = start) => readItemLines(Buffer.from(content), from, { atEnd: false }, 'events.jsonl', parseNote);
  const { cursor } = read('{"a":1}\n');
  expect(read('{"a":1}\n{"a":2}\n', cursor)).toMatchObject({ items: [{ a: 2 }], hasMore: false });
  const replaced = read('{"b":1}\n{"b":2}\n', cursor);
  expect(replaced).toEqual({ items: [], dropped: [], cursor: start, hasMore: true });
  expect(read('{"b":1}\n{"b":2}\n', replaced.cursor).items).toEqual([{ b: 1 }, { b: 2 }]);
});
