import { Directive, Field, Float, ID, Int, ObjectType, registerEnumType } from 'type-graphql';
import type { CheckpointLayout, PositionConfidence, PositionSource } from '../domain/checkpoint-layouts/layout.ts';
import type { CheckpointState } from '../domain/checkpoint-scan.ts';
import { enumOf } from './enum.ts';
import { DateTime, Long } from './scalars.ts';

const checkpointStates = enumOf<CheckpointState>({
  WRITING: 'Still changing.',
  COMPLETE: 'Whole.',
  PARTIAL: 'Its writer ended before it was whole.',
  DELETED: 'No longer on disk.',
  ARCHIVED: 'Whole, as a compressed archive (`archivePath`): it has to be unpacked before it can be loaded, by `restoreCheckpoints` or by `restoreCommand`.',
});
registerEnumType(checkpointStates.values, { name: 'CheckpointState', description: 'Whether a checkpoint can be loaded.', valuesConfig: checkpointStates.descriptions });
export const CheckpointStateEnum = checkpointStates.values;

const layouts = enumOf<CheckpointLayout>({
  LIGHTNING: 'Lightning: `epoch=3-step=500.ckpt`, `last.ckpt`.',
  HUGGING_FACE: 'The Hugging Face Trainer: `checkpoint-500/`.',
  DEEPSPEED: 'DeepSpeed: `global_step500/`.',
  MEGATRON: 'Megatron: `iter_0000500/`.',
  ACCELERATE: 'Accelerate: `checkpoint_7/`, where the number counts saves and is no step.',
  ORBAX: 'Orbax: `500/`.',
  KERAS: 'Keras: `model.05-0.32.keras`, `cp-0003.weights.h5`.',
  SAFETENSORS: 'safetensors under a name of no framework.',
  PLAIN: 'Anything else, such as `epoch_10.pt`.',
});
registerEnumType(layouts.values, { name: 'CheckpointLayout', description: 'As what a checkpoint was recognised.', valuesConfig: layouts.descriptions });

const sources = enumOf<PositionSource>({
  LOGGED: 'The job said so, or whoever recorded it.', FILE: 'A file of the checkpoint says so.', NAME: 'It was read from the name.',
});
registerEnumType(sources.values, { name: 'PositionSource', description: 'Where the step or the epoch of a checkpoint comes from.', valuesConfig: sources.descriptions });

const confidences = enumOf<PositionConfidence>({
  CERTAIN: 'Told by the job or its framework.', LIKELY: 'The name says what the number is.', GUESS: 'The name holds a number alone.',
});
registerEnumType(confidences.values, { name: 'PositionConfidence', description: 'How sure the step or the epoch of a checkpoint is.', valuesConfig: confidences.descriptions });

@ObjectType('MetricAtStep', { description: 'A metric as it stood at a checkpoint.' })
export class MetricAtStepType {
  @Field(() => String, { description: 'Name of the metric.' })
  key!: string;

  @Field(() => Long, { nullable: true, description: "The step at which the value was logged: the last one at or before the checkpoint's. Null for a value that the job gave with a checkpoint without a step." })
  step!: number | null;

  @Field(() => Long, { description: 'How many steps the value is older than the checkpoint; 0 for a value that the job gave with the checkpoint.' })
  stepsApart!: number;

  @Field(() => Float, { nullable: true, description: 'The value; null when it is NaN or infinite.' })
  value!: number | null;

  @Field(() => DateTime, { description: 'When it was logged.' })
  time!: Date;
}

@ObjectType('EarlierArchive', { description: 'An archive of what lay at the path of a checkpoint before another attempt wrote that anew.' })
export class EarlierArchiveType {
  @Field(() => String, { description: 'Absolute path on the cluster.' })
  path!: string;

  @Field(() => Long, { description: 'Size in bytes when it was made.' })
  bytes!: number;

  @Field(() => DateTime, { description: 'When it was made.' })
  archivedAt!: Date;
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

  @Field(() => sources.values, { nullable: true, description: 'Where the step comes from; null without a step.' })
  stepSource!: PositionSource | null;

  @Field(() => confidences.values, { nullable: true, description: 'How sure the step is; null without a step.' })
  stepConfidence!: PositionConfidence | null;

  @Field(() => Float, { nullable: true, description: 'The epoch it was written in, as its framework counts; null when nothing tells.' })
  epoch!: number | null;

  @Field(() => sources.values, { nullable: true, description: 'Where the epoch comes from; null without an epoch.' })
  epochSource!: PositionSource | null;

  @Field(() => confidences.values, { nullable: true, description: 'How sure the epoch is; null without an epoch.' })
  epochConfidence!: PositionConfidence | null;

  @Field(() => layouts.values, { nullable: true, description: 'As what it was recognised; null when it was recorded and not seen on disk.' })
  layout!: CheckpointLayout | null;

  @Field(() => CheckpointStateEnum, { description: 'Whether it can be loaded.' })
  state!: CheckpointState;

  @Field(() => Long, { description: 'Size of all its files in bytes.' })
  sizeBytes!: number;

  @Field(() => Int, { description: 'How many files it is made of.' })
  fileCount!: number;

  @Field(() => DateTime, { description: 'When it was last written to.' })
  writtenAt!: Date;

  @Field(() => String, { nullable: true, description: 'ARCHIVED: absolute path of the archive on the cluster.' })
  archivePath!: string | null;

  @Field(() => Long, { nullable: true, description: 'ARCHIVED: size of the archive in bytes.' })
  archiveBytes!: number | null;

  @Field(() => DateTime, { nullable: true, description: 'ARCHIVED: when its archive took its place.' })
  archivedAt!: Date | null;

  @Field(() => String, {
    nullable: true,
    description: 'SHA-256 of its content in hex, as `sha256sum` gives it of a file; of a folder that of the output of `find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum` in it. '
      + 'Null until `digestCheckpoints` asks for it; archiving a single file computes it, too.',
  })
  contentDigest!: string | null;
}
