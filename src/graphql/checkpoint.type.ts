import { Directive, Field, Float, ID, Int, ObjectType, registerEnumType } from 'type-graphql';
import type { CheckpointState } from '../domain/checkpoint-scan.ts';
import { enumOf } from './enum.ts';
import { DateTime, Long } from './scalars.ts';

const checkpointStates = enumOf<CheckpointState>({
  WRITING: 'Still changing.',
  COMPLETE: 'Whole.',
  PARTIAL: 'Its writer ended before it was whole.',
  DELETED: 'No longer on disk.',
});
registerEnumType(checkpointStates.values, { name: 'CheckpointState', description: 'Whether a checkpoint can be loaded.', valuesConfig: checkpointStates.descriptions });
export const CheckpointStateEnum = checkpointStates.values;

@ObjectType('MetricAtStep', { description: 'A metric as it stood at a checkpoint.' })
export class MetricAtStepType {
  @Field(() => String, { description: 'Name of the metric.' })
  key!: string;

  @Field(() => Long, { description: "The step at which the value was logged: the last one at or before the checkpoint's." })
  step!: number;

  @Field(() => Float, { nullable: true, description: 'The value; null when it is NaN or infinite.' })
  value!: number | null;

  @Field(() => DateTime, { description: 'When it was logged.' })
  time!: Date;
}

@Directive('@key(fields: "id")')
@ObjectType('Checkpoint', { description: 'A saved model: one file, or a directory that counts as one.' })
export class CheckpointType {
  @Field(() => ID, { description: 'Unique and for ever.' })
  id!: string;

  @Field(() => String, { description: 'Absolute path on the cluster.' })
  path!: string;

  @Field(() => Long, { nullable: true, description: 'The training step it was written at; null when nothing tells.' })
  step!: number | null;

  @Field(() => Int, { nullable: true, description: 'The epoch it was written in; null when nothing tells.' })
  epoch!: number | null;

  @Field(() => CheckpointStateEnum, { description: 'Whether it can be loaded.' })
  state!: CheckpointState;

  @Field(() => Long, { description: 'Size of all its files in bytes.' })
  sizeBytes!: number;

  @Field(() => Int, { description: 'How many files it is made of.' })
  fileCount!: number;

  @Field(() => [String], { description: 'What links or file names call it, such as `last` or `best`.' })
  aliases!: string[];

  @Field(() => DateTime, { description: 'When it was last written to.' })
  writtenAt!: Date;
}
