import { Field, Float, ID, InputType, Int } from 'type-graphql';
import type { CheckpointState } from '../domain/checkpoint-scan.ts';
import { CheckpointStateEnum } from './checkpoint.type.ts';
import { NonFiniteEnum, type NonFiniteName } from './metric.type.ts';
import { DateTime, Long } from './scalars.ts';

@InputType('NonFinitePointInput', { description: 'A value that JSON has no number for.' })
class NonFinitePointInput {
  @Field(() => Int, { description: 'Its place in `values`, from 0, where null stands.' })
  index!: number;

  @Field(() => NonFiniteEnum, { description: 'What the value is.' })
  value!: NonFiniteName;
}

@InputType('MetricSeriesInput', { description: 'Points of one metric, as columns of equal length.' })
class MetricSeriesInput {
  @Field(() => String, { description: 'Name of the metric.' })
  key!: string;

  @Field(() => [Long], { description: 'Training steps.' })
  steps!: number[];

  @Field(() => [Float], { nullable: 'items', description: 'Values; null where `nonFinite` says what it is.' })
  values!: (number | null)[];

  @Field(() => [DateTime], { nullable: true, description: 'When they were logged; now when left out.' })
  times?: Date[] | null;

  @Field(() => [NonFinitePointInput], { nullable: true, description: 'The values that are null, and what they are.' })
  nonFinite?: NonFinitePointInput[] | null;
}

@InputType('RecordMetricsInput', { description: 'Metric values of a job. Recording a step again replaces its value.' })
export class RecordMetricsInput {
  @Field(() => ID, { description: 'The job.' })
  jobId!: string;

  @Field(() => Int, { nullable: true, description: 'Which of its attempts logged them; the newest when left out.' })
  attempt?: number | null;

  @Field(() => [MetricSeriesInput], { description: 'The values by metric.' })
  series!: MetricSeriesInput[];
}

@InputType('RecordCheckpointInput', { description: 'A checkpoint of a job. Recording a path again replaces what is known of it.' })
export class RecordCheckpointInput {
  @Field(() => ID, { description: 'The job.' })
  jobId!: string;

  @Field(() => Int, { nullable: true, description: 'Which of its attempts wrote it; the newest when left out.' })
  attempt?: number | null;

  @Field(() => String, { description: 'Absolute path on the cluster.' })
  path!: string;

  @Field(() => Long, { nullable: true, description: 'The training step it was written at.' })
  step?: number | null;

  @Field(() => Float, { nullable: true, description: 'The epoch it was written in.' })
  epoch?: number | null;

  @Field(() => CheckpointStateEnum, { nullable: true, description: 'Whether it can be loaded, anything but ARCHIVED; when left out, what is ARCHIVED stays so and anything else is COMPLETE.' })
  state?: CheckpointState | null;

  @Field(() => Long, { nullable: true, description: 'Size of all its files in bytes.' })
  sizeBytes?: number | null;

  @Field(() => Int, { nullable: true, description: 'How many files it is made of.' })
  fileCount?: number | null;

  @Field(() => [String], { nullable: true, description: 'What it is called, such as `best`.' })
  aliases?: string[] | null;
}
