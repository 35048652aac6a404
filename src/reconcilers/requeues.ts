/**
 * A requeue (by hand, after a node failed, by preemption) is a new attempt under the same id. The attempt that was under way is
 * closed with what ended it, and the next one opened; the script of the job counts in the same way (attempt + restart).
 */
import type { Logger } from 'pino';
import type { EarlierRun, Observation } from '../cluster/executor.ts';
import { REQUEUED_REASON } from '../cluster/slurm/parse.ts';
import type { Transport } from '../cluster/transport.ts';
import type { Database } from '../db/database.ts';
import type { TrackedAttemptRow } from '../db/read/tracked-attempts.ts';
import { applyAttemptChanges } from '../db/write/attempts.ts';
import { appendEvents } from '../db/write/events.ts';
import { openNextRun } from '../db/write/requeues.ts';
import { transact } from '../db/transaction.ts';
import { confirmEnd, decideAttemptChange, endedByItself, parseExitRecord, type AttemptChange, type ExitRecord } from '../domain/attempt-change.ts';
import { exitRecordPath } from '../domain/layout.ts';
import { isTerminalAttemptState } from '../domain/states.ts';
import { keyOf } from './open-batches.ts';

interface RequeueDependencies {
  database: Database;
  /** By what the exit records of jobs are read. */
  files: Pick<Transport, 'read'>;
  logger: Logger;
}

/** A run that was put back into the queue, with the number of its attempt. */
interface RequeuedRun {
  attemptNumber: number;
  ended: EarlierRun;
  /** Of a command that ended before anybody put its job back. */
  ownEnd: ExitRecord | null;
}

const MAX_RECORD_BYTES = 4096;

/** Answers the same attempts, with the newest run in the place of one that was requeued. */
export async function followRequeues(
  { database, files, logger }: RequeueDependencies, tracked: TrackedAttemptRow[], observations: ReadonlyMap<string, Observation>,
): Promise<TrackedAttemptRow[]> {
  const runs = await requeuedRuns(files, tracked, observations);
  const followed: TrackedAttemptRow[] = [];
  for (const [index, row] of tracked.entries()) {
    let newest = row;
    for (const run of runs[index]!) if (run.attemptNumber === newest.attemptNumber) newest = await closeAndOpen(database, newest, run) ?? newest;
    if (newest !== row) logger.info({ job: row.jobId, slurmJobId: row.slurmJobId, attempt: newest.attemptNumber }, 'requeued: a new attempt');
    followed.push(newest);
  }
  return followed;
}

/** The runs of each attempt and those after it that were put back, oldest first. */
async function requeuedRuns(files: Pick<Transport, 'read'>, tracked: TrackedAttemptRow[], observations: ReadonlyMap<string, Observation>): Promise<RequeuedRun[][]> {
  const runs = tracked.map((row) => (observations.get(keyOf(row))?.earlierRuns.slice(row.restart) ?? []).map((ended, index): RequeuedRun => (
    { attemptNumber: row.attemptNumber + index, ended, ownEnd: null })));
  const unexplained = runs.flatMap((ofRow, index) => ofRow.filter(({ ended }) => isBareRequeue(ended)).map((run) => ({ run, directory: tracked[index]!.jobDirectory })));
  if (unexplained.length === 0) return runs;
  const texts = await files.read(unexplained.map(({ run, directory }) => ({ path: exitRecordPath(directory, run.attemptNumber), offsetBytes: 0, maxBytes: MAX_RECORD_BYTES })));
  for (const [index, { run }] of unexplained.entries()) {
    const record = parseExitRecord(texts[index]?.toString('utf8') ?? '');
    if (record !== null && endedByItself(record)) run.ownEnd = record;
  }
  return runs;
}

/** Whether the scheduler tells no more than that a run was put back: also of one that had ended before somebody requeued it. */
function isBareRequeue({ state, reason }: EarlierRun): boolean {
  return state === 'CANCELLED' && reason === REQUEUED_REASON;
}

/**
 * How a run ended that was put back into the queue, the scheduler knows better than its exit record. But where it tells no more than that it
 * was put back, what is known already stands, but for a failure that may be the requeue's own doing.
 */
function endOfRequeued(row: TrackedAttemptRow, { ended, ownEnd }: RequeuedRun): AttemptChange | null {
  const seen = { ...ended, slurmJobId: row.slurmJobId ?? '', estimatedStartAt: null };
  const isOpen = row.state === 'LOST' || !isTerminalAttemptState(row.state);
  if (!isBareRequeue(ended)) return isOpen ? decideAttemptChange(row, seen, null, 0) : confirmEnd(row, seen, null);
  if (isOpen) return decideAttemptChange(row, ownEnd === null ? seen : null, ownEnd, 0);
  return row.state === 'FAILED' && ownEnd === null ? confirmEnd(row, seen, null) : null;
}

/** Null when there is a newer attempt already, or one is to be made: the job was tried again meanwhile. */
async function closeAndOpen(database: Database, row: TrackedAttemptRow, run: RequeuedRun): Promise<TrackedAttemptRow | null> {
  const change = endOfRequeued(row, run);
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
