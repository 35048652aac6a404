import { describe, expect, test } from 'vitest';
import { readMetricLines, readNoteLines } from '../../src/reconcilers/harvest-lines.ts';

const start = { offsetBytes: 0, inode: 'i', nextStep: 0, skipping: false };
const options = { now: new Date(0), atEnd: false };

describe('a piece of metrics.jsonl', () => {
  test('becomes columns by key; the half-written last line waits', () => {
    const text = '{"step":1,"loss":2}\n{"step":2,"loss":1,"acc":0.5}\n{"step":3,"lo';
    const read = readMetricLines(Buffer.from(text), start, options);
    expect(read.series.map(({ key, steps, values }) => ({ key, steps, values }))).toEqual([
      { key: 'loss', steps: [1, 2], values: [2, 1] }, { key: 'acc', steps: [2], values: [0.5] },
    ]);
    expect(read.cursor.offsetBytes).toBe(text.lastIndexOf('\n') + 1);
    expect(read.droppedCount).toBe(0);
  });

  test('a malformed line loses only itself and is counted with its reason', () => {
    const read = readMetricLines(Buffer.from('{"step":1,"loss":2}\ngarbage\n{"step":2,"loss":1}\n'), start, options);
    expect(read.series[0]?.steps).toEqual([1, 2]);
    expect(read).toMatchObject({ droppedCount: 1, lastDroppedReason: 'a line of metrics.jsonl is not valid JSON' });
  });

  test('a line of 200 MB is passed over in pieces, and what follows is read', () => {
    const piece = Buffer.alloc(4 * 1024 * 1024, 'x');
    let cursor = start;
    let dropped = 0;
    for (let read = 0; read < 50; read += 1) {
      const part = readMetricLines(piece, cursor, options);
      cursor = part.cursor;
      dropped += part.droppedCount;
    }
    const end = Buffer.from('xx\n{"step":9,"loss":1}\n');
    const last = readMetricLines(end, cursor, options);
    expect(dropped + last.droppedCount).toBe(1);
    expect(last.series[0]).toMatchObject({ key: 'loss', steps: [9] });
    expect(last.cursor).toMatchObject({ skipping: false, offsetBytes: 50 * piece.length + end.length });
  });
});

test('a piece of events.jsonl becomes notes; what the database cannot hold is dropped and counted', () => {
  const read = readNoteLines(Buffer.from('{"event":"started"}\n[1]\n{"a":"\\u0000"}\n'), start, options);
  expect(read.notes).toEqual([{ event: 'started' }]);
  expect(read.droppedCount).toBe(2);
});
