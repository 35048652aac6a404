/**
 * A requeue (by hand, after a node failed, by preemption) is a new attempt under the same id. The attempt that was under way is
 * closed with what ended it, and the next one opened; the script of the job counts in the same way (attempt + restart).
 */
import type { Logger } from 'pino';
import type { EarlierRun, Observation } from '../cluster/executor.ts';
import { REQUEUED_REASON } from '../cluster/slurm/parse.ts';
import type { Database } from '../db/database.ts';
import type { TrackedAttemptRow } from '../db/read/tracked-attempts.ts';
import { applyAttemptChanges } from '../db/write/attempts.ts';
import { appendEvents } from '../db/write/events.ts';
import { openNextRun } from '../db/write/requeues.ts';
import { transact } from '../db/transaction.ts';
import { confirmEnd, decideAttemptChange, type AttemptChange } from '../domain/attempt-change.ts';
import { isTerminalAttemptState } from '../domain/states.ts';
import { keyOf } from './open-batches.ts';

/** Answers the same attempts, with the newest run in the place of one that was requeued. */
export async function followRequeues(
  { database, logger }: { database: Database; logger: Logger }, tracked: TrackedAttemptRow[], observations: ReadonlyMap<string, Observation>,
): Promise<TrackedAttemptRow[]> {
  const followed: TrackedAttemptRow[] = [];
  for (const row of tracked) {
    let newest = row;
    for (const ended of observations.get(keyOf(row))?.earlierRuns.slice(row.restart) ?? []) newest = await closeAndOpen(database, newest, ended) ?? newest;
    if (newest !== row) logger.info({ job: row.jobId, slurmJobId: row.slurmJobId, attempt: newest.attemptNumber }, 'requeued: a new attempt');
    followed.push(newest);
  }
  return followed;
}

/**
 * How a run ended that was put back into the queue, the scheduler knows better than its exit record. But where it tells no more than that it was put
 * back, as of a run that had ended before somebody requeued it, a success stands: any other end may be the requeue's own doing.
 */
function confirmRequeued(row: TrackedAttemptRow, { state, reason }: EarlierRun, seen: Parameters<typeof confirmEnd>[1]): AttemptChange | null {
  return row.state === 'COMPLETED' && state === 'CANCELLED' && reason === REQUEUED_REASON ? null : confirmEnd(row, seen, null);
}

/** Null when there is a newer attempt already, or one is to be made: the job was tried again meanwhile. */
async function closeAndOpen(database: Database, row: TrackedAttemptRow, ended: EarlierRun): Promise<TrackedAttemptRow | null> {
  const seen = { ...ended, slurmJobId: row.slurmJobId ?? '', estimatedStartAt: null };
  const change = isTerminalAttemptState(row.state) ? confirmRequeued(row, ended, seen) : decideAttemptChange(row, seen, null, 0);
  const reason = `requeued: ${change?.reason ?? 'put back into the queue'}`;
  const isOpen = await transact(database, async (transaction) => {
    const opened = await openNextRun(transaction, row, reason);
    // After the next one is open the job no longer follows this attempt: it does not end with it.
    const closed = opened.length === 0 || change === null ? [] : await applyAttemptChanges(transaction, [{ ...row, from: row.state, change }]);
    await appendEvents(transaction, [...closed, ...opened]);
    return opened.length > 0;
  });
  return !isOpen ? null : {
    ...row, attemptNumber: row.attemptNumber + 1, restart: row.restart + 1, state: 'PENDING', reason: null, nodeList: null, startedAt: null, estimatedStartAt: null,
    submittedAt: new Date(),
  };
}
