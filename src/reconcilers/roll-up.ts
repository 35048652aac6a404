/** Rolls up the histories of jobs that ended longer ago than their project keeps every point. */
import type { Logger } from 'pino';
import type { Database } from '../db/database.ts';
import { jobsToRollUp, longSeriesOf } from '../db/read/roll-ups.ts';
import { transact } from '../db/transaction.ts';
import { markRolledUp, rollUpStretch } from '../db/write/roll-up.ts';
import { UserError } from '../domain/errors.ts';
import { crashPoint } from './crash-point.ts';
import { loggedError } from './logged-error.ts';
import { startLoop, type Loop } from './loop.ts';

const JOBS_PER_LOOK = 100;
/** A run ends after this, so that the settings are looked at again and a stop does not wait for long. */
const RUN_MS = 2_000;
/** Between two runs while there is more to do: others want to write, too. */
const BUSY_PERIOD_MS = 500;
const IDLE_PERIOD_MS = 60_000;
/** A job that could not be rolled up is not tried again for so long. */
const PASS_OVER_MS = 60 * 60_000;

/** Several processes may run it at once: whoever comes second finds nothing left to do. */
export function startRollUps(database: Database, logger: Logger): Loop {
  let hasMore = false;
  const passedOver: PassedOver = new Map();
  return startLoop({
    name: 'roll-up', logger, periodMs: () => (hasMore ? BUSY_PERIOD_MS : IDLE_PERIOD_MS),
    run: async () => { hasMore = await rollUpDue(database, logger, RUN_MS, passedOver); },
  });
}

/** Jobs that could not be rolled up, with the time (of `performance.now`) from which they are tried again. */
export type PassedOver = Map<string, number>;

/**
 * Rolls up what is due, in many short transactions, for at most about so long. Answers whether there may be more. A job that fails is logged and
 * passed over for a while, and the others go on; throws only where the database cannot be reached.
 */
export async function rollUpDue(database: Database, logger: Logger, maxMs: number, passedOver: PassedOver = new Map()): Promise<boolean> {
  const end = performance.now() + maxMs;
  for (const [jobId, until] of passedOver) if (performance.now() > until) passedOver.delete(jobId);
  const due = await jobsToRollUp(database, JOBS_PER_LOOK, [...passedOver.keys()]);
  for (const job of due) {
    try {
      await rollUpJob(database, job, end);
    } catch (error) {
      if (error instanceof UserError && error.code === 'DATABASE_UNAVAILABLE') throw error;
      logger.warn({ jobId: job.jobId, ...loggedError(error) }, 'the metrics of a job could not be rolled up; it is passed over for an hour');
      passedOver.set(job.jobId, performance.now() + PASS_OVER_MS);
    }
    if (performance.now() > end) return true;
  }
  return due.length === JOBS_PER_LOOK;
}

async function rollUpJob(database: Database, { jobId, pointsPerSeries }: { jobId: string; pointsPerSeries: number }, end: number): Promise<void> {
  for (const seriesNumber of await longSeriesOf(database, jobId)) {
    while (await transact(database, async (transaction) => {
      const hasMore = await rollUpStretch(transaction, { jobId, seriesNumber, pointsPerSeries });
      crashPoint('roll-up-before-commit');
      return hasMore;
    })) {
      crashPoint('roll-up-after-commit');
      if (performance.now() > end) return;
    }
  }
  await transact(database, (transaction) => markRolledUp(transaction, jobId));
}
