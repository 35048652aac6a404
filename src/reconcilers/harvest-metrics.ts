/** Metrics of one job, from whatever kinds of files its code writes: asks the readers what to read next, and hands them what was read. */
import type { FileEntry } from '../cluster/transport.ts';
import type { FileCursor } from '../db/write/harvest.ts';
import { METRIC_READERS } from '../domain/readers/all-readers.ts';
import type { Dropped, JobFile, MetricReader, PointColumns, ReaderName, ReadOptions, StreamPlan } from '../domain/readers/reader.ts';

/** Files of one job that are read in a round: an MLflow run has one for each metric. The rest waits for the next round. */
const MAX_FILES_PER_ROUND = 2_000;

/** One stream that is due to be read. */
export interface PlannedStream {
  jobId: string;
  /** Whose paths are relative to it. */
  jobDirectory: string;
  reader: MetricReader;
  plan: StreamPlan;
}

/** What the metric files of one job yielded. */
export interface HarvestedMetrics {
  /** In the order of precedence of the readers. */
  byReader: { reader: ReaderName; series: PointColumns[] }[];
  dropped: Dropped[];
  cursors: FileCursor[];
  hasMore: boolean;
}

/** What is new in the files of a job; more than a round takes is left for the next. */
export function planStreams(
  { jobId, jobDirectory }: { jobId: string; jobDirectory: string }, entries: readonly FileEntry[], cursors: ReadonlyMap<string, FileCursor> | undefined,
): { streams: PlannedStream[]; hasMore: boolean } {
  const below = jobDirectory.length + 1;
  const files: JobFile[] = entries.filter(({ kind }) => kind === 'file').map((entry) => ({ ...entry, path: entry.path.slice(below) }));
  const positions = new Map([...cursors ?? []].map(([path, cursor]) => [path.slice(below), cursor]));
  const streams: PlannedStream[] = [];
  let fileCount = 0;
  for (const reader of METRIC_READERS) {
    for (const plan of reader.plan(files, positions)) {
      fileCount += plan.wanted.length;
      if (fileCount > MAX_FILES_PER_ROUND && streams.length > 0) return { streams, hasMore: true };
      streams.push({ jobId, jobDirectory, reader, plan });
    }
  }
  return { streams, hasMore: false };
}

/** Reads the streams of one job. `contents` are those of what each wants. */
export function readStreams(streams: { stream: PlannedStream; contents: (Buffer | null)[] }[], options: ReadOptions): HarvestedMetrics {
  const found: HarvestedMetrics = { byReader: [], dropped: [], cursors: [], hasMore: false };
  for (const { stream: { jobId, jobDirectory, reader, plan }, contents } of streams) {
    if (contents.every((content) => content === null)) continue;
    const read = reader.read(plan, contents, { ...options, atEnd: options.atEnd && !plan.hasMore });
    found.dropped.push(...read.dropped);
    found.cursors.push({ jobId, path: `${jobDirectory}/${plan.stream}`, ...read.cursor });
    // A last record that never comes to its end must not keep the job from being seen as ended.
    const hasMoved = JSON.stringify(read.cursor) !== JSON.stringify(plan.from);
    if (read.hasMore || (plan.hasMore && hasMoved)) found.hasMore = true;
    const known = found.byReader.find((each) => each.reader === reader.name);
    if (known === undefined) found.byReader.push({ reader: reader.name, series: read.series });
    else known.series.push(...read.series);
  }
  return found;
}
