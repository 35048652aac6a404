import type { Database } from '../db/database.ts';
import { transact } from '../db/transaction.ts';
import { appendEvents } from '../db/write/events.ts';
import { writePoints, type SeriesPoints } from '../db/write/metrics.ts';
import type { UserFault } from '../domain/errors.ts';
import { badInput, metricKeyFaults, throwFaults } from './input-faults.ts';
import { resolveAttempt } from './resolve-attempt.ts';

/** Points in one call: bounds the transaction, and a request body of this size is already large. */
const MAX_POINTS_PER_CALL = 100_000;
/** Faults in one series' points are all of a kind. */
const MAX_FAULTS_PER_SERIES = 5;

const NON_FINITE = { 'NaN': Number.NaN, 'Infinity': Number.POSITIVE_INFINITY, '-Infinity': Number.NEGATIVE_INFINITY } as const;
export type NonFiniteWord = keyof typeof NON_FINITE;

export interface RecordedSeriesInput {
  key: string;
  steps: number[];
  /** As long as steps. Null where `nonFinite` says what stands there. */
  values: (number | null)[];
  /** As long as steps; absent: now. */
  times?: Date[] | null;
  nonFinite?: { index: number; value: NonFiniteWord }[] | null;
}

export interface RecordMetricsInput {
  jobId: string;
  /** Absent: the newest attempt. */
  attempt?: number | null;
  series: RecordedSeriesInput[];
}

/** Takes in points of one job; the same points again change nothing. Throws UserError NOT_FOUND, BAD_USER_INPUT, LIMIT_EXCEEDED. */
export async function recordMetrics({ database }: { database: Database }, input: RecordMetricsInput): Promise<{ pointCount: number; refusedPointCount: number }> {
  throwFaults([...countFaults(input), ...input.series.flatMap((series, index) => seriesFaults(series, ['series', String(index)]))]);
  const now = new Date();
  const series = input.series.map((each) => toPoints(each, now));
  return transact(database, async (transaction) => {
    const { attemptNumber, ...job } = await resolveAttempt(transaction, input);
    const [written] = await writePoints(transaction, [{ jobId: job.jobId, attemptNumber, series }]);
    const { series: taken, refusedCount, overLimitCount } = written!;
    if (taken.length > 0) await appendEvents(transaction, [{ kind: 'METRICS_APPENDED', ...job, attemptNumber, payload: { series: taken } }]);
    return { pointCount: taken.reduce((sum, each) => sum + each.count, 0), refusedPointCount: refusedCount + overLimitCount };
  });
}

function countFaults({ series }: RecordMetricsInput): UserFault[] {
  const count = series.reduce((sum, each) => sum + each.steps.length, 0);
  if (count <= MAX_POINTS_PER_CALL) return [];
  return [{ field: ['series'], message: `holds ${count} points; the limit is ${MAX_POINTS_PER_CALL} a call, so send them in parts`, code: 'LIMIT_EXCEEDED' }];
}

function seriesFaults(series: RecordedSeriesInput, field: string[]): UserFault[] {
  const { key, steps, values, times } = series;
  const faults = metricKeyFaults(key, [...field, 'key']);
  if (values.length !== steps.length) faults.push(badInput([...field, 'values'], `has ${values.length} entries and steps has ${steps.length}; they belong together`));
  if (times && times.length !== steps.length) faults.push(badInput([...field, 'times'], `has ${times.length} entries and steps has ${steps.length}; they belong together`));
  const points: UserFault[] = [];
  for (const [index, step] of steps.entries()) {
    if (!Number.isSafeInteger(step) || step < 0) points.push(badInput([...field, 'steps', String(index)], `must be a whole number of 0 or more, not ${step}`));
  }
  for (const [index, time] of (times ?? []).entries()) {
    if (Number.isNaN(time.getTime())) points.push(badInput([...field, 'times', String(index)], 'is not a time'));
  }
  return [...faults, ...points.slice(0, MAX_FAULTS_PER_SERIES), ...nonFiniteFaults(series, field)];
}

function nonFiniteFaults({ values, nonFinite }: RecordedSeriesInput, field: string[]): UserFault[] {
  const named = new Map((nonFinite ?? []).map(({ index, value }) => [index, value]));
  const faults: UserFault[] = [];
  for (const [index, value] of values.entries()) {
    if (value === null && !named.has(index)) faults.push(badInput([...field, 'values', String(index)], 'is null, and nonFinite does not say whether it is NaN, Infinity or -Infinity'));
    if (value !== null && !Number.isFinite(value)) faults.push(badInput([...field, 'values', String(index)], `must be a finite number or null, not ${value}`));
  }
  for (const [index, word] of named) {
    if (values[index] !== null) faults.push(badInput([...field, 'nonFinite'], `names the value at ${index}, which is not null`));
    if (!Object.hasOwn(NON_FINITE, word)) faults.push(badInput([...field, 'nonFinite'], `"${word}" must be one of ${Object.keys(NON_FINITE).join(', ')}`));
  }
  return faults.slice(0, MAX_FAULTS_PER_SERIES);
}

function toPoints({ key, steps, values, times, nonFinite }: RecordedSeriesInput, now: Date): SeriesPoints {
  const named = new Map((nonFinite ?? []).map(({ index, value }) => [index, NON_FINITE[value]]));
  return { key, steps, values: values.map((value, index) => value ?? named.get(index) ?? Number.NaN), times: times?.map((time) => time.getTime()) ?? steps.map(() => now.getTime()) };
}
