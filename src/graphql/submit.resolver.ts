import { Arg, Ctx, FieldResolver, Mutation, ObjectType, Field, Resolver, Root } from 'type-graphql';
import { createExperiment } from '../actions/create-experiment.ts';
import { duplicateHint } from '../actions/duplicates.ts';
import { submitJob } from '../actions/submit-job.ts';
import { submitSweep } from '../actions/submit-sweep.ts';
import type { SubmissionAnswer, SubmitJobInput, SubmitSweepInput } from '../actions/submission.ts';
import type { PriorityRule } from '../domain/priority-rule.ts';
import type { GraphqlContext } from './context.ts';
import { withUserErrors } from './errors.ts';
import { UserErrorType } from './user-error.type.ts';
import { CreateExperimentInput } from './experiment.input.ts';
import { ExperimentType } from './experiment.type.ts';
import { plainInput } from './input.ts';
import { JobType } from './job.type.ts';
import type { Loaders } from './loaders.ts';
import { toRetryPolicy } from './retry-policy.type.ts';
import { checkTextMaps, PriorityRuleInput, SubmitJobInputType, SubmitSweepInputType } from './submit.input.ts';
import { DuplicateJobType, PlannedJobType, SubmitJobPayload, SubmitSweepPayload } from './submit.type.ts';
import { toSweepSpace } from './sweep-space.input.ts';

@ObjectType('CreateExperimentPayload', { description: 'What became of a new experiment.' })
class CreateExperimentPayload {
  @Field(() => ExperimentType, { nullable: true, description: 'The experiment; null when there are errors.' })
  experiment!: object | null;

  @Field(() => [UserErrorType], { description: 'What is wrong with the input; nothing was made when there is any.' })
  userErrors!: UserErrorType[];
}

const NOTHING = { experiment: null, duplicates: [], scripts: [], dryRun: false };

@Resolver()
export class SubmitResolver {
  @Mutation(() => CreateExperimentPayload, { description: 'Makes an experiment. Submitting makes one too, where it names one that is not there.' })
  createExperiment(
    @Ctx() { actions, loaders }: GraphqlContext,
    @Arg('input', () => CreateExperimentInput, { description: 'The experiment.' }) input: CreateExperimentInput,
  ): Promise<CreateExperimentPayload> {
    return withUserErrors<{ experiment: object | null }>({ experiment: null }, async () => {
      const { experimentId } = await createExperiment(actions, plainInput(input));
      return { experiment: await loaders.experimentById.load(experimentId) };
    });
  }

  @Mutation(() => SubmitJobPayload, { description: 'Submits one job.' })
  submitJob(
    @Ctx() { actions, loaders }: GraphqlContext,
    @Arg('input', () => SubmitJobInputType, { description: 'The job.' }) input: SubmitJobInputType,
  ): Promise<SubmitJobPayload> {
    return withUserErrors<Omit<SubmitJobPayload, 'userErrors'>>({ ...NOTHING, job: null, planned: null }, async () => {
      checkTextMaps(input);
      // The action checks whatever else the JSON scalar let through.
      const answer = await submitJob(actions, { ...plainInput(input), ...retryPolicyOf(input) } as unknown as SubmitJobInput);
      const jobId = answer.jobs[0]?.jobId ?? answer.duplicates[0]?.existingJobId ?? null;
      const job = jobId === null || answer.dryRun ? null : await loaders.jobById.load(jobId);
      return { ...(await sharedPayload(loaders, answer)), job, planned: answer.jobs[0] ?? null };
    });
  }

  @Mutation(() => SubmitSweepPayload, { description: 'Submits every job of a search space.' })
  submitSweep(
    @Ctx() { actions, loaders }: GraphqlContext,
    @Arg('input', () => SubmitSweepInputType, { description: 'The sweep.' }) input: SubmitSweepInputType,
  ): Promise<SubmitSweepPayload> {
    return withUserErrors<Omit<SubmitSweepPayload, 'userErrors'>>({ ...NOTHING, sweep: null, jobs: [] }, async () => {
      checkTextMaps(input);
      const { priorityRules } = input;
      const answer = await submitSweep(actions, {
        ...plainInput(input), ...retryPolicyOf(input), space: toSweepSpace(input.space),
        ...(priorityRules && { priorityRules: priorityRules.map(toPriorityRule) }),
      } as unknown as SubmitSweepInput);
      const sweep = answer.sweepId === null ? null : await loaders.sweepById.load(answer.sweepId);
      return { ...(await sharedPayload(loaders, answer)), sweep, jobs: answer.jobs };
    });
  }
}

@Resolver(() => PlannedJobType)
export class PlannedJobResolver {
  @FieldResolver(() => JobType, { nullable: true, description: 'The job; null in a dry run.' })
  job(@Root() planned: PlannedJobType, @Ctx() { loaders }: GraphqlContext) {
    return planned.jobId === null ? null : loaders.jobById.load(planned.jobId);
  }
}

@Resolver(() => DuplicateJobType)
export class DuplicateJobResolver {
  @FieldResolver(() => String, { description: 'What to do about it, in words: a job that failed is run again by `retryJobs`, one that completed by RUN_AGAIN.' })
  hint(@Root() duplicate: DuplicateJobType) {
    return duplicateHint(duplicate);
  }

  @FieldResolver(() => JobType, { nullable: true, description: 'The known job; null when the same job stands twice in this submission.' })
  existingJob(@Root() duplicate: DuplicateJobType, @Ctx() { loaders }: GraphqlContext) {
    return duplicate.existingJobId === null ? null : loaders.jobById.load(duplicate.existingJobId);
  }
}

function retryPolicyOf({ retryPolicy }: SubmitJobInputType | SubmitSweepInputType) {
  return retryPolicy ? { retryPolicy: toRetryPolicy(retryPolicy) } : {};
}

async function sharedPayload(loaders: Loaders, answer: SubmissionAnswer) {
  const experiment = answer.experimentId === null ? null : await loaders.experimentById.load(answer.experimentId);
  return { experiment, duplicates: answer.duplicates, scripts: answer.scripts, dryRun: answer.dryRun };
}

/** Null is a value to compare with, where elsewhere it means that nothing was given. */
function toPriorityRule({ equals, ...rest }: PriorityRuleInput): PriorityRule {
  return { ...plainInput(Object.assign(new PriorityRuleInput(), rest)), ...(equals !== undefined && { equals }) };
}
