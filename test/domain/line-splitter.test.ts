import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { splitLines } from '../../src/domain/line-splitter.ts';

/** Reads a whole file in chunks, as a reader with a byte cursor does. */
function readAll(file: Buffer, chunkBytes: number, maxLineBytes: number) {
  const lines: string[] = [];
  const dropped: string[] = [];
  let cursor = 0;
  let skipping = false;
  for (let call = 0; cursor < file.length; call += 1) {
    if (call > file.length + 1) throw new Error('the cursor stands still');
    const chunk = file.subarray(cursor, cursor + chunkBytes);
    const split = splitLines(chunk, { maxLineBytes, skipping, atEnd: cursor + chunk.length === file.length });
    lines.push(...split.lines.map((line) => line.text));
    dropped.push(...split.dropped.map((drop) => drop.reason));
    cursor += split.consumedBytes;
    skipping = split.skipping;
  }
  return { lines, dropped };
}

describe('splitting lines', () => {
  it('gives complete lines only, and the cursor just after the last of them', () => {
    expect(splitLines(Buffer.from('a\r\n\n  \nb\nc'), { maxLineBytes: 10 }))
      .toEqual({ lines: [{ text: 'a' }, { text: 'b' }], consumedBytes: 9, dropped: [], skipping: false });
  });

  it('takes a last line without a newline when nothing will follow', () => {
    expect(splitLines(Buffer.from('a\nb'), { maxLineBytes: 10, atEnd: true })).toMatchObject({ lines: [{ text: 'a' }, { text: 'b' }], consumedBytes: 3 });
  });

  it('drops a line that is not UTF-8 and nothing else', () => {
    expect(splitLines(Buffer.from([0x61, 0x0a, 0xff, 0xfe, 0x0a, 0x62, 0x0a]), { maxLineBytes: 10 }))
      .toEqual({ lines: [{ text: 'a' }, { text: 'b' }], consumedBytes: 7, dropped: [{ reason: 'is not valid UTF-8' }], skipping: false });
  });

  it('passes a line of any length in bounded memory, counts it once and goes on after it', () => {
    const file = Buffer.from(`first\n${'x'.repeat(100_000)}\nlast\n`);
    expect(readAll(file, 1001, 1000)).toEqual({ lines: ['first', 'last'], dropped: ['is longer than 1000 bytes'] });
  });

  it('takes a line of exactly the limit, and drops one of a byte more', () => {
    expect(splitLines(Buffer.from('abcd\nabcde\n'), { maxLineBytes: 4 })).toMatchObject({ lines: [{ text: 'abcd' }], dropped: [{}], consumedBytes: 11, skipping: false });
    expect(splitLines(Buffer.from('abcd'), { maxLineBytes: 4 })).toMatchObject({ consumedBytes: 0, skipping: false });
    expect(splitLines(Buffer.from('abcde'), { maxLineBytes: 4 })).toMatchObject({ consumedBytes: 5, skipping: true });
  });

  it('comes to the same however the file is cut into chunks', () => {
    const line = fc.oneof(fc.string({ unit: 'grapheme', maxLength: 8 }), fc.constant('y'.repeat(50))).map((text) => text.replace(/[\r\n]/g, ''));
    fc.assert(fc.property(fc.array(line), fc.constantFrom('\n', '\r\n'), fc.boolean(), fc.integer({ min: 42, max: 90 }), (lines, newline, closed, chunkBytes) => {
      const file = Buffer.from(lines.join(newline) + (closed ? newline : ''));
      const isLong = (text: string) => Buffer.byteLength(text) > 41;
      expect(readAll(file, chunkBytes, 41)).toEqual({
        lines: lines.filter((text) => text.trim() !== '' && !isLong(text)),
        dropped: lines.filter(isLong).map(() => 'is longer than 41 bytes'),
      });
    }));
  });
});
