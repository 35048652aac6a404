/** What is new in a file that only grows, and the complete lines of it, for the readers of such files. */
import { appendedBytes, planLines, startOf, withOverlap, type CursorPosition } from '../harvest-plan.ts';
import { splitLines } from '../line-splitter.ts';
import { MAX_METRIC_LINE_BYTES } from '../metric-line.ts';
import type { DropCounter, JobFile, ReadOptions, StreamCursors, StreamPlan, StreamRead } from './reader.ts';

/** The next piece of a growing file; null when there is nothing new. */
export function planGrowing(file: JobFile, cursors: StreamCursors): StreamPlan | null {
  const planned = planLines(file, cursors.get(file.path));
  if (planned === null) return null;
  const { path, offsetBytes, maxBytes, from, hasMore } = planned;
  return { stream: file.path, from, wanted: [{ path, offsetBytes, maxBytes }], files: [file], hasMore };
}

/** Takes in what was appended to the file of a `planGrowing`. Where it turns out to be another file by now, reading begins anew. */
export function readGrowing(plan: StreamPlan, content: Buffer | null | undefined, take: (appended: Buffer) => StreamRead): StreamRead {
  const bytes = content ?? Buffer.alloc(0);
  const appended = appendedBytes(bytes, plan.from);
  if (appended === null) return { series: [], dropped: [], cursor: startOf(plan.files[0]!), hasMore: true };
  const read = take(appended);
  return { ...read, cursor: withOverlap(bytes, plan.from, read.cursor) };
}

/** The texts of the complete lines and the cursor behind them. Lines that are none are counted under `what`, such as `a line of metrics.jsonl`. */
export function completeLines(
  content: Buffer, from: CursorPosition, { atEnd }: Pick<ReadOptions, 'atEnd'>, counter: DropCounter, what: string,
): { texts: string[]; cursor: CursorPosition } {
  const split = splitLines(content, { maxLineBytes: MAX_METRIC_LINE_BYTES, skipping: from.skipping, atEnd });
  for (const { reason } of split.dropped) counter.drop(`${what} ${reason}`);
  return {
    texts: split.lines.map((line) => line.text),
    cursor: { ...from, offsetBytes: from.offsetBytes + split.consumedBytes, skipping: split.skipping },
  };
}
