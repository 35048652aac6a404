/** Turns a piece of a line file into points or notes, and says where the cursor stands after it. */
import type { SeriesPoints } from '../db/write/metrics.ts';
import type { CursorPosition } from '../domain/harvest-plan.ts';
import type { JsonObject } from '../domain/job-spec.ts';
import { splitLines } from '../domain/line-splitter.ts';
import { MAX_METRIC_LINE_BYTES, parseMetricLine } from '../domain/metric-line.ts';
import { parseStorableObject } from '../domain/storable-json.ts';

/** Each note becomes an event: bounds the transaction of a round. The rest waits for the next. */
const MAX_NOTES_PER_ROUND = 2_000;
const NEWLINE = 0x0a;

export interface LinesRead {
  series: SeriesPoints[];
  notes: JsonObject[];
  droppedCount: number;
  lastDroppedReason: string | null;
  cursor: CursorPosition;
  /** There were more lines than are taken in at once. */
  hasMore: boolean;
}

interface ReadOptions {
  now: Date;
  /** Nothing will be added to the file. */
  atEnd: boolean;
}

export function readMetricLines(content: Buffer, from: CursorPosition, options: ReadOptions): LinesRead {
  const { texts, read } = readLines(content, from, options, 'metrics.jsonl');
  const byKey = new Map<string, SeriesPoints>();
  for (const text of texts) {
    const line = parseMetricLine(text, { nextStep: read.cursor.nextStep, now: options.now });
    if (!line.ok) {
      drop(read, `a line of metrics.jsonl ${line.reason}`);
      continue;
    }
    read.cursor.nextStep = line.nextStep;
    for (const { key, value } of line.values) {
      let points = byKey.get(key);
      if (points === undefined) byKey.set(key, points = { key, steps: [], values: [], times: [] });
      points.steps.push(line.step);
      points.values.push(value);
      points.times.push(line.time);
    }
  }
  read.series = [...byKey.values()];
  return read;
}

/** Lines of events.jsonl: any JSON object is a note. */
export function readNoteLines(content: Buffer, from: CursorPosition, options: ReadOptions): LinesRead {
  const taken = firstLines(content, MAX_NOTES_PER_ROUND);
  const hasMore = taken.length < content.length;
  const { texts, read } = readLines(taken, from, hasMore ? { ...options, atEnd: false } : options, 'events.jsonl');
  read.hasMore = hasMore;
  for (const text of texts) {
    const note = parseStorableObject(text);
    if (note === null) drop(read, 'a line of events.jsonl is not a JSON object that can be stored');
    else read.notes.push(note);
  }
  return read;
}

function readLines(content: Buffer, from: CursorPosition, { atEnd }: ReadOptions, file: string): { texts: string[]; read: LinesRead } {
  const split = splitLines(content, { maxLineBytes: MAX_METRIC_LINE_BYTES, skipping: from.skipping, atEnd });
  const cursor = { ...from, offsetBytes: from.offsetBytes + split.consumedBytes, skipping: split.skipping };
  const read: LinesRead = { series: [], notes: [], droppedCount: 0, lastDroppedReason: null, cursor, hasMore: false };
  for (const { reason } of split.dropped) drop(read, `a line of ${file} ${reason}`);
  return { texts: split.lines.map((line) => line.text), read };
}

function drop(read: LinesRead, reason: string): void {
  read.droppedCount += 1;
  read.lastDroppedReason = reason;
}

/** The bytes up to and with the given number of newlines; all of them where there are fewer. */
function firstLines(content: Buffer, count: number): Buffer {
  let end = -1;
  for (let line = 0; line < count; line += 1) {
    end = content.indexOf(NEWLINE, end + 1);
    if (end === -1) return content;
  }
  return content.subarray(0, end + 1);
}
