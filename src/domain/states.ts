/**
 * The states of an attempt and of a job, and which changes are legal.
 *
 *   attempt: SUBMITTING -> PENDING -> [CONFIGURING] -> RUNNING <-> SUSPENDED -> [COMPLETING] -> one terminal state
 *   job:     HELD <-> QUEUED -> SUBMITTING -> PENDING -> RUNNING -> COMPLETED | FAILED | CANCELLED | LOST
 *            (a retry or a lost submission brings a job back to QUEUED)
 *
 * Facts arrive late, repeated and out of order, so an attempt only ever moves forward: `advanceAttempt` answers the
 * state after a fact, whatever the order in which facts came.
 */

export const ATTEMPT_STATES = [
  'SUBMITTING', 'PENDING', 'CONFIGURING', 'RUNNING', 'SUSPENDED', 'COMPLETING',
  'COMPLETED', 'FAILED', 'CANCELLED', 'TIMEOUT', 'OUT_OF_MEMORY', 'NODE_FAIL',
  'PREEMPTED', 'DEADLINE', 'BOOT_FAIL', 'REVOKED', 'LOST',
] as const;
export type AttemptState = (typeof ATTEMPT_STATES)[number];

export const JOB_STATES = [
  'HELD', 'QUEUED', 'SUBMITTING', 'PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED', 'LOST',
] as const;
export type JobState = (typeof JOB_STATES)[number];

/** States in which nothing more will happen by itself. */
export const TERMINAL_JOB_STATES = ['COMPLETED', 'FAILED', 'CANCELLED', 'LOST'] as const satisfies readonly JobState[];
/** Ended without what was asked for: these can be tried again. A completed job keeps its results instead. */
export const RETRYABLE_JOB_STATES = ['FAILED', 'CANCELLED', 'LOST'] as const satisfies readonly JobState[];
/** States in which a cluster holds (or may hold) the job. */
export const ACTIVE_JOB_STATES = ['SUBMITTING', 'PENDING', 'RUNNING'] as const satisfies readonly JobState[];
/** Attempt states that a cluster may still change. */
export const ACTIVE_ATTEMPT_STATES = [
  'SUBMITTING', 'PENDING', 'CONFIGURING', 'RUNNING', 'SUSPENDED', 'COMPLETING',
] as const satisfies readonly AttemptState[];

export function isTerminalJobState(state: JobState): boolean {
  return (TERMINAL_JOB_STATES as readonly JobState[]).includes(state);
}

/** Why a job in this state is not tried again, or null when it can be. */
export function retryProblem(state: JobState): string | null {
  if (state === 'COMPLETED') return 'has completed; submit it with RUN_AGAIN to run it once more';
  return (RETRYABLE_JOB_STATES as readonly JobState[]).includes(state) ? null : `has not ended: ${state}`;
}

export function isTerminalAttemptState(state: AttemptState): boolean {
  return !(ACTIVE_ATTEMPT_STATES as readonly AttemptState[]).includes(state);
}

/** What a job shows while its newest attempt is in the given state. */
export function jobStateOf(attempt: AttemptState): JobState {
  switch (attempt) {
    case 'SUBMITTING': return 'SUBMITTING';
    case 'PENDING':
    case 'CONFIGURING': return 'PENDING';
    case 'RUNNING':
    case 'SUSPENDED':
    case 'COMPLETING': return 'RUNNING';
    case 'COMPLETED': return 'COMPLETED';
    case 'CANCELLED':
    case 'REVOKED': return 'CANCELLED';
    case 'LOST': return 'LOST';
    case 'FAILED':
    case 'TIMEOUT':
    case 'OUT_OF_MEMORY':
    case 'NODE_FAIL':
    case 'PREEMPTED':
    case 'DEADLINE':
    case 'BOOT_FAIL': return 'FAILED';
  }
}

/** How far along an attempt is; SUSPENDED and RUNNING share a place because a job may go back and forth. */
const PROGRESS: Record<AttemptState, number> = {
  SUBMITTING: 0, PENDING: 1, CONFIGURING: 2, RUNNING: 3, SUSPENDED: 3, COMPLETING: 4,
  LOST: 5,
  COMPLETED: 6, FAILED: 6, CANCELLED: 6, TIMEOUT: 6, OUT_OF_MEMORY: 6, NODE_FAIL: 6,
  PREEMPTED: 6, DEADLINE: 6, BOOT_FAIL: 6, REVOKED: 6,
};

/**
 * The state of an attempt after learning that it was seen in `seen`.
 * Earlier states are stale news and change nothing; LOST is overruled by evidence, also that it still runs; the first terminal evidence stands.
 */
export function advanceAttempt(current: AttemptState, seen: AttemptState): AttemptState {
  // A verdict on absence, not a fact: any fact overrules it.
  if (current === 'LOST') return seen;
  return PROGRESS[seen] > PROGRESS[current] || (PROGRESS[seen] === 3 && PROGRESS[current] === 3) ? seen : current;
}

/**
 * The job states to announce, in order, when a job moves from `from` to `to`. A poll may miss a short RUNNING;
 * where there is evidence that the attempt started, the steps in between are announced all the same.
 */
export function announcedPath(from: JobState, to: JobState, started: boolean): JobState[] {
  if (from === to) return [];
  const line: JobState[] = ['QUEUED', 'SUBMITTING', 'PENDING', 'RUNNING'];
  const at = line.indexOf(from);
  if (at === -1) return [to];
  const end = line.includes(to) ? line.indexOf(to) : started ? line.length : at + 1;
  return end <= at ? [to] : [...line.slice(at + 1, end), to];
}
