/** Turns a piece of a file of JSON lines that is ours (`events.jsonl`, `checkpoints.jsonl`) into items, and says where the cursor stands after it. */
import { appendedBytes, startOf, withOverlap, type CursorPosition } from '../domain/harvest-plan.ts';
import type { JsonObject } from '../domain/job-spec.ts';
import { DropCounter, type Dropped, type ReadOptions } from '../domain/readers/reader.ts';
import { completeLines } from '../domain/readers/text-lines.ts';
import { parseStorableObject } from '../domain/storable-json.ts';

/** Each becomes an event: bounds the transaction of a round. The rest waits for the next. */
const MAX_LINES_PER_ROUND = 2_000;
const NEWLINE = 0x0a;

export interface LinesRead<Item> {
  items: Item[];
  dropped: Dropped[];
  cursor: CursorPosition;
  /** There were more lines than are taken in at once, or the file is another one by now, and is to be read from its start. */
  hasMore: boolean;
}

/**
 * @param content of a `planLines` from there
 * @param file what the file is called, for the reasons
 * @param parse what a line says, or in words that follow "a line of <file>" why it cannot be taken
 */
export function readItemLines<Item extends object>(
  content: Buffer, from: CursorPosition, { atEnd }: Pick<ReadOptions, 'atEnd'>, file: string, parse: (text: string) => Item | string,
): LinesRead<Item> {
  const appended = appendedBytes(content, from);
  if (appended === null) return { items: [], dropped: [], cursor: startOf(from), hasMore: true };
  const taken = firstLines(appended, MAX_LINES_PER_ROUND);
  const hasMore = taken.length < appended.length;
  const counter = new DropCounter();
  const { texts, cursor } = completeLines(taken, from, { atEnd: atEnd && !hasMore }, counter, `a line of ${file}`);
  const items: Item[] = [];
  for (const text of texts) {
    const item = parse(text);
    if (typeof item === 'string') counter.drop(`a line of ${file} ${item}`);
    else items.push(item);
  }
  return { items, dropped: counter.dropped(), cursor: withOverlap(content, from, cursor), hasMore };
}

/** A line of events.jsonl: any JSON object is a note. */
export function parseNote(text: string): JsonObject | string {
  return parseStorableObject(text) ?? 'is not a JSON object that can be stored';
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
