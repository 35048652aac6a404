import { Directive, Field, Float, ID, Int, ObjectType, registerEnumType } from 'type-graphql';
import type { AttemptState } from '../domain/states.ts';
import { enumOf } from './enum.ts';
import { AttemptStateEnum } from './enums.ts';
import { DateTime, Long } from './scalars.ts';

export const LogStreamEnum = enumOf<'STDOUT' | 'STDERR'>({ STDOUT: 'Standard output.', STDERR: 'Standard error.' });
registerEnumType(LogStreamEnum.values, { name: 'LogStream', description: 'One of the two logs of an attempt.', valuesConfig: LogStreamEnum.descriptions });

@Directive('@key(fields: "id")')
@ObjectType('Attempt', { description: 'One execution of a job. A retry or a requeue is a new attempt with the next number.' })
export class AttemptType {
  @Field(() => ID, { description: 'Unique and for ever.' })
  id!: string;

  @Field(() => Int, { description: '1 for the first attempt of the job.' })
  number!: number;

  @Field(() => AttemptStateEnum, { description: 'Where it stands.' })
  state!: AttemptState;

  @Field(() => String, { nullable: true, description: "The cluster's reason: why it waits, or what ended it." })
  reason!: string | null;

  @Field(() => String, { nullable: true, description: 'What became of further executions of it that turned up on the cluster, in words, a line each. Only one ever runs.' })
  note!: string | null;

  @Field(() => String, { nullable: true, description: "SLURM's id, `123` or `123_4`; null while it is not known." })
  slurmJobId!: string | null;

  @Field(() => String, { nullable: true, description: 'Where it ran, as SLURM writes it.' })
  nodeList!: string | null;

  @Field(() => Int, { nullable: true, description: 'Exit code of the command.' })
  exitCode!: number | null;

  @Field(() => Int, { nullable: true, description: 'The signal that ended the command.' })
  signal!: number | null;

  @Field(() => DateTime, { nullable: true, description: 'When it was handed to the cluster.' })
  submittedAt!: Date;

  @Field(() => DateTime, { nullable: true, description: "The cluster's estimate of when it starts; null where it gives none, and once it has started." })
  estimatedStartAt!: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'When it started.' })
  startedAt!: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'When it ended.' })
  finishedAt!: Date | null;

  @Field(() => Float, { nullable: true, description: 'How long it ran, in seconds.' })
  elapsedSeconds!: number | null;

  @Field(() => Long, { nullable: true, description: 'Most memory it held at once, in bytes.' })
  maxRssBytes!: number | null;

  @Field(() => Float, { nullable: true, description: 'GPUs times elapsed seconds.' })
  gpuSeconds!: number | null;

  @Field(() => String, { nullable: true, description: 'Where its standard output is, on the cluster.' })
  stdoutPath!: string | null;

  @Field(() => String, { nullable: true, description: 'Where its standard error is, on the cluster.' })
  stderrPath!: string | null;
}
