import type { Database, Transaction } from '../db/database.ts';
import { jobsById } from '../db/read/jobs.ts';
import { transact } from '../db/transaction.ts';
import { appendEvents } from '../db/write/events.ts';
import { writePoints, type SeriesPoints } from '../db/write/metrics.ts';
import { UserError } from '../domain/errors.ts';
import type { NewEvent } from '../domain/events.ts';
import { MAX_SERIES_PER_JOB } from '../domain/series-limit.ts';
import { attemptOf, type ResolvedAttempt } from './resolve-attempt.ts';

/** Points of one attempt of one job. */
export interface IngestedPoints {
  jobId: string;
  /** Null: the newest. */
  attempt: number | null;
  series: SeriesPoints[];
}

export interface RefusedPoints {
  jobId: string;
  attempt: number | null;
  /** Why, in words: there is no such job, it has no such attempt, the steps are rolled up, or it has as many metrics as a job may have. */
  message: string;
}

export interface IngestedMetrics {
  /** Points that are now in the database, those among them that were there before included. */
  pointCount: number;
  refused: RefusedPoints[];
}

/** How many they are is counted on the job, in `dropped`. */
const ROLLED_UP_MESSAGE = 'has points at steps of which only a roll-up is left (metricRetention of the project); these were not taken';
const OVER_LIMIT_MESSAGE = `has ${MAX_SERIES_PER_JOB} metrics, the most that a job may have; points of further metrics were not taken`;

/** Takes in points of many jobs in one transaction; the same points again change nothing. What cannot be taken is answered, and keeps out nothing else. */
export async function ingestMetrics({ database }: { database: Database }, parts: readonly IngestedPoints[]): Promise<IngestedMetrics> {
  return transact(database, async (transaction) => {
    const { known, refused } = await resolveAll(transaction, parts);
    const events: NewEvent[] = [];
    let pointCount = 0;
    for (const group of eachJobOnce(known)) {
      const written = await writePoints(transaction, group);
      for (const [index, { series, refusedCount, overLimitCount }] of written.entries()) {
        const { jobId, attemptNumber, experimentId, sweepId } = group[index]!;
        if (refusedCount > 0) refused.push({ jobId, attempt: attemptNumber, message: ROLLED_UP_MESSAGE });
        if (overLimitCount > 0) refused.push({ jobId, attempt: attemptNumber, message: OVER_LIMIT_MESSAGE });
        if (series.length > 0) events.push({ kind: 'METRICS_APPENDED', jobId, attemptNumber, experimentId, sweepId, payload: { series } });
        pointCount += series.reduce((sum, { count }) => sum + count, 0);
      }
    }
    await appendEvents(transaction, events);
    return { pointCount, refused };
  });
}

type KnownPoints = ResolvedAttempt & { series: SeriesPoints[] };

async function resolveAll(transaction: Transaction, parts: readonly IngestedPoints[]): Promise<{ known: KnownPoints[]; refused: RefusedPoints[] }> {
  const jobs = await jobsById(transaction, parts.map(({ jobId }) => jobId.toLowerCase()));
  const known: KnownPoints[] = [];
  const refused: RefusedPoints[] = [];
  for (const [index, { series, ...asked }] of parts.entries()) {
    try {
      known.push({ ...attemptOf(jobs[index] ?? null, asked), series });
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      refused.push({ ...asked, message: error.faults.map(({ message }) => message).join('; ') });
    }
  }
  return { known, refused };
}

/** Points of several attempts of a job are written one attempt after the other. */
function eachJobOnce(known: readonly KnownPoints[]): KnownPoints[][] {
  const groups: Map<string, KnownPoints>[] = [];
  for (const points of known) {
    const group = groups.find((each) => !each.has(points.jobId)) ?? new Map<string, KnownPoints>();
    if (group.size === 0) groups.push(group);
    group.set(points.jobId, points);
  }
  return groups.map((group) => [...group.values()]);
}
