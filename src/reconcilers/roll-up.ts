/** Rolls up the histories of jobs that ended longer ago than their project keeps every point. */
import type { Logger } from 'pino';
import type { Database } from '../db/database.ts';
import { jobsToRollUp, longSeriesOf } from '../db/read/roll-ups.ts';
import { transact } from '../db/transaction.ts';
import { markRolledUp, rollUpStretch } from '../db/write/roll-up.ts';
import { startLoop, type Loop } from './loop.ts';

const JOBS_PER_LOOK = 100;
/** A run ends after this, so that the settings are looked at again and a stop does not wait for long. */
const RUN_MS = 2_000;
/** Between two runs while there is more to do: others want to write, too. */
const BUSY_PERIOD_MS = 500;
const IDLE_PERIOD_MS = 60_000;

/** Several processes may run it at once: whoever comes second finds nothing left to do. */
export function startRollUps(database: Database, logger: Logger): Loop {
  let hasMore = false;
  return startLoop({
    name: 'roll-up', logger, periodMs: () => (hasMore ? BUSY_PERIOD_MS : IDLE_PERIOD_MS),
    run: async () => { hasMore = await rollUpDue(database, RUN_MS); },
  });
}

/** Rolls up what is due, in many short transactions, for at most about so long. Answers whether there may be more. */
export async function rollUpDue(database: Database, maxMs: number): Promise<boolean> {
  const end = performance.now() + maxMs;
  const due = await jobsToRollUp(database, JOBS_PER_LOOK);
  for (const { jobId, pointsPerSeries } of due) {
    for (const seriesNumber of await longSeriesOf(database, jobId)) {
      while (await transact(database, (transaction) => rollUpStretch(transaction, { jobId, seriesNumber, pointsPerSeries }))) {
        if (performance.now() > end) return true;
      }
    }
    await transact(database, (transaction) => markRolledUp(transaction, jobId));
    if (performance.now() > end) return true;
  }
  return due.length === JOBS_PER_LOOK;
}
