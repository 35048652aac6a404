import { Field, ID, InputType, Int } from 'type-graphql';
import type { CheckpointRequestInput } from '../actions/request-checkpoints.ts';
import type { KeepRule } from '../domain/checkpoint-requests/keep.ts';
import type { CheckpointAction, CheckpointPlace } from '../domain/checkpoint-requests/request.ts';
import type { Goal } from '../domain/job-spec.ts';
import { CheckpointPlaceEnum, CheckpointRemovalEnum, KeepRuleEnum } from './checkpoint-request.type.ts';
import { GoalEnum } from './enums.ts';
import { JobFilterInput, toJobFilter } from './filter.input.ts';
import { plainInput } from './input.ts';
import { ResourcesInput } from './submit.input.ts';

@InputType('KeepInput', { description: 'Which checkpoints of each job stay as they are.' })
class KeepInput {
  @Field(() => KeepRuleEnum, { description: 'The rule.' })
  rule!: KeepRule;

  @Field(() => Int, { nullable: true, description: 'For the rule EVERY_N: of each so many steps the first checkpoint stays.' })
  everyNSteps?: number | null;

  @Field(() => String, { nullable: true, description: "The metric that says which one is best; that of the experiment's objective when left out. One that no job has is an error." })
  metric?: string | null;

  @Field(() => GoalEnum, { nullable: true, description: "Whether less or more of it is better; may be left out when `metric` is, or is that of the experiment's objective." })
  goal?: Goal | null;
}

/** Which checkpoints a mutation means, and where it works on them. */
@InputType()
class CheckpointSelectionInput {
  @Field(() => [ID], { nullable: true, description: 'These checkpoints. Exactly one of `ids` and `filter` is needed.' })
  ids?: string[] | null;

  @Field(() => JobFilterInput, { nullable: true, description: 'The checkpoints of the jobs that pass this filter. Exactly one of `ids` and `filter` is needed.' })
  filter?: JobFilterInput | null;

  @Field(() => CheckpointPlaceEnum, { nullable: true, defaultValue: 'LOGIN_NODE', description: 'Where the work is done.' })
  where?: CheckpointPlace | null;

  @Field(() => ResourcesInput, {
    nullable: true,
    description: "For SLURM_JOB: what the job asks for. What is left out is 2 CPUs, 2048 MiB, 240 minutes and no GPU; partition, account, QOS and further options come from the cluster's defaults.",
  })
  resources?: ResourcesInput | null;

  @Field(() => Boolean, { nullable: true, description: 'True: answers what would be done, and how many bytes that frees, and does nothing.' })
  dryRun?: boolean | null;
}

@InputType('ArchiveCheckpointsInput', { description: 'Which checkpoints are archived or deleted, and which are kept.' })
export class ArchiveCheckpointsInput extends CheckpointSelectionInput {
  @Field(() => KeepInput, { nullable: true, description: 'Which of them stay as they are: needed with `filter`, and not taken with `ids`, which mean just those.' })
  keep?: KeepInput | null;

  @Field(() => CheckpointRemovalEnum, { nullable: true, defaultValue: 'ARCHIVE', description: 'What becomes of those that are not kept.' })
  action?: 'ARCHIVE' | 'DELETE' | null;

  @Field(() => Boolean, { nullable: true, description: 'True: also the checkpoint that a job which failed, was cancelled or got lost would go on from if it were tried again.' })
  includeResumable?: boolean | null;

  @Field(() => Boolean, {
    nullable: true,
    description: 'True: also the checkpoints of jobs that are LOST. Neither queue, accounting nor an exit record tells how such a job ended, so one may still run and need them: look for it on the cluster first (`squeue`).',
  })
  includeLost?: boolean | null;

  @Field(() => Boolean, { nullable: true, description: 'True, with `filter` and the action DELETE: also the archives of those that are ARCHIVED. With `ids` just those are meant, archived or not.' })
  includeArchived?: boolean | null;
}

@InputType('RestoreCheckpointsInput', { description: 'Which archived checkpoints are put back where they were.' })
export class RestoreCheckpointsInput extends CheckpointSelectionInput {}

@InputType('DigestCheckpointsInput', { description: 'Of which checkpoints the digest is computed; a filter leaves out those that have one.' })
export class DigestCheckpointsInput extends CheckpointSelectionInput {}

@InputType('CancelCheckpointRequestInput', { description: 'Which request is withdrawn.' })
export class CancelCheckpointRequestInput {
  @Field(() => ID, { description: 'The request.' })
  id!: string;
}

/** The input as the action takes it. */
export function toCheckpointRequest(input: CheckpointSelectionInput & { action?: 'ARCHIVE' | 'DELETE' | null }, action: CheckpointAction): CheckpointRequestInput {
  const { filter: _, where, action: __, ...rest } = plainInput(input);
  return { ...rest, action, ...(where && { place: where }), ...(input.filter && { filter: toJobFilter(input.filter) }) } as CheckpointRequestInput;
}
