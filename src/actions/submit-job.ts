import type { ActionContext } from './action-context.ts';
import { planJob } from './plan-submission.ts';
import { submit } from './submit.ts';
import type { SubmissionAnswer, SubmitJobInput } from './submission.ts';

/** Queues one job. Throws UserError with every fault; ALREADY_EXISTS for a duplicate under ERROR; IDEMPOTENCY_KEY_REUSED. */
export async function submitJob(context: ActionContext, input: SubmitJobInput): Promise<SubmissionAnswer> {
  return submit(context, 'submitJob', input, planJob);
}
