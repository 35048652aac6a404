/** Why jobs stay in our own queue, in words. */
import type { BreakerStatus } from './breaker-status.ts';
import type { PendingReason } from './pending-reason.ts';

export interface QueueWait {
  /** `laneKey` of the jobs that wait; null for all jobs of the cluster. */
  lane: string | null;
  reason: 'SubmitLimit' | 'NotNow' | 'MaxActiveJobs';
  explanation: string;
  advice: string;
}

const BY_ITSELF = 'Nothing to do: it is handed over when there is room, in the order of priorities.';

/** The cluster takes no more jobs of this user. */
export function limitWait(lane: string, { most, source, present, byHand }: { most: number; source: string; present: number; byHand: number }): QueueWait {
  const there = `${present} ${present === 1 ? 'is' : 'are'} there (${byHand} not from expgraph)`;
  return { lane, reason: 'SubmitLimit', explanation: `It waits in expgraph's queue: the cluster takes at most ${most} submitted jobs of yours (${source}), ${there}.`, advice: BY_ITSELF };
}

/** The cluster refused more jobs than are there, and does not tell where its limit is. */
export function learntLimitWait(lane: string, { words, present, byHand }: { words: string; present: number; byHand: number }): QueueWait {
  const there = `${present} ${present === 1 ? 'is' : 'are'} there (${byHand} not from expgraph)`;
  return { lane, reason: 'SubmitLimit', explanation: `It waits in expgraph's queue: the cluster took no more jobs of yours when asked, ${there}. It said: ${words}`, advice: BY_ITSELF };
}

/** The cluster said "not now" to jobs of this lane. */
export function notNowWait(lane: string, words: string, tryAt: Date): QueueWait {
  return {
    lane, reason: 'NotNow', explanation: `It waits in expgraph's queue: the cluster did not take it, and is asked again at ${tryAt.toISOString()}. It said: ${words}`,
    advice: 'Nothing to do if this is known to pass. If it does not, ask the site, or cancel the job and submit it to another partition.',
  };
}

/** The bound of our own configuration is reached. */
export function activeJobsWait(maxActiveJobs: number): QueueWait {
  return {
    lane: null, reason: 'MaxActiveJobs', explanation: `It waits in expgraph's queue: ${maxActiveJobs} jobs are handed to the cluster at a time (maxActiveJobs), and so many are there.`,
    advice: `${BY_ITSELF} Or raise maxActiveJobs in expgraph.yaml.`,
  };
}

/** Why a job of the lane waits, as was last written down; null when it is about to be handed over. */
export function explainQueued(lane: string, waits: readonly QueueWait[], breaker: BreakerStatus): PendingReason | null {
  if (breaker.state !== 'CLOSED') {
    return {
      reason: 'ClusterUnreachable', willStartByItself: true,
      explanation: `It waits in expgraph's queue: the cluster did not answer ${breaker.failureCount} times in a row and is tried again at ${breaker.nextTryAt?.toISOString() ?? 'once'}. The last failure: ${breaker.reason ?? 'unknown'}`,
      advice: 'Nothing to do if the cluster is known to be away. Else see the last failure.',
    };
  }
  const wait = waits.find((each) => each.lane === lane) ?? waits.find((each) => each.lane === null);
  return wait === undefined ? null : { reason: wait.reason, explanation: wait.explanation, advice: wait.advice, willStartByItself: true };
}
