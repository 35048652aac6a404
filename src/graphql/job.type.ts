import { Directive, Field, ID, Int, ObjectType } from 'type-graphql';
import type { Json } from '../domain/job-spec.ts';
import type { JobState } from '../domain/states.ts';
import { connectionTypeOf } from './connection.ts';
import { JobStateEnum } from './enums.ts';
import { RetryRuleType } from './retry-policy.type.ts';
import { DateTime, JSONValue, Long } from './scalars.ts';

@ObjectType('DroppedItems', { description: 'Things in the files of a job that could not be read, and were left out.' })
export class DroppedItemsType {
  @Field(() => String, { description: 'What was left out and why, such as `a line of metrics.csv has a negative step`.' })
  reason!: string;

  @Field(() => Long, { description: 'How many.' })
  count!: number;

  @Field(() => DateTime, { description: 'When the last of them was met.' })
  lastAt!: Date;
}

@ObjectType('Resources', { description: 'What a job asks of its cluster. Null leaves it to the cluster.' })
export class ResourcesType {
  @Field(() => Int, { description: 'GPUs on each node.' })
  gpus!: number;

  @Field(() => String, { nullable: true, description: 'GPU type as the cluster names it; null for any.' })
  gpuType!: string | null;

  @Field(() => Int, { description: 'CPU cores.' })
  cpus!: number;

  @Field(() => Int, { nullable: true, description: 'Memory on each node in MiB.' })
  memoryMiB!: number | null;

  @Field(() => Int, { nullable: true, description: 'Wall-clock limit in minutes.' })
  timeLimitMinutes!: number | null;

  @Field(() => Int, { description: 'Nodes.' })
  nodes!: number;

  @Field(() => String, { nullable: true, description: 'Partition to run in.' })
  partition!: string | null;

  @Field(() => String, { nullable: true, description: 'Account that is charged.' })
  account!: string | null;

  @Field(() => String, { nullable: true, description: 'Quality of service.' })
  qos!: string | null;

  @Field(() => JSONValue, { description: 'Further sbatch options by their long names.' })
  sbatchOptions!: Json;
}

@Directive('@key(fields: "id")')
@ObjectType('Job', { description: 'One training run with one configuration.' })
export class JobType {
  @Field(() => ID, { description: 'Unique and for ever.' })
  id!: string;

  @Field(() => String, { description: 'A name for people; need not be unique.' })
  name!: string;

  @Field(() => JSONValue, { description: 'The configuration.' })
  config!: Json;

  @Field(() => String, { description: 'Hash of command, configuration, environment, working directory and code version: jobs with the same are the same run.' })
  fingerprint!: string;

  @Field(() => Int, { description: '0 for the first job of its fingerprint in the experiment, then 1, 2, ... for jobs that were run again on purpose.' })
  repetition!: number;

  @Field(() => [String], { description: 'Words to find it by.' })
  tags!: string[];

  @Field(() => Int, { description: '0 to 1000; higher goes first.' })
  priority!: number;

  @Field(() => JobStateEnum, { description: 'Where it stands.' })
  state!: JobState;

  @Field(() => String, { nullable: true, description: 'Why it waits or why it failed, in words; of a failure also its class and the line that says most, in short, once its files were read.' })
  stateReason!: string | null;

  @Field(() => Boolean, { description: 'Whether somebody asked for its end and its cluster has yet to carry that out.' })
  cancelRequested!: boolean;

  @Field(() => [String], { description: 'The command as a template: one element an argument.' })
  command!: string[];

  @Field(() => JSONValue, { description: 'Extra environment variables.' })
  environment!: Json;

  @Field(() => String, { nullable: true, description: 'Where the command runs; null for the job directory.' })
  workingDirectory!: string | null;

  @Field(() => String, { nullable: true, description: 'What tells this version of the code from others, such as a commit.' })
  codeVersion!: string | null;

  @Field(() => ResourcesType, { description: 'What it asks of its cluster.' })
  resources!: ResourcesType;

  @Field(() => String, { description: 'The job directory on the cluster, absolute.' })
  storagePath!: string;

  @Field(() => DateTime, { nullable: true, description: 'It stays in our queue until then, as the back-off of a retry; null: it goes when its turn comes.' })
  notBefore!: Date | null;

  @Field(() => [RetryRuleType], { nullable: true, description: 'Which of its failures are tried again by themselves; null: as the policy of the site says.' })
  retryPolicy!: RetryRuleType[] | null;

  @Field(() => String, { description: 'Name of the token that submitted it.' })
  submittedBy!: string;

  @Field(() => Int, { description: 'What its files hold that could not be read and was left out: lines, records, values.' })
  droppedLineCount!: number;

  @Field(() => String, { nullable: true, description: 'Why the last such thing could not be read; `dropped` has them all.' })
  lastDroppedLineReason!: string | null;

  @Field(() => Int, { description: 'Files in its directory that are not looked at, because there are more than 25,000; at least so many.' })
  unlistedFileCount!: number;

  @Field(() => DateTime, { description: 'When it was submitted to us.' })
  createdAt!: Date;

  @Field(() => DateTime, { nullable: true, description: 'When its first attempt started.' })
  startedAt!: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'When it ended.' })
  finishedAt!: Date | null;
}

@ObjectType('Artifact', { description: 'A file that a job left as part of its result.' })
export class ArtifactType {
  @Field(() => String, { description: 'What the job calls it.' })
  name!: string;

  @Field(() => String, { description: 'Absolute path on the cluster.' })
  path!: string;

  @Field(() => String, { description: '`ssh://host/path` or `file:///path`: enough to fetch it.' })
  uri!: string;

  @Field(() => Long, { nullable: true, description: 'Size in bytes; null while it is not known.' })
  sizeBytes!: number | null;
}

@ObjectType('Result', { description: 'What a completed job yielded.' })
export class ResultType {
  @Field(() => JSONValue, { description: 'Final value of each metric, with what the job itself reported laid over it.' })
  metrics!: Json;

  @Field(() => DateTime, { description: 'When the job ended.' })
  finishedAt!: Date;
}

export const JobConnection = connectionTypeOf(() => JobType, 'Job', 'jobs');
export const ResultConnection = connectionTypeOf(() => ResultType, 'Result', 'results');
