import { Field, Float, InputType, Int, registerEnumType } from 'type-graphql';
import type { OnDuplicate } from '../actions/submission.ts';
import { UserError, type UserFault } from '../domain/errors.ts';
import type { Json } from '../domain/job-spec.ts';
import { enumOf } from './enum.ts';
import { ObjectiveInput } from './experiment.input.ts';
import { RetryRuleInputType } from './retry-policy.type.ts';
import { JSONValue } from './scalars.ts';
import { SweepSpaceInput } from './sweep-space.input.ts';

const duplicateRules = enumOf<OnDuplicate>({
  SKIP: 'Jobs that are known already are only reported.',
  ERROR: 'One known job refuses the whole submission.',
  RUN_AGAIN: 'Known jobs run once more, as new jobs.',
});
registerEnumType(duplicateRules.values, {
  name: 'OnDuplicate', description: 'What happens to jobs whose fingerprint the experiment already has.', valuesConfig: duplicateRules.descriptions,
});

@InputType('ResourcesInput', { description: "What each job asks of its cluster. What is left out comes from the cluster's defaults." })
export class ResourcesInput {
  @Field(() => Int, { nullable: true, description: 'GPUs on each node.' })
  gpus?: number | null;

  @Field(() => String, { nullable: true, description: 'GPU type as the cluster names it, such as `rtx8000`.' })
  gpuType?: string | null;

  @Field(() => Int, { nullable: true, description: 'CPU cores.' })
  cpus?: number | null;

  @Field(() => Int, { nullable: true, description: 'Memory on each node in MiB.' })
  memoryMiB?: number | null;

  @Field(() => Int, { nullable: true, description: 'Wall-clock limit in minutes.' })
  timeLimitMinutes?: number | null;

  @Field(() => Int, { nullable: true, description: 'Nodes.' })
  nodes?: number | null;

  @Field(() => String, { nullable: true, description: 'Partition to run in.' })
  partition?: string | null;

  @Field(() => String, { nullable: true, description: 'Account to charge.' })
  account?: string | null;

  @Field(() => String, { nullable: true, description: 'Quality of service.' })
  qos?: string | null;

  @Field(() => JSONValue, { nullable: true, description: 'Further sbatch options: an object of long names without dashes and their texts.' })
  sbatchOptions?: Json;
}

/** What all jobs of a submission share. */
@InputType()
class JobTemplate {
  @Field(() => String, { description: 'The project.' })
  project!: string;

  @Field(() => String, { description: 'Name of the experiment; made when the project has none of that name.' })
  experiment!: string;

  @Field(() => String, { nullable: true, description: 'Cluster to run on; the default cluster when left out.' })
  cluster?: string | null;

  @Field(() => [String], {
    description: 'The command, one element an argument; no shell looks at it. `{overrides}` alone becomes one `key=value` argument for each configuration value; '
      + '`{config}`, `{job_dir}`, `{checkpoints_dir}`, `{artifacts_dir}` and `{config.KEY}` are replaced inside an argument.',
  })
  command!: string[];

  @Field(() => JSONValue, { nullable: true, description: 'Extra environment variables: an object of names and texts.' })
  environment?: Json;

  @Field(() => String, { nullable: true, description: 'Where the command runs; the job directory when left out.' })
  workingDirectory?: string | null;

  @Field(() => String, { nullable: true, description: 'What tells this version of the code from others, such as a commit. Part of the fingerprint.' })
  codeVersion?: string | null;

  @Field(() => ResourcesInput, { nullable: true, description: 'What each job asks of its cluster.' })
  resources?: ResourcesInput | null;

  @Field(() => [String], { nullable: true, description: 'Tags for each job.' })
  tags?: string[] | null;

  @Field(() => Int, { nullable: true, description: '0 to 1000, higher goes first; 100 when left out.' })
  priority?: number | null;

  @Field(() => Boolean, { nullable: true, description: 'True: the jobs wait until they are released.' })
  held?: boolean | null;

  @Field(() => duplicateRules.values, { nullable: true, description: 'What happens to known jobs; SKIP when left out.' })
  onDuplicate?: OnDuplicate | null;

