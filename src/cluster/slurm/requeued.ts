/** Tells a run that came after a requeue from the one that is known: SLURM keeps the id and gives a new time of submission. */
import { isTerminalAttemptState } from '../../domain/states.ts';
import type { EarlierRun, Observation, TrackedAttempt } from '../executor.ts';
import { REQUEUED_REASON, type JobRow } from './parse.ts';

/** What one row of a listing says of one attempt. */
export interface Sighting extends Observation {
  /** When it was submitted or put back into the queue. */
  submittedAt: Date | null;
}

/** By how much the clocks of controller and nodes may differ before they are taken for evidence, where accounting cannot be asked. */
const CLOCK_DIFFERENCE_MS = 60_000;

/** Whether the queue may be showing a later run of the attempt's job than the one that is known. Accounting can tell for certain. */
export function mayBeRerun({ startedAt }: TrackedAttempt, seen: Sighting): boolean {
  if (startedAt === null) return false;
  return isWaiting(seen) || (seen.submittedAt !== null && seen.submittedAt > startedAt);
}

/** The same without accounting: what had started cannot wait unless it was put back. */
export function mustBeRerun({ startedAt }: TrackedAttempt, seen: Sighting): boolean {
  if (startedAt === null) return false;
  return isWaiting(seen) || (seen.submittedAt !== null && seen.submittedAt.getTime() - startedAt.getTime() > CLOCK_DIFFERENCE_MS);
}

/** Whether accounting, which lags, tells of the end of a run before the one that is known: it has no row of that yet. */
export function isOfEarlierRun({ restart, startedAt, submittedAt }: TrackedAttempt, { earlierRuns, finishedAt }: JobRow): boolean {
  return earlierRuns.length < restart && finishedAt !== null && finishedAt < (startedAt ?? submittedAt);
}

function isWaiting({ state }: Sighting): boolean {
  return state === 'PENDING' || state === 'CONFIGURING';
}

/** The runs that were over when the one in the queue was put there, of accounting's rows for its id. */
export function runsBefore(seen: Sighting, { earlierRuns, ...newest }: JobRow): EarlierRun[] {
  return [...earlierRuns, newest]
    .filter((run) => isTerminalAttemptState(run.state) && (seen.submittedAt === null || run.submittedAt === null || run.submittedAt < seen.submittedAt))
    .map(endOf);
}

/** How many runs there were is known, how they ended is not. */
export function untoldRuns({ startedAt, restart }: TrackedAttempt): EarlierRun[] {
  const untold: EarlierRun = {
    state: 'CANCELLED', reason: REQUEUED_REASON, nodeList: null, exitCode: null, signal: null, startedAt, finishedAt: null, elapsedSeconds: null, maxRssBytes: null,
  };
  return Array.from({ length: restart + 1 }, () => untold);
}

export function endOf({ state, reason, nodeList, exitCode, signal, startedAt, finishedAt, elapsedSeconds, maxRssBytes }: EarlierRun): EarlierRun {
  return { state, reason, nodeList, exitCode, signal, startedAt, finishedAt, elapsedSeconds, maxRssBytes };
}
