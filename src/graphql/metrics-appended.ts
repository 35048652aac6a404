/** The points behind an event that says that points arrived. */
import { pointsOfSeries, seriesOfJobs } from '../db/read/metrics.ts';
import type { EventPayloads, LoggedEvent } from '../domain/events.ts';
import type { GraphqlContext } from './context.ts';
import { shownPoints, type ShownPoints } from './metric-series.ts';

/** Most points of one metric in one message; what is logged in a second lies far below. */
const MAX_POINTS_PER_MESSAGE = 10_000;

export type MetricsAppendedEvent = LoggedEvent & { kind: 'METRICS_APPENDED'; payload: EventPayloads['METRICS_APPENDED'] };

export interface MetricAppend {
  jobId: string;
  series: (ShownPoints & { key: string })[];
}

/** Whether the event brings points of this job, and of one of the keys if there are any. */
export function bringsPoints(event: LoggedEvent, jobId: string, keys: readonly string[] | null): event is MetricsAppendedEvent {
  return event.kind === 'METRICS_APPENDED' && event.jobId === jobId && event.payload.series.some(({ key }) => keys?.includes(key) ?? true);
}

/** The series' values now at the steps that the event names. */
export async function readAppended(context: GraphqlContext, event: MetricsAppendedEvent, keys: readonly string[] | null): Promise<MetricAppend> {
  const jobId = event.jobId ?? '';
  const ranges = event.payload.series.filter(({ key }) => keys?.includes(key) ?? true);
  const [rows = []] = await seriesOfJobs(context.database, [jobId], ranges.map(({ key }) => key));
  const numbers = new Map(rows.map((row) => [row.key, row.seriesNumber]));
  const queries = ranges.map((range) => ({ jobId, seriesNumber: numbers.get(range.key) ?? 0, fromStep: range.firstStep, toStep: range.lastStep }));
  const points = await pointsOfSeries(context.database, queries, MAX_POINTS_PER_MESSAGE);
  return { jobId, series: ranges.map(({ key }, index) => ({ key, ...shownPoints(points[index]!, MAX_POINTS_PER_MESSAGE) })) };
}
