import { readRetryObstacles } from '../db/read/retry-obstacles.ts';
import { validateConfig } from '../domain/config-values.ts';
import type { JsonObject } from '../domain/job-spec.ts';
import type { RequestedResources } from '../domain/resources.ts';
import { RETRY_TAG } from '../domain/retry-decision.ts';
import { RETRY_PRIORITY_BOOST } from '../domain/retry-policy.ts';
import { retryProblem, RETRYABLE_JOB_STATES } from '../domain/states.ts';
import type { ActionContext } from './action-context.ts';
import { idempotencyClaim, keptAnswer } from './answer-once.ts';
import { changeJobs, type ChangeContext, type JobChangeAnswer, type JobSelection } from './change-jobs.ts';
import { badInput, idempotencyKeyFaults, MAX_TAGS, tagFaults, throwFaults } from './input-faults.ts';
import { retryChangedJobs } from './retry-changed-jobs.ts';

const PRIORITY_BOOST_LIMIT = 1000;

export interface RetryJobsInput extends JobSelection {
  /** Added to each job's priority, which stays within 0-1000; 50 when absent. */
  priorityBoost?: number | null;
  /** Added beside the tag `retry`. */
  tags?: string[] | null;
  /** Values to lay over each configuration: the retry is then a new job that is linked to the old one. */
  configChanges?: JsonObject | null;
  /** What to ask for in place of what each job asked for. */
  resourceChanges?: RequestedResources | null;
  /** Also jobs whose last checkpoint is archived, or is to be archived or deleted: they go on from the newest one that stays, or begin anew. */
  ignoreArchived?: boolean | null;
  /** The same request again with the same key is answered again and not carried out again. */
  idempotencyKey?: string | null;
}

/**
 * Puts jobs that ended without completing back into the queue; they go on from their newest complete checkpoint. With a changed configuration they
 * stay as they are and new jobs are made from them, whose ids are answered. A job with a history that was rolled up stays as it is,
 * and so does one whose last checkpoint is archived, or is to be, unless that is to be ignored. Throws as `changeJobs`.
 */
export async function retryJobs(
  context: ChangeContext & Pick<ActionContext, 'limits'>, input: RetryJobsInput,
): Promise<JobChangeAnswer> {
  const priorityBoost = input.priorityBoost ?? RETRY_PRIORITY_BOOST;
  const boostIsFine = Number.isInteger(priorityBoost) && Math.abs(priorityBoost) <= PRIORITY_BOOST_LIMIT;
  throwFaults([
    ...idempotencyKeyFaults(input.idempotencyKey),
    ...tagFaults(input.tags ?? [], ['tags']),
    ...(input.configChanges ? validateConfig(input.configChanges, ['configChanges'], context.limits) : []),
    ...(boostIsFine ? [] : [badInput(['priorityBoost'], `must be a whole number from -${PRIORITY_BOOST_LIMIT} to ${PRIORITY_BOOST_LIMIT}, not ${priorityBoost}`)]),
  ]);
  const claim = input.dryRun === true ? null : idempotencyClaim(context, 'retryJobs', input);
  // Before anything is looked at: what the filter names may be gone since.
  const kept = claim === null ? null : await keptAnswer(context.database, claim);
  if (kept !== null) return kept as unknown as JobChangeAnswer;
  const ignoreArchived = input.ignoreArchived ?? false;
  const tags = [...new Set([RETRY_TAG, ...(input.tags ?? [])])];
  if (input.configChanges || input.resourceChanges) {
    return retryChangedJobs(context, input, { priorityBoost, tags, config: input.configChanges ?? {}, resources: input.resourceChanges ?? {}, ignoreArchived }, claim);
  }
  return changeJobs(context, input, {
    states: RETRYABLE_JOB_STATES,
    decide(job) {
      const problem = retryProblem(job.state);
      if (problem !== null) return problem;
      if (new Set([...job.tags, ...tags]).size > MAX_TAGS) return `would have more than ${MAX_TAGS} tags`;
      return { kind: 'RETRY', priorityBoost, tags };
    },
    readObstacles: (reader, jobs) => readRetryObstacles(reader, jobs, { ignoreArchived }),
  }, claim);
}
