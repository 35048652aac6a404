import { Field, ID, InputType, Int } from 'type-graphql';
import { JobFilterInput, toJobFilter } from './filter.input.ts';
import type { Json } from '../domain/job-spec.ts';
import { RETRY_TAG } from '../domain/retry-decision.ts';
import { RETRY_PRIORITY_BOOST } from '../domain/retry-policy.ts';
import { plainInput } from './input.ts';
import { JSONValue } from './scalars.ts';
import { ResourcesInput } from './submit.input.ts';

/** Which jobs a mutation means. */
@InputType()
export class JobSelectionInput {
  @Field(() => [ID], { nullable: true, description: 'These jobs. Exactly one of `ids` and `filter` is needed.' })
  ids?: string[] | null;

  @Field(() => JobFilterInput, { nullable: true, description: 'The jobs that pass this filter. Exactly one of `ids` and `filter` is needed.' })
  filter?: JobFilterInput | null;

  @Field(() => Boolean, { nullable: true, description: 'True: answers which jobs would change and changes nothing.' })
  dryRun?: boolean | null;
}

@InputType('CancelJobsInput', { description: 'Jobs to cancel.' })
export class CancelJobsInput extends JobSelectionInput {}

@InputType('HoldJobsInput', { description: 'Jobs to hold.' })
export class HoldJobsInput extends JobSelectionInput {}

@InputType('ReleaseJobsInput', { description: 'Jobs to release.' })
export class ReleaseJobsInput extends JobSelectionInput {}

@InputType('RetryJobsInput', { description: 'Jobs to run again.' })
export class RetryJobsInput extends JobSelectionInput {
  @Field(() => Int, { nullable: true, description: `Added to their priority; ${RETRY_PRIORITY_BOOST} when left out.` })
  priorityBoost?: number | null;

  @Field(() => [String], { nullable: true, description: `Tags to add to them, besides \`${RETRY_TAG}\`, which they always get.` })
  tags?: string[] | null;

  @Field(() => JSONValue, {
    nullable: true,
    description: 'Configuration values to change, nested or with dotted keys. The jobs then stay as they are, and new ones are made from them (see `retriedBy`).',
  })
  configChanges?: Json;

  @Field(() => ResourcesInput, { nullable: true, description: 'What to ask for in place of what each job asked for; what is left out stays.' })
  resourceChanges?: ResourcesInput | null;

  @Field(() => Boolean, {
    nullable: true,
    description: 'Also jobs whose last checkpoint is archived, or is about to be archived or deleted; without this they stay as they are. They go on from the newest checkpoint that stays in its place, or begin anew where there is none.',
  })
  ignoreArchived?: boolean | null;

  @Field(() => String, { nullable: true, description: 'The same input under the same key is done once and answered as often as it is asked.' })
  idempotencyKey?: string | null;
}

@InputType('SetPriorityInput', { description: 'Jobs and their new priority.' })
export class SetPriorityInput extends JobSelectionInput {
  @Field(() => Int, { description: '0 to 1000, higher goes first.' })
  priority!: number;
}

@InputType('TagJobsInput', { description: 'Jobs and what to change about their tags.' })
export class TagJobsInput extends JobSelectionInput {
  @Field(() => [String], { nullable: true, description: 'Tags to add.' })
  add?: string[] | null;

  @Field(() => [String], { nullable: true, description: 'Tags to take away.' })
  remove?: string[] | null;
}

/** The selection as actions take it, with whatever else the input holds. */
export function toSelection<Input extends JobSelectionInput>(input: Input) {
  const { filter: _, ...rest } = plainInput(input);
  return { ...rest, ...(input.filter && { filter: toJobFilter(input.filter) }) };
}
