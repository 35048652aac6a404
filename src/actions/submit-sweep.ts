import type { ActionContext } from './action-context.ts';
import { planSweep } from './plan-submission.ts';
import { submit } from './submit.ts';
import type { SubmissionAnswer, SubmitSweepInput } from './submission.ts';

/** Queues the jobs of a search space. Throws UserError like `submitJob`; LIMIT_EXCEEDED for a space that is too large. */
export async function submitSweep(context: ActionContext, input: SubmitSweepInput): Promise<SubmissionAnswer> {
  return submit(context, 'submitSweep', input, planSweep);
}
