import { expect, test } from 'vitest';
import { parseNote, readItemLines } from '../../src/reconcilers/harvest-lines.ts';

const start = { offsetBytes: 0, inode: 'i', nextStep: 0, skipping: false, memory: null };

test('a piece of events.jsonl becomes notes; what the database cannot hold is dropped and counted', () => {
  const read = readItemLines(Buffer.from('{"event":"started"}\n[1]\n{"a":"\\u0000"}\n{"half'), start, { atEnd: false }, 'events.jsonl', parseNote);
  expect(read.items).toEqual([{ event: 'started' }]);
  expect(read.dropped).toEqual([{ reason: 'a line of events.jsonl is not a JSON object that can be stored', count: 2 }]);
  expect(read.cursor.offsetBytes).toBe(39);
});
