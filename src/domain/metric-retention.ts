/** How long a project keeps every point of its metrics, and what is left afterwards. */
import type { UserFault } from './errors.ts';

export interface MetricRetention {
  /** Days after the end of a job for which all points of its metrics are kept; null: for ever. */
  exactDays: number | null;
  /** About how many points of a long history are left after that. */
  pointsPerSeries: number;
}

/** Of a project for which nothing was set. */
export const DEFAULT_METRIC_RETENTION: MetricRetention = { exactDays: null, pointsPerSeries: 2000 };

/** It in words that go on a sentence. */
export function describeMetricRetention({ exactDays, pointsPerSeries }: MetricRetention): string {
  return exactDays === null ? 'every point is kept for ever' : `every point is kept for ${exactDays} days after the end of a job, then about ${pointsPerSeries} of a long history`;
}

/** Why a job is not tried again: a new attempt would log its early steps again, and of those only a roll-up is left. */
export const ROLLED_UP_PROBLEM = 'only a roll-up is left of its metrics (metricRetention of the project), and a new attempt could not log those steps again; '
  + 'submit the same job anew with onDuplicate: RUN_AGAIN, which gives it a history of its own';

/** Longer is the same as for ever. */
const MAX_EXACT_DAYS = 36_500;
/** Fewer show no curve; more are hardly less than a whole history. */
const POINTS_PER_SERIES = { least: 100, most: 100_000 };

/** What is wrong with it. */
export function metricRetentionFaults({ exactDays, pointsPerSeries }: MetricRetention, field: string[]): UserFault[] {
  const faults: UserFault[] = [];
  const { least, most } = POINTS_PER_SERIES;
  if (exactDays !== null && (exactDays < 1 || exactDays > MAX_EXACT_DAYS)) {
    faults.push({ field: [...field, 'exactDays'], message: `must be from 1 to ${MAX_EXACT_DAYS}, or left out to keep every point for ever; it is ${exactDays}`, code: 'BAD_USER_INPUT' });
  }
  if (pointsPerSeries < least || pointsPerSeries > most) {
    faults.push({ field: [...field, 'pointsPerSeries'], message: `must be from ${least} to ${most}, not ${pointsPerSeries}`, code: 'BAD_USER_INPUT' });
  }
  return faults;
}
