/** A metric history as a resolver hands it on: its summary now, its points when a field asks for them. */
import type { PointColumns, SeriesPoints, SeriesRow } from '../db/read/metrics.ts';
import type { JobRow } from '../db/read/jobs.ts';
import { downsampleMinMax } from '../domain/downsample.ts';
import { UserError } from '../domain/errors.ts';
import type { Loaders } from './loaders.ts';
import type { NonFiniteName, NonFinitePointType } from './metric.type.ts';

/** Two show an extent; more than this no screen shows and no notebook asks for without paging by step. */
const MIN_POINTS = 2;
const MAX_POINTS = 10_000;
export const DEFAULT_POINTS = 1000;

export const ATTEMPT_DESCRIPTION = 'The attempt that alone is meant: its points, its summaries, and only the metrics that it logged. Left out, all attempts together: at each step the last one that logged it counts.';
export const MAX_POINTS_DESCRIPTION = `Most points of a series, ${MIN_POINTS} to ${MAX_POINTS}. A longer series is sampled so that its extremes stay.`;

/** Points as the schema shows them. */
export interface ShownPoints {
  steps: number[];
  values: (number | null)[];
  times: Date[];
  nonFinite: NonFinitePointType[];
  sampled: boolean;
}

export interface SeriesView {
  key: string;
  job: JobRow;
  /** The attempt that was asked for; null where all count together. */
  attempt: number | null;
  /** With the summary of that attempt. */
  row: SeriesRow;
  points: () => Promise<ShownPoints>;
}

/** The number to keep to; an explicit null means the default. Throws UserError when it is out of bounds. */
export function checkedMaxPoints(asked: number | null): number {
  const maxPoints = asked ?? DEFAULT_POINTS;
  if (maxPoints < MIN_POINTS || maxPoints > MAX_POINTS) {
    throw UserError.of('BAD_USER_INPUT', `must be from ${MIN_POINTS} to ${MAX_POINTS}, not ${maxPoints}`, ['maxPoints']);
  }
  return maxPoints;
}

/** How much of a history is shown. */
export interface SeriesExtent {
  maxPoints: number;
  /** Null: all attempts together. */
  attempt: number | null;
}

/** Whether the points of the attempt are to be picked out of all: a job's only attempt logged all that there is. */
export function needsPicking(job: JobRow, attempt: number | null): attempt is number {
  return attempt !== null && job.attemptCount > 1;
}

/** The views of series of one or many jobs, without those that the attempt did not log. */
export async function seriesViews(loaders: Loaders, series: readonly { job: JobRow; row: SeriesRow }[], { maxPoints, attempt }: SeriesExtent): Promise<SeriesView[]> {
  const views = await Promise.all(series.map(async ({ job, row }): Promise<SeriesView[]> => {
    if (!needsPicking(job, attempt)) return [seriesView(loaders, { job, row, attempt }, maxPoints, null)];
    const summary = await loaders.summaryOfAttempt.load(attempt, { jobId: row.jobId, seriesNumber: row.seriesNumber });
    return summary === null ? [] : [seriesView(loaders, { job, row: { ...row, ...summary }, attempt }, maxPoints, attempt)];
  }));
  return views.flat();
}

/** @param readAttempt the attempt whose points are picked out of all; null where there are no others */
function seriesView(loaders: Loaders, { job, row, attempt }: Pick<SeriesView, 'job' | 'row' | 'attempt'>, maxPoints: number, readAttempt: number | null): SeriesView {
  let points: Promise<ShownPoints> | undefined;
  const read = async (): Promise<ShownPoints> => {
    loaders.takePoints(Math.min(row.pointCount, maxPoints));
    return shownPoints(await loaders.pointsOfSeries.load({ maxPoints, attempt: readAttempt }, { jobId: row.jobId, seriesNumber: row.seriesNumber }), maxPoints);
  };
  return { key: row.key, job, attempt, row, points: () => (points ??= read()) };
}

/** At most `maxPoints` of the points, as columns of the schema. */
export function shownPoints(points: SeriesPoints, maxPoints: number): ShownPoints {
  const { indexes, sampled } = downsampleMinMax(points.steps, points.values, maxPoints);
  const kept = sampled ? pick(points, indexes) : points;
  return {
    steps: kept.steps,
    values: kept.values.map(finite),
    times: kept.times.map((time) => new Date(time)),
    nonFinite: kept.values.flatMap((value, index) => {
      const name = nonFiniteName(value);
      return name === null ? [] : [{ index, step: kept.steps[index]!, value: name }];
    }),
    sampled: sampled || points.reduced,
  };
}

/** The value, or null where JSON has no number for it. */
export function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

function nonFiniteName(value: number): NonFiniteName | null {
  if (Number.isFinite(value)) return null;
  if (Number.isNaN(value)) return 'NAN';
  return value > 0 ? 'POSITIVE_INFINITY' : 'NEGATIVE_INFINITY';
}

function pick(points: PointColumns, indexes: number[]): PointColumns {
  const column = (values: number[]): number[] => indexes.map((index) => values[index]!);
  return { steps: column(points.steps), values: column(points.values), times: column(points.times) };
}
