import { TERMINAL_JOB_STATES, isTerminalJobState } from '../domain/states.ts';
import type { ActionContext } from './action-context.ts';
import { changeJobs, type JobChangeAnswer, type JobSelection } from './change-jobs.ts';
import { badInput, MAX_TAGS, tagFaults, throwFaults } from './input-faults.ts';

/** A retry goes before what is still untried, unless that was put well ahead. */
const PRIORITY_BOOST_DEFAULT = 50;
const PRIORITY_BOOST_LIMIT = 1000;
const RETRY_TAG = 'retry';

export interface RetryJobsInput extends JobSelection {
  /** Added to each job's priority, which stays within 0-1000; 50 when absent. */
  priorityBoost?: number | null;
  /** Added beside the tag `retry`. */
  tags?: string[] | null;
}

/** Puts ended jobs back into the queue; they go on from their newest complete checkpoint. Throws as `changeJobs`. */
export async function retryJobs(context: Pick<ActionContext, 'database' | 'tokenName'>, input: RetryJobsInput): Promise<JobChangeAnswer> {
  const priorityBoost = input.priorityBoost ?? PRIORITY_BOOST_DEFAULT;
  const boostIsFine = Number.isInteger(priorityBoost) && Math.abs(priorityBoost) <= PRIORITY_BOOST_LIMIT;
  throwFaults([
    ...tagFaults(input.tags ?? [], ['tags']),
    ...(boostIsFine ? [] : [badInput(['priorityBoost'], `must be a whole number from -${PRIORITY_BOOST_LIMIT} to ${PRIORITY_BOOST_LIMIT}, not ${priorityBoost}`)]),
  ]);
  const tags = [...new Set([RETRY_TAG, ...(input.tags ?? [])])];
  return changeJobs(context, input, {
    states: TERMINAL_JOB_STATES,
    decide(job) {
      if (!isTerminalJobState(job.state)) return `has not ended: ${job.state}`;
      if (new Set([...job.tags, ...tags]).size > MAX_TAGS) return `would have more than ${MAX_TAGS} tags`;
      return { kind: 'RETRY', priorityBoost, tags };
    },
  });
}
