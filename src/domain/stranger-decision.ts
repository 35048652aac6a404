/**
 * What to do about a job in the cluster's queue that carries a token of ours but goes by an id that none of our attempts has: the
 * second of two submissions, a submission that was given up and arrived late, or a job that ended and was put back into the queue.
 *
 * Two rules make sure that each attempt is executed once. The start guard decides who runs, so the attempt follows whoever holds it. And
 * whoever does not hold it is only cancelled in a way that cannot end what has won it meanwhile: while it still waits, or once it is
 * certain that it runs what nobody wants any more. Whatever is in between is left until the next look.
 */
import { isTerminalAttemptState, isTerminalJobState, type AttemptState, type JobState } from './states.ts';

export interface StrangerSeen {
  /** `123` or `123_4`. */
  slurmJobId: string;
  /** A terminal one where it has ended again. */
  state: AttemptState;
  /** When it was submitted or, after a requeue, put back into the queue. */
  submittedAt: Date | null;
  /** The attempt that it was submitted for: with each requeue it runs as the next one. */
  firstAttempt: number;
  /** The newest attempt that goes by its id; null when none does. */
  own: OwnAttempt | null;
}

export interface OwnAttempt {
  number: number;
  state: AttemptState;
  startedAt: Date | null;
  finishedAt: Date | null;
}

/** The job that it would execute. */
export interface StrangersJob {
  state: JobState;
  cancelRequested: boolean;
  /** Number of the newest attempt, 0 before the first. */
  attemptCount: number;
}

export type StrangerDecision =
  | { kind: 'LEAVE' }
  /** Its own attempt goes on, or goes on as a new one: to be looked at like any other from now on. */
  | { kind: 'FOLLOW' }
  /** The attempt is executed by it, whatever id it has now; there may be no such attempt yet. */
  | { kind: 'ADOPT'; attemptNumber: number; why: string }
  | { kind: 'CANCEL'; onlyIfWaiting: boolean; why: string };

const LEAVE: StrangerDecision = { kind: 'LEAVE' };

/** @param guards who holds the start guard, by attempt number; absent where nobody is known to */
export function decideStranger(seen: StrangerSeen, job: StrangersJob, guards: ReadonlyMap<number, string>): StrangerDecision {
  const { own } = seen;
  if (own !== null) {
    if (!isTerminalAttemptState(own.state) || !isLaterThan(seen, own)) return LEAVE;
    const mayGoOn = own.number === job.attemptCount && isTerminalJobState(job.state);
    if (mayGoOn && (own.state === 'LOST' || !job.cancelRequested)) return { kind: 'FOLLOW' };
  }
  if (isTerminalAttemptState(seen.state)) return LEAVE;
  const held = heldGuard(seen, guards);
  if (held !== null) {
    if (held === wantedAttempt(job)) return { kind: 'ADOPT', attemptNumber: held, why: 'it holds the start guard' };
    return cancel(seen, false, `it runs as attempt ${held}, which is no longer wanted: ${whyUnwanted(job)}`);
  }
  const isReturned = own === null && job.state === 'QUEUED' && seen.firstAttempt === job.attemptCount + 1;
  if (isReturned) return { kind: 'ADOPT', attemptNumber: seen.firstAttempt, why: 'it had been submitted after all' };
  if (seen.state === 'PENDING') return cancel(seen, true, own === null ? 'it was submitted a second time' : `it was put back into the queue, but ${whyUnwanted(job)}`);
  const isOvertaken = own === null && guards.has(seen.firstAttempt);
  if (isOvertaken) return cancel(seen, false, 'another execution of the attempt has started');
  return isUnwanted(job) ? cancel(seen, false, whyUnwanted(job)) : LEAVE;
}

/** Whether this is a later run than the one that ended, and not its last trace in the queue. */
function isLaterThan({ state, submittedAt }: StrangerSeen, own: OwnAttempt): boolean {
  if (own.state === 'LOST' || state === 'PENDING' || state === 'CONFIGURING') return true;
  const since = own.startedAt ?? own.finishedAt;
  return submittedAt !== null && since !== null && submittedAt > since;
}

/** The newest attempt whose guard it holds, of those that are not over for it. */
function heldGuard({ slurmJobId, own }: StrangerSeen, guards: ReadonlyMap<number, string>): number | null {
  const over = own === null ? 0 : own.state === 'LOST' ? own.number - 1 : own.number;
  const held = [...guards].filter(([number, holder]) => holder === slurmJobId && number > over).map(([number]) => number);
  return held.length === 0 ? null : Math.max(...held);
}

/** The attempt that is to be executed, or was and may have been so by another job than we thought; null when none is wanted. */
function wantedAttempt(job: StrangersJob): number | null {
  switch (job.state) {
    case 'HELD':
    case 'QUEUED': return job.attemptCount + 1;
    case 'SUBMITTING':
    case 'PENDING':
    case 'RUNNING': return job.attemptCount;
    case 'COMPLETED':
    case 'FAILED':
    case 'LOST':
    case 'CANCELLED': return job.cancelRequested ? null : job.attemptCount;
  }
}

function isUnwanted({ state, cancelRequested }: StrangersJob): boolean {
  return cancelRequested || state === 'CANCELLED';
}

function whyUnwanted(job: StrangersJob): string {
  if (isUnwanted(job)) return 'the job was cancelled';
  return isTerminalJobState(job.state) ? 'the job has ended since' : 'the job has been tried again since';
}

function cancel({ state }: StrangerSeen, onlyIfWaiting: boolean, why: string): StrangerDecision {
  return state === 'COMPLETING' ? LEAVE : { kind: 'CANCEL', onlyIfWaiting, why };
}
