/** Cutting a growing file into lines, a chunk at a time. */

export interface SplitOptions {
  /** Longer lines are dropped, without their newline counted. */
  maxLineBytes: number;
  /** Whether the bytes begin inside of an over-long line, as the last answer's `skipping` said. */
  skipping?: boolean;
  /** Whether nothing will be added to the file, so that a last line without a newline is a line. */
  atEnd?: boolean;
}

export interface SplitLines {
  lines: { text: string }[];
  /** How far the cursor moves; the bytes after it are an unfinished line, to be read again with what follows. */
  consumedBytes: number;
  dropped: { reason: string }[];
  /** The cursor is now inside of an over-long line (already among the dropped): keep it, and pass it to the next call. */
  skipping: boolean;
}

const NEWLINE = 0x0a;

/**
 * The complete lines of a chunk, without their `\n` or `\r\n`; empty lines are left out. Lines that are not UTF-8 or too
 * long are dropped with a reason. A chunk must be longer than `maxLineBytes` or reach the end of the file; then every
 * call moves the cursor or says that the file has no more yet, and a line of any length is passed in bounded memory.
 */
export function splitLines(bytes: Buffer, { maxLineBytes, skipping = false, atEnd = false }: SplitOptions): SplitLines {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const result: SplitLines = { lines: [], consumedBytes: 0, dropped: [], skipping };
  const take = (line: Buffer): void => {
    if (line.length > maxLineBytes) return drop(result, tooLong(maxLineBytes));
    try {
      const text = decoder.decode(line.at(-1) === 0x0d ? line.subarray(0, -1) : line);
      if (text.trim() !== '') result.lines.push({ text });
    } catch {
      drop(result, 'is not valid UTF-8');
    }
  };
  let start = 0;
  for (let end = bytes.indexOf(NEWLINE); end !== -1; end = bytes.indexOf(NEWLINE, start)) {
    if (result.skipping) result.skipping = false;
    else take(bytes.subarray(start, end));
    start = end + 1;
  }
  const rest = bytes.subarray(start);
  const restIsTooLong = rest.length > maxLineBytes;
  if (!result.skipping && atEnd && rest.length > 0 && !restIsTooLong) take(rest);
  if (!result.skipping && restIsTooLong) {
    drop(result, tooLong(maxLineBytes));
    result.skipping = true;
  }
  result.consumedBytes = result.skipping || atEnd ? bytes.length : start;
  return result;
}

function drop(result: SplitLines, reason: string): void {
  result.dropped.push({ reason });
}

function tooLong(maxLineBytes: number): string {
  return `is longer than ${maxLineBytes} bytes`;
}
