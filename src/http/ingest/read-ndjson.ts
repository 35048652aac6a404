import { parseBulkMetricLine } from '../../domain/bulk-metric-line.ts';
import { splitLines } from '../../domain/line-splitter.ts';
import { MAX_METRIC_LINE_BYTES } from '../../domain/metric-line.ts';
import type { CollectedPoints } from './collected-points.ts';

/** Reads lines of points, in bounded memory whatever is sent. A bad line, or a bad key in one, loses only itself. */
export async function readNdjson(body: AsyncIterable<Buffer>, points: CollectedPoints): Promise<void> {
  const now = new Date();
  let unread: Buffer = Buffer.alloc(0);
  let skipping = false;
  let lineNumber = 0;
  const parse = async (bytes: Buffer, atEnd: boolean): Promise<void> => {
    const split = splitLines(bytes, { maxLineBytes: MAX_METRIC_LINE_BYTES, skipping, atEnd });
    for (const { reason } of split.dropped) points.reject({ message: `a line ${reason}` });
    for (const { text } of split.lines) {
      lineNumber += 1;
      const line = parseBulkMetricLine(text, now);
      if (line.ok) {
        for (const series of line.series) points.add(line.jobId, line.attempt, series.key, series);
        for (const reason of line.refused) points.reject({ line: lineNumber, message: `a value ${reason}` });
      } else points.reject({ line: lineNumber, message: line.reason });
      await points.makeRoom();
    }
    skipping = split.skipping;
    unread = bytes.subarray(split.consumedBytes);
  };
  for await (const chunk of body) await parse(unread.length === 0 ? chunk : Buffer.concat([unread, chunk]), false);
  await parse(unread, true);
}
