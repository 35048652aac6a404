import { Field, Float, InputType, Int, ObjectType } from 'type-graphql';
import type { Json } from '../domain/job-spec.ts';
import type { RetryableClass, RetryRule, RetryRuleInput } from '../domain/retry-policy.ts';
import { FailureClassEnum } from './failure.type.ts';
import { plainInput } from './input.ts';
import { JSONValue } from './scalars.ts';

@InputType('RetryConfigChangeInput', { description: 'A change of the configuration; exactly one of `multiply` and `set`.' })
export class RetryConfigChangeInput {
  @Field(() => String, { description: 'Dotted configuration key.' })
  key!: string;

  @Field(() => Float, { nullable: true, description: 'Factor on the present value.' })
  multiply?: number | null;

  @Field(() => JSONValue, { nullable: true, description: 'The new value; null means the JSON null.' })
  set?: Json;

  @Field(() => Boolean, { nullable: true, description: 'With `multiply`: round down to a whole number, at least 1.' })
  integer?: boolean | null;

  @Field(() => Boolean, { nullable: true, description: 'Leave the change out where the configuration has no such key; without it there is then no retry.' })
  optional?: boolean | null;
}

@InputType('RetryRuleInput', { description: 'How failures of one class are tried again. What is left out comes from the preset of the class.' })
export class RetryRuleInputType {
  @Field(() => FailureClassEnum, { description: 'Which failures; not CANCELLED or LOST, which are never tried again by themselves.' })
  failureClass!: RetryableClass;

  @Field(() => Int, { nullable: true, description: 'How often at most, 0 to 20; 2 when left out.' })
  maxRetries?: number | null;

  @Field(() => Float, { nullable: true, description: 'Wait before the first retry, in seconds; it doubles with each.' })
  backoffSeconds?: number | null;

  @Field(() => Boolean, { nullable: true, description: 'Exclude the node that it ran on; true for NODE_FAILURE when left out.' })
  excludeFailedNode?: boolean | null;

  @Field(() => Float, { nullable: true, description: 'Factor on the memory, up to what its partition has; 1.5 for HOST_OUT_OF_MEMORY when left out.' })
  memoryFactor?: number | null;

  @Field(() => Float, { nullable: true, description: "Factor on the time limit, up to that of its partition; 1.5 for TIME_LIMIT when left out." })
  timeLimitFactor?: number | null;

  @Field(() => [RetryConfigChangeInput], {
    nullable: true,
    description: 'Changes that make the retry a new job. When left out: `batch_size` / 2 with `gradient_accumulation` x 2 for CUDA_OUT_OF_MEMORY, `grad_clip_norm` = 1 and `optim.lr` / 2 for NAN_LOSS.',
  })
  configChanges?: RetryConfigChangeInput[] | null;

  @Field(() => Int, { nullable: true, description: 'Added to the priority; 50 when left out.' })
  priorityBoost?: number | null;
}

@ObjectType('RetryConfigChange', { description: 'A change of the configuration.' })
class RetryConfigChangeType {
  @Field(() => String, { description: 'Dotted configuration key.' })
  key!: string;

  @Field(() => Float, { nullable: true, description: 'Factor on the present value; null where a value is set.' })
  multiply?: number;

  @Field(() => JSONValue, { nullable: true, description: 'The new value.' })
  set?: Json;

  @Field(() => Boolean, { nullable: true, description: 'Whether a product is rounded down to a whole number.' })
  integer?: boolean;

  @Field(() => Boolean, { nullable: true, description: 'Whether the change is left out where the configuration has no such key.' })
  optional?: boolean;
}

@ObjectType('RetryRule', { description: 'How failures of one class are tried again.' })
export class RetryRuleType implements RetryRule {
  @Field(() => FailureClassEnum, { description: 'Which failures.' })
  failureClass!: RetryableClass;

  @Field(() => Int, { description: 'How often at most.' })
  maxRetries!: number;

  @Field(() => Float, { description: 'Wait before the first retry, in seconds; it doubles with each.' })
  backoffSeconds!: number;

  @Field(() => Boolean, { description: 'Whether the node that it ran on is excluded.' })
  excludeFailedNode!: boolean;

  @Field(() => Float, { nullable: true, description: 'Factor on the memory.' })
  memoryFactor!: number | null;

  @Field(() => Float, { nullable: true, description: 'Factor on the time limit.' })
  timeLimitFactor!: number | null;

  @Field(() => [RetryConfigChangeType], { description: 'Changes of the configuration; any makes the retry a new job.' })
  configChanges!: RetryConfigChangeType[];

  @Field(() => Int, { description: 'Added to the priority.' })
  priorityBoost!: number;
}

/** The rules as actions take them; a `set` of null stays, because it is a value. */
export function toRetryPolicy(rules: readonly RetryRuleInputType[]): RetryRuleInput[] {
  return rules.map((rule) => {
    const { configChanges: _, ...rest } = plainInput(rule);
    const changes = rule.configChanges?.map((change) => ({ ...plainInput(change), ...(change.set !== undefined && { set: change.set }) }));
    return { ...rest, ...(changes && { configChanges: changes }) } as RetryRuleInput;
  });
}
