import { Arg, Ctx, Directive, Field, FieldResolver, ID, Int, Mutation, ObjectType, Resolver, Root, type ClassType } from 'type-graphql';
import { cancelJobs } from '../actions/cancel-jobs.ts';
import type { JobChangeAnswer } from '../actions/change-jobs.ts';
import { holdJobs } from '../actions/hold-jobs.ts';
import { releaseJobs } from '../actions/release-jobs.ts';
import { retryJobs, type RetryJobsInput as RetryJobs } from '../actions/retry-jobs.ts';
import { setPriority } from '../actions/set-priority.ts';
import { tagJobs } from '../actions/tag-jobs.ts';
import type { GraphqlContext } from './context.ts';
import { withUserErrors } from './errors.ts';
import { UserErrorType } from './user-error.type.ts';
import {
  CancelJobsInput, HoldJobsInput, ReleaseJobsInput, RetryJobsInput, SetPriorityInput, TagJobsInput, toSelection,
} from './job-changes.input.ts';
import { JobType } from './job.type.ts';
import { existing, type Loaders } from './loaders.ts';

@ObjectType('UnchangedJob', { description: 'A job that was meant and did not change.' })
class UnchangedJobType {
  @Field(() => ID, { description: 'Its id.' })
  jobId!: string;

  @Field(() => String, { description: 'Why it did not change.' })
  reason!: string;
}

@Resolver(() => UnchangedJobType)
export class UnchangedJobResolver {
  @FieldResolver(() => JobType, { nullable: true, description: 'The job.' })
  job(@Root() unchanged: UnchangedJobType, @Ctx() { loaders }: GraphqlContext) {
    return loaders.jobById.load(unchanged.jobId);
  }
}

interface ChangesPayload {
  readonly jobs: Promise<object[]> | null;
  changedCount: number;
  matchedCount: number;
  unchanged: UnchangedJobType[];
}

/** One payload type a mutation, all of one shape. */
function payloadOf(name: string): ClassType<ChangesPayload & { userErrors: UserErrorType[] }> {
  @ObjectType(name, { description: 'What became of the jobs that were meant.' })
  class Payload {
    @Directive('@listSize(assumedSize: 50)')
    @Field(() => [JobType], { nullable: true, description: 'The jobs that changed, as they are now; null when there are errors.' })
    jobs!: Promise<object[]> | null;

    @Field(() => Int, { description: 'How many changed, or would change in a dry run.' })
    changedCount!: number;

    @Field(() => Int, { description: 'How many jobs the ids or the filter select, whether they changed or not.' })
    matchedCount!: number;

    @Field(() => [UnchangedJobType], { description: 'Jobs that were meant and did not change, and why; for a filter the first 100 (there are `matchedCount` less `changedCount` of them).' })
    unchanged!: UnchangedJobType[];

    @Field(() => [UserErrorType], { description: 'What is wrong with the input; nothing changed when there is any.' })
    userErrors!: UserErrorType[];
  }
  return Payload;
}

const CancelJobsPayload = payloadOf('CancelJobsPayload');
const HoldJobsPayload = payloadOf('HoldJobsPayload');
const ReleaseJobsPayload = payloadOf('ReleaseJobsPayload');
const RetryJobsPayload = payloadOf('RetryJobsPayload');
const SetPriorityPayload = payloadOf('SetPriorityPayload');
const TagJobsPayload = payloadOf('TagJobsPayload');

@Resolver()
export class JobChangesResolver {
  @Mutation(() => CancelJobsPayload, { description: 'Cancels jobs. One that a cluster holds ends when the cluster says so.' })
  cancelJobs(@Ctx() { actions, loaders }: GraphqlContext, @Arg('input', () => CancelJobsInput, { description: 'Which jobs.' }) input: CancelJobsInput) {
    return changed(loaders, async () => cancelJobs(actions, toSelection(input)));
  }

  @Mutation(() => HoldJobsPayload, { description: 'Holds jobs that have not started.' })
  holdJobs(@Ctx() { actions, loaders }: GraphqlContext, @Arg('input', () => HoldJobsInput, { description: 'Which jobs.' }) input: HoldJobsInput) {
    return changed(loaders, async () => holdJobs(actions, toSelection(input)));
  }

  @Mutation(() => ReleaseJobsPayload, { description: 'Releases held jobs.' })
  releaseJobs(@Ctx() { actions, loaders }: GraphqlContext, @Arg('input', () => ReleaseJobsInput, { description: 'Which jobs.' }) input: ReleaseJobsInput) {
    return changed(loaders, async () => releaseJobs(actions, toSelection(input)));
  }

  @Mutation(() => RetryJobsPayload, { description: 'Queues jobs that failed, were cancelled or got lost once more: as new attempts, or with a changed configuration as new jobs made from them. One that completed keeps its results.' })
  retryJobs(@Ctx() { actions, loaders }: GraphqlContext, @Arg('input', () => RetryJobsInput, { description: 'Which jobs.' }) input: RetryJobsInput) {
    return changed(loaders, async () => retryJobs(actions, toSelection(input) as RetryJobs));
  }

  @Mutation(() => SetPriorityPayload, { description: 'Changes the priority of jobs that are not submitted yet.' })
  setPriority(@Ctx() { actions, loaders }: GraphqlContext, @Arg('input', () => SetPriorityInput, { description: 'Which jobs, and the priority.' }) input: SetPriorityInput) {
    return changed(loaders, async () => setPriority(actions, toSelection(input)));
  }

  @Mutation(() => TagJobsPayload, { description: 'Adds tags to jobs and takes tags away.' })
  tagJobs(@Ctx() { actions, loaders }: GraphqlContext, @Arg('input', () => TagJobsInput, { description: 'Which jobs, and the tags.' }) input: TagJobsInput) {
    return changed(loaders, async () => tagJobs(actions, toSelection(input)));
  }
}

function changed(loaders: Loaders, act: () => Promise<JobChangeAnswer>) {
  return withUserErrors<ChangesPayload>({ jobs: null, changedCount: 0, matchedCount: 0, unchanged: [] }, async () => {
    const { changedJobIds, unchanged, matchedCount } = await act();
    return {
      // Thousands of jobs are read only for whom asks for more than their count.
      get jobs() { return existing(loaders.jobById, changedJobIds); },
      changedCount: changedJobIds.length, matchedCount, unchanged,
    };
  });
}
