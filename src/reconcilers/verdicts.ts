/** What the evidence of a round changes: the word of the scheduler and the files of the jobs, taken together. */
import type { Observation } from '../cluster/executor.ts';
import type { TrackedAttemptRow } from '../db/read/tracked-attempts.ts';
import { confirmEnd, decideAttemptChange, isPlainSuccess, type AttemptChange } from '../domain/attempt-change.ts';
import { REFUSED_EXIT_CODE } from '../domain/start-guard.ts';
import { isTerminalAttemptState } from '../domain/states.ts';
import { ownStart, type FoundStart } from './harvest-start.ts';
import type { Harvest } from './harvest.ts';
import { keyOf } from './open-batches.ts';

/** For how long the scheduler's own word on an end is waited for, where an exit record told of it first. */
export const CONFIRM_SECONDS = 120;
/**
 * For how long accounting may be silent about a job that has left the queue with an exit record of a failure. It lags after an end, and it
 * alone knows a time limit, a preemption, a node that failed. After this the exit record tells the end.
 */
const ACCOUNTING_GRACE_SECONDS = 30;

/** What this process remembers of silence, in milliseconds. */
export interface SilenceMemory {
  /** When the scheduler last mentioned an attempt, or was first asked about it, by `keyOf`. */
  lastSeen: Map<string, number>;
  /** Since when it is known that an attempt failed of which the scheduler says nothing, by `runOf`. */
  untoldSince: Map<string, number>;
}

export interface Evidence {
  observations: ReadonlyMap<string, Observation>;
  harvests: ReadonlyMap<string, Harvest>;
  /** Whether the cluster keeps accounts, which may still tell of an end. */
  hasAccounting: boolean;
  /** Whether the scheduler was asked about it: its silence means nothing otherwise. */
  wasAsked: (row: TrackedAttemptRow) => boolean;
}

export interface Verdicts {
  /** By job. */
  changes: Map<string, AttemptChange>;
  /** Jobs that have failed: accounting has yet to tell how. */
  untold: string[];
}

export const runOf = ({ jobId, attemptNumber }: Pick<TrackedAttemptRow, 'jobId' | 'attemptNumber'>): string => `${jobId} ${attemptNumber}`;

export function judge({ lastSeen, untoldSince }: SilenceMemory, now: Date, rows: TrackedAttemptRow[], { observations, harvests, hasAccounting, wasAsked }: Evidence): Verdicts {
  const verdicts: Verdicts = { changes: new Map(), untold: [] };
  const time = now.getTime();
  for (const row of rows) {
    const seen = observations.get(keyOf(row)) ?? null;
    const { exitRecord = null, start = null } = harvests.get(row.jobId) ?? {};
    if (isUntoldRefusal(seen, start, now)) continue;
    const hasEnded = row.state !== 'LOST' && isTerminalAttemptState(row.state);
    const mayBeTold = hasAccounting && !hasEnded && seen === null && exitRecord !== null && !isPlainSuccess(row, exitRecord);
    const since = untoldSince.get(runOf(row)) ?? time;
    if (mayBeTold) untoldSince.set(runOf(row), since);
    else untoldSince.delete(runOf(row));
    const isUntold = mayBeTold && time - since < ACCOUNTING_GRACE_SECONDS * 1000;
    if (isUntold) verdicts.untold.push(row.jobId);
    const absentSeconds = wasAsked(row) && !isUntold ? (time - (lastSeen.get(keyOf(row)) ?? time)) / 1000 : null;
    const change = hasEnded ? seen && confirmEnd(row, seen, exitRecord) : decideAttemptChange(row, seen, exitRecord, absentSeconds, ownStart(row, start));
    if (change !== null) verdicts.changes.set(row.jobId, change);
  }
  return verdicts;
}

/** An execution that ran nothing, as its exit code says, while a shared file system does not show yet who runs in its place. */
function isUntoldRefusal(seen: Observation | null, start: FoundStart | null, now: Date): boolean {
  if (seen?.state !== 'FAILED' || seen.exitCode !== REFUSED_EXIT_CODE || start !== null || seen.finishedAt === null) return false;
  return now.getTime() - seen.finishedAt.getTime() < CONFIRM_SECONDS * 1000;
}
