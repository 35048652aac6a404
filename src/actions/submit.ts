/** What submitting a job and submitting a sweep have in common once the jobs are planned. */
import { newId } from '../db/ids.ts';
import { transact } from '../db/transaction.ts';
import { appendEvents } from '../db/write/events.ts';
import type { NewEvent } from '../domain/events.ts';
import type { ActionContext } from './action-context.ts';
import { answerOnce, earlierAnswer, idempotencyClaim } from './answer-once.ts';
import { carryOutPlan } from './carry-out-plan.ts';
import type { MakeJobId, SubmissionPlan } from './plan-submission.ts';
import { placeholderJobId, previewPlan } from './preview-plan.ts';
import type { JobTemplateInput, SubmissionAnswer } from './submission.ts';

/** Plans, then previews or carries out. `mutation` tells uses of one idempotency key apart. */
export async function submit<Input extends JobTemplateInput>(
  context: ActionContext, mutation: string, input: Input, makePlan: (context: ActionContext, input: Input, makeJobId: MakeJobId) => Promise<SubmissionPlan>,
): Promise<SubmissionAnswer> {
  if (input.dryRun === true) return previewPlan(context, await makePlan(context, input, placeholderJobId));
  const claim = idempotencyClaim(context, mutation, input);
  // Before planning: what was accepted once is answered again even if the configuration has changed since.
  const earlier = claim === null ? null : await earlierAnswer(context.database, claim);
  if (earlier !== null) return earlier;
  const plan = await makePlan(context, input, newId);
  return transact(context.database, async (transaction) => {
    let events: NewEvent[] = [];
    const work = async (): Promise<SubmissionAnswer> => {
      const carriedOut = await carryOutPlan(transaction, plan);
      events = carriedOut.events;
      return carriedOut.answer;
    };
    const answer = claim === null ? await work() : await answerOnce(transaction, claim, work);
    await appendEvents(transaction, events);
    return answer;
  });
}