  @Field(() => Boolean, { nullable: true, description: 'True: answers what would happen, with the scripts, and touches nothing.' })
  dryRun?: boolean | null;

  @Field(() => String, { nullable: true, description: 'The same input under the same key is done once and answered as often as it is asked.' })
  idempotencyKey?: string | null;

  @Field(() => ObjectiveInput, { nullable: true, description: 'What "best" means; set on the experiment when it has none.' })
  objective?: ObjectiveInput | null;

  @Field(() => [RetryRuleInputType], { nullable: true, description: 'Which failures are tried again by themselves, a rule a class; as the site says when left out, none when empty.' })
  retryPolicy?: RetryRuleInputType[] | null;
}

@InputType('SubmitJobInput', { description: 'One job.' })
export class SubmitJobInputType extends JobTemplate {
  @Field(() => String, { nullable: true, description: 'A name for people; made of the configuration when left out.' })
  name?: string | null;

  @Field(() => JSONValue, { description: 'The configuration: an object, nested or with dotted keys.' })
  config!: Json;
}

@InputType('PriorityRuleInput', { description: 'A priority for the configurations in which every given comparison holds.' })
export class PriorityRuleInput {
  @Field(() => String, { description: 'Dotted configuration key.' })
  key!: string;

  @Field(() => JSONValue, { nullable: true, description: 'Equal to this; null means the JSON null.' })
  equals?: Json;

  @Field(() => Float, { nullable: true, description: 'A number less than this.' })
  lt?: number | null;

  @Field(() => Float, { nullable: true, description: 'A number less than or equal to this.' })
  lte?: number | null;

  @Field(() => Float, { nullable: true, description: 'A number greater than this.' })
  gt?: number | null;

  @Field(() => Float, { nullable: true, description: 'A number greater than or equal to this.' })
  gte?: number | null;

  @Field(() => Int, { description: 'The priority, 0 to 1000.' })
  priority!: number;
}

@InputType('SubmitSweepInput', { description: 'A search space; every point of it becomes a job.' })
export class SubmitSweepInputType extends JobTemplate {
  @Field(() => String, { description: 'A name for people.' })
  name!: string;

  @Field(() => SweepSpaceInput, { description: 'The search space.' })
  space!: SweepSpaceInput;

  @Field(() => [PriorityRuleInput], { nullable: true, description: 'The first rule that matches a configuration gives its priority.' })
  priorityRules?: PriorityRuleInput[] | null;

  @Field(() => [String], { nullable: true, description: 'Configuration keys; each adds the tag `key=value` to the jobs that have it.' })
  tagKeys?: string[] | null;
}

/** Throws UserError unless the JSON values that stand for names and their texts are that, which the schema cannot say. */
export function checkTextMaps({ environment, resources }: Pick<JobTemplate, 'environment' | 'resources'>): void {
  const faults = [...textMapFaults(environment, ['environment']), ...textMapFaults(resources?.sbatchOptions, ['resources', 'sbatchOptions'])];
  if (faults.length > 0) throw new UserError(faults);
}

function textMapFaults(value: Json | undefined, field: string[]): UserFault[] {
  if (value === undefined || value === null) return [];
  if (typeof value !== 'object' || Array.isArray(value)) return [{ field, code: 'BAD_USER_INPUT', message: 'must be an object of names and texts, such as {"NAME": "text"}' }];
  return Object.entries(value).flatMap(([name, text]) => (typeof text === 'string' ? []
    : [{ field: [...field, name], code: 'BAD_USER_INPUT' as const, message: textInstead(name, text, field) }]));
}

/** A flag of sbatch is written as an empty text, where a variable takes the word. */
function textInstead(name: string, value: Json, field: string[]): string {
  if (field.at(-1) !== 'sbatchOptions' || typeof value !== 'boolean') return `must be a text; write ${JSON.stringify(JSON.stringify(value))}`;
  return value ? `must be a text; an option without a value such as "${name}" is written ""` : 'must be a text; leave the option out to not set it';
}
