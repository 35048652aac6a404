/** Turns a piece of a line file into points or notes, and says where the cursor stands after it. */
import type { SeriesPoints } from '../db/write/metrics.ts';
import type { CursorPosition } from '../domain/harvest-plan.ts';
import type { JsonObject } from '../domain/job-spec.ts';
import { splitLines } from '../domain/line-splitter.ts';
import { MAX_METRIC_LINE_BYTES, parseMetricLine } from '../domain/metric-line.ts';

export interface LinesRead {
  series: SeriesPoints[];
  notes: JsonObject[];
  droppedCount: number;
  lastDroppedReason: string | null;
  cursor: CursorPosition;
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
  const { texts, read } = readLines(content, from, options, 'events.jsonl');
  for (const text of texts) {
    const note = parseObject(text);
    if (note === null) drop(read, 'a line of events.jsonl is not a JSON object');
    else read.notes.push(note);
  }
  return read;
}

function readLines(content: Buffer, from: CursorPosition, { atEnd }: ReadOptions, file: string): { texts: string[]; read: LinesRead } {
  const split = splitLines(content, { maxLineBytes: MAX_METRIC_LINE_BYTES, skipping: from.skipping, atEnd });
  const cursor = { ...from, offsetBytes: from.offsetBytes + split.consumedBytes, skipping: split.skipping };
  const read: LinesRead = { series: [], notes: [], droppedCount: 0, lastDroppedReason: null, cursor };
  for (const { reason } of split.dropped) drop(read, `a line of ${file} ${reason}`);
  return { texts: split.lines.map((line) => line.text), read };
}

function drop(read: LinesRead, reason: string): void {
  read.droppedCount += 1;
  read.lastDroppedReason = reason;
}

/** Null also for text that the database cannot hold. */
function parseObject(text: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) && !text.includes('\\u0000') ? value as JsonObject : null;
  } catch {
    return null;
  }
}
