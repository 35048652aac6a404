import type { Database } from '../db/database.ts';
import { transact } from '../db/transaction.ts';
import { appendEvents } from '../db/write/events.ts';
import { writePoints, type SeriesPoints } from '../db/write/metrics.ts';
import { UserError } from '../domain/errors.ts';
import type { NewEvent } from '../domain/events.ts';
import { resolveAttempt } from './resolve-attempt.ts';

/** Points of one attempt of one job. */
export interface JobPoints {
  jobId: string;
  /** Null: the newest. */
  attempt: number | null;
  series: SeriesPoints[];
}

export interface RefusedPoints {
  jobId: string;
  attempt: number | null;
  /** Why, in words: there is no such job, or it has no such attempt. */
  message: string;
}

export interface IngestedMetrics {
  /** Points that are now in the database, those among them that were there before included. */
  pointCount: number;
  refused: RefusedPoints[];
}

/** Takes in points of many jobs in one transaction; the same points again change nothing. What cannot be taken is answered, and keeps out nothing else. */
export async function ingestMetrics({ database }: { database: Database }, parts: readonly JobPoints[]): Promise<IngestedMetrics> {
  // In one order everywhere: each job's metrics have a lock.
  const inOrder = [...parts].sort((a, b) => (a.jobId < b.jobId ? -1 : a.jobId > b.jobId ? 1 : 0));
  return transact(database, async (transaction) => {
    const refused: RefusedPoints[] = [];
    const events: NewEvent[] = [];
    for (const { jobId, attempt, series } of inOrder) {
      try {
        const { attemptNumber, ...job } = await resolveAttempt(transaction, { jobId, attempt });
        const written = await writePoints(transaction, job.jobId, attemptNumber, series);
        if (written.series.length > 0) events.push({ kind: 'METRICS_APPENDED', ...job, attemptNumber, payload: { series: written.series } });
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        refused.push({ jobId, attempt, message: error.faults.map(({ message }) => message).join('; ') });
      }
    }
    await appendEvents(transaction, events);
    const pointCount = events.reduce((sum, event) => sum + (event.kind === 'METRICS_APPENDED' ? event.payload.series.reduce((points, { count }) => points + count, 0) : 0), 0);
    return { pointCount, refused };
  });
}
