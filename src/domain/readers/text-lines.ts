/** The complete lines of a file that only grows, for the readers of such files. */
import { planLines, type CursorPosition } from '../harvest-plan.ts';
import { splitLines } from '../line-splitter.ts';
import { MAX_METRIC_LINE_BYTES } from '../metric-line.ts';
import type { DropCounter, JobFile, ReadOptions, StreamCursors, StreamPlan } from './reader.ts';

/** The next piece of a growing file; null when there is nothing new. */
export function planGrowing(file: JobFile, cursors: StreamCursors): StreamPlan | null {
  const planned = planLines(file, cursors.get(file.path));
  if (planned === null) return null;
  const { path, offsetBytes, maxBytes, from, hasMore } = planned;
  return { stream: file.path, from, wanted: [{ path, offsetBytes, maxBytes }], files: [file], hasMore };
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
