import { Field, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql';
import type { BatchState } from '../db/tables/index.ts';
import { connectionTypeOf } from './connection.ts';
import { enumOf } from './enum.ts';
import { TimeRangeInput } from './filter.input.ts';
import { DateTime } from './scalars.ts';

const submissionStates = enumOf<BatchState>({
  SUBMITTING: 'Sent or about to be sent; the answer is not known yet.',
  SUBMITTED: 'The cluster has it.',
  REFUSED: 'The cluster said no; see `error`.',
  ABANDONED: 'It was looked for after its grace period and was not there; its jobs went back to the queue.',
});
registerEnumType(submissionStates.values, { name: 'SubmissionState', description: 'What became of a submission.', valuesConfig: submissionStates.descriptions });

@ObjectType('Submission', { description: 'What one call of `sbatch` submitted: one script, one or many array tasks.' })
export class SubmissionType {
  @Field(() => ID, { description: 'Unique and for ever.' })
  id!: string;

  @Field(() => String, { description: 'Its job name in SLURM, unique.' })
  token!: string;

  @Field(() => submissionStates.values, { description: 'What became of it.' })
  state!: BatchState;

  @Field(() => Int, { description: 'How many jobs it carries.' })
  taskCount!: number;

  @Field(() => String, { nullable: true, description: "SLURM's id of the array or of the single job; null while it is not known." })
  slurmJobId!: string | null;

  @Field(() => String, { nullable: true, description: 'What the cluster answered.' })
  answer!: string | null;

  @Field(() => String, { nullable: true, description: 'Why it was not taken.' })
  error!: string | null;

  @Field(() => DateTime, { description: 'When it was sent.' })
  submittedAt!: Date;

  @Field(() => DateTime, { nullable: true, description: 'When the answer came.' })
  answeredAt!: Date | null;
}

@InputType('SubmissionFilter', { description: 'Which submissions are meant. All conditions that are given must hold.' })
export class SubmissionFilterInput {
  @Field(() => [ID], { nullable: true, description: 'One of these.' })
  ids?: string[] | null;

  @Field(() => [String], { nullable: true, description: 'To one of these clusters.' })
  clusters?: string[] | null;

  @Field(() => [submissionStates.values], { nullable: true, description: 'In one of these states.' })
  states?: BatchState[] | null;

  @Field(() => String, { nullable: true, description: "With this SLURM id (of the array, not of a task)." })
  slurmJobId?: string | null;

  @Field(() => String, { nullable: true, description: 'With this job name in SLURM.' })
  token?: string | null;

  @Field(() => [ID], { nullable: true, description: 'That carried one of these jobs.' })
  jobIds?: string[] | null;

  @Field(() => TimeRangeInput, { nullable: true, description: 'Sent in this time.' })
  submittedAt?: TimeRangeInput | null;
}

export const SubmissionConnection = connectionTypeOf(() => SubmissionType, 'Submission', 'submissions');
