/** Tells a run that came after a requeue from the one that is known: SLURM keeps the id and gives a new time of submission. */
import { ownerPath } from '../../domain/layout.ts';
import { parseGuardOwner } from '../../domain/start-guard.ts';
import { isTerminalAttemptState } from '../../domain/states.ts';
import type { EarlierRun, Observation, TrackedAttempt } from '../executor.ts';
import type { Transport } from '../transport.ts';
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

export function isWaiting({ state }: Sighting): boolean {
  return state === 'PENDING' || state === 'CONFIGURING';
}

/** The runs that were over when the one in the queue was put there, of accounting's rows for its id. */
export function runsBefore(seen: Sighting, { earlierRuns, ...newest }: JobRow): EarlierRun[] {
  return [...earlierRuns, newest]
    .filter((run) => isTerminalAttemptState(run.state) && (seen.submittedAt === null || run.submittedAt === null || run.submittedAt < seen.submittedAt))
    .map(endOf);
}

/** How many runs there were is known, how they ended is not. */
export function untoldRuns({ startedAt, restart }: TrackedAttempt, laterRuns = 1): EarlierRun[] {
  const untold: EarlierRun = {
    state: 'CANCELLED', reason: REQUEUED_REASON, nodeList: null, exitCode: null, signal: null, startedAt, finishedAt: null, elapsedSeconds: null, maxRssBytes: null,
  };
  return Array.from({ length: restart + laterRuns }, () => untold);
}

/** Start guards looked at in one go: two, for a run may have broken off before it took its own. */
const GUARDS_AT_ONCE = 2;
/** Requeues that nobody saw: beyond these the next look goes on. */
const MAX_UNSEEN_RUNS = 20;

/** How many runs after the known one have started, of each attempt that has any: they hold the start guards of the attempts after it. */
export async function laterStarts(transport: Pick<Transport, 'read'>, attempts: TrackedAttempt[]): Promise<Map<TrackedAttempt, number>> {
  const starts = new Map<TrackedAttempt, number>();
  let open = attempts.filter(({ slurmJobId }) => slurmJobId !== null);
  for (let from = 1; open.length > 0 && from < MAX_UNSEEN_RUNS; from += GUARDS_AT_ONCE) {
    const guards = open.flatMap((attempt) => Array.from({ length: GUARDS_AT_ONCE }, (_, index) => ({ attempt, later: from + index })));
    const owners = await transport.read(guards.map(({ attempt, later }) => ({ path: ownerPath(attempt.jobDirectory, attempt.attemptNumber + later), offsetBytes: 0, maxBytes: 200 })));
    const held = guards.filter(({ attempt }, index) => parseGuardOwner(owners[index]?.toString('utf8') ?? '')?.slurmJobId === attempt.slurmJobId);
    for (const { attempt, later } of held) starts.set(attempt, later);
    open = [...new Set(held.map(({ attempt }) => attempt))];
  }
  return starts;
}

/**
 * What is known of attempts that no longer wait or run, without accounting: the queue does not say of which run it tells the end, and soon
 * tells nothing. Which runs there were, the start guards show.
 */
export async function withUnseenReruns(transport: Pick<Transport, 'read'>, over: TrackedAttempt[], told: Observation[]): Promise<Observation[]> {
  const starts = await laterStarts(transport, over);
  const reruns = [...starts].map(([attempt, laterRuns]): Observation => {
    const { token, taskIndex, slurmJobId } = attempt;
    const seen = told.find((one) => one.token === token && one.taskIndex === taskIndex);
    // Its exit record is to tell how the newest run ended, once that is the one that is known.
    const silent: Observation = {
      token, taskIndex, slurmJobId: slurmJobId ?? '', state: 'COMPLETING', reason: null, nodeList: null, exitCode: null, signal: null,
      estimatedStartAt: null, startedAt: null, finishedAt: null, elapsedSeconds: null, maxRssBytes: null, earlierRuns: [],
    };
    return { ...(seen ?? silent), earlierRuns: untoldRuns(attempt, laterRuns) };
  });
  return [...told.filter((seen) => !reruns.some(({ token, taskIndex }) => seen.token === token && seen.taskIndex === taskIndex)), ...reruns];
}

export function endOf({ state, reason, nodeList, exitCode, signal, startedAt, finishedAt, elapsedSeconds, maxRssBytes }: EarlierRun): EarlierRun {
  return { state, reason, nodeList, exitCode, signal, startedAt, finishedAt, elapsedSeconds, maxRssBytes };
}
