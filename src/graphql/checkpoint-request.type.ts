import { Directive, Field, ID, Int, ObjectType, registerEnumType } from 'type-graphql';
import type { KeepRule, KeptReason } from '../domain/checkpoint-requests/keep.ts';
import {
  LOGIN_NODE_CHECKPOINT_BYTES, LOGIN_NODE_RUN_BYTES, LOGIN_NODE_RUN_SECONDS, type CheckpointAction, type CheckpointItemState, type CheckpointPlace,
} from '../domain/checkpoint-requests/request.ts';
import { connectionTypeOf } from './connection.ts';
import { enumOf } from './enum.ts';
import { DateTime, Long } from './scalars.ts';
import { UserErrorType } from './user-error.type.ts';

const GIB = 1024 ** 3;

const actions = enumOf<CheckpointAction>({
  ARCHIVE: 'Compresses it (zstd, else gzip) beside where it lies, reads the archive back and compares it with the original byte for byte, and only then removes the original.',
  DELETE: 'Removes it; of an archived one the archive.',
  RESTORE: 'Unpacks it from its archive to where it was, compares the two, and only then removes the archive.',
  DIGEST: 'Computes the SHA-256 of its content.',
});
registerEnumType(actions.values, { name: 'CheckpointAction', description: 'What can be asked for on checkpoints.', valuesConfig: actions.descriptions });
export const CheckpointActionEnum = actions.values;

const removals = enumOf<'ARCHIVE' | 'DELETE'>({ ARCHIVE: actions.descriptions.ARCHIVE.description, DELETE: actions.descriptions.DELETE.description });
registerEnumType(removals.values, { name: 'CheckpointRemoval', description: 'What becomes of checkpoints that are not kept.', valuesConfig: removals.descriptions });
export const CheckpointRemovalEnum = removals.values;

const places = enumOf<CheckpointPlace>({
  LOGIN_NODE: `On the machine through which the cluster is reached, at the lowest priority: one run at a time, each of at most ${LOGIN_NODE_RUN_SECONDS} seconds, one thread and checkpoints of ${LOGIN_NODE_RUN_BYTES / GIB} GiB or one larger one. `
    + `Nothing larger than ${LOGIN_NODE_CHECKPOINT_BYTES / GIB} GiB is archived, restored or read there.`,
  SLURM_JOB: 'In SLURM jobs of its own, two at a time, without GPUs unless `resources` ask for some.',
});
registerEnumType(places.values, { name: 'CheckpointPlace', description: 'Where the work on checkpoints is done.', valuesConfig: places.descriptions });
export const CheckpointPlaceEnum = places.values;

const rules = enumOf<KeepRule>({
  BEST_AND_LAST: 'The best and the last of each job.',
  EVERY_N: 'Those, and the first of each `everyNSteps` steps; also those whose step is not known.',
  NONE: 'None for its own sake.',
});
registerEnumType(rules.values, { name: 'KeepRule', description: 'Which checkpoints stay as they are.', valuesConfig: rules.descriptions });
export const KeepRuleEnum = rules.values;

const reasons = enumOf<KeptReason>({
  BEST: 'It is the best of its job.',
  BEST_UNKNOWN: 'Its job has no value of the metric at any checkpoint, so nobody can say which one is best.',
  LAST: 'It is the last of its job.',
  EVERY_N: 'The rule EVERY_N keeps it.',
  STEP_UNKNOWN: 'The rule EVERY_N cannot place it: its step is not known.',
  RESUMABLE: 'Its job did not complete, and would go on from it if it were tried again.',
  ARCHIVED: 'It is archived, and a filter deletes archives only with `includeArchived`.',
  JOB_NOT_ENDED: 'Its job has not ended, or is LOST and may still run (`includeLost` takes those, too).',
  STATE: 'Its state does not allow it: only COMPLETE ones are archived or read, only ARCHIVED ones are restored, and only those are deleted.',
  OUTSIDE: 'It does not lie in the directory of its job.',
  SHARED: 'Another job has it, too, it holds another checkpoint or lies in one, or its place and that of an archive are the same.',
  TOO_LARGE: 'It is too large for the login node.',
  ASKED_BEFORE: 'An earlier request about it is still to be carried out.',
  CLUSTER_NOT_CONFIGURED: 'Its cluster is not in the configuration of this server.',
});
registerEnumType(reasons.values, { name: 'KeptReason', description: 'Why a checkpoint stays as it is.', valuesConfig: reasons.descriptions });
const KeptReasonEnum = reasons.values;

const itemStates = enumOf<CheckpointItemState>({
  PENDING: 'To be done.', RUNNING: 'The cluster is at it, or was when the connection was lost: then it is begun with again.', DONE: 'Done.', FAILED: 'Not done; `problem` says why. The checkpoint is as it was.',
  CANCELLED: 'It was withdrawn before anything was done; `problem` says by whom.',
});
registerEnumType(itemStates.values, { name: 'CheckpointRequestState', description: 'How far something that was asked for is.', valuesConfig: itemStates.descriptions });
export const CheckpointRequestStateEnum = itemStates.values;

@ObjectType('CheckpointRequestItem', { description: 'A request on one checkpoint.' })
export class CheckpointRequestItemType {
  @Field(() => CheckpointRequestStateEnum, { description: 'How far it is.' })
  state!: CheckpointItemState;

  @Field(() => String, { nullable: true, description: 'Why it failed, or what it waits for.' })
  problem!: string | null;

  @Field(() => Long, { nullable: true, description: 'By how many bytes there is less on disk; negative for what was restored. Null while it is not done.' })
  freedBytes!: number | null;

  @Field(() => DateTime, { description: 'When it last went on.' })
  changedAt!: Date;
}

@Directive('@key(fields: "id")')
@ObjectType('CheckpointRequest', { description: 'What somebody asked for on checkpoints, and how far it is. It survives a restart of the server.' })
export class CheckpointRequestType {
  @Field(() => ID, { description: 'Unique and for ever.' })
  id!: string;

  @Field(() => CheckpointActionEnum, { description: 'What was asked for.' })
  action!: CheckpointAction;

  @Field(() => String, { description: 'The name of the token of whoever asked.' })
  requestedBy!: string;

  @Field(() => DateTime, { description: 'When it was asked for.' })
  createdAt!: Date;
}

export const CheckpointRequestConnection = connectionTypeOf(() => CheckpointRequestType, 'CheckpointRequest', 'requests on checkpoints');

@ObjectType('CheckpointRequestCount', { description: 'How many checkpoints of a request are in a state.' })
export class CheckpointRequestCountType {
  @Field(() => CheckpointRequestStateEnum, { description: 'The state.' })
  state!: CheckpointItemState;

  @Field(() => Int, { description: 'How many are in it.' })
  count!: number;
}

@ObjectType('KeptCheckpoint', { description: 'A checkpoint that was meant and stays as it is.' })
export class KeptCheckpointType {
  checkpointId!: string;

  @Field(() => KeptReasonEnum, { description: 'Why.' })
  reason!: KeptReason;

  @Field(() => String, { description: 'The same in words.' })
  message!: string;
}

@ObjectType('KeptCount', { description: 'How many checkpoints stay as they are for one reason.' })
class KeptCountType {
  @Field(() => KeptReasonEnum, { description: 'The reason.' })
  reason!: KeptReason;

  @Field(() => Int, { description: 'How many.' })
  count!: number;

  @Field(() => Long, { description: 'How large they are together.' })
  bytes!: number;
}

@ObjectType('CheckpointRequestPayload', { description: 'What is to be done, or would be, and what is left alone.' })
export class CheckpointRequestPayload {
  requestId!: string | null;
  checkpointIds!: string[];

  @Field(() => Int, { description: 'How many checkpoints are meant and not kept.' })
  checkpointCount!: number;

  @Field(() => Long, {
    description: 'By how many bytes there will be less on disk. Of ARCHIVE and DELETE the size of all their files; ARCHIVE frees as much less the size of the archives, which is known as soon as they are made (`freedBytes` of the request), '
      + 'and a file that has another name elsewhere (a hard link) frees nothing. Negative for what is restored, 0 for digests.',
  })
  bytesToFree!: number;

  @Field(() => [KeptCheckpointType], { description: 'Checkpoints of the jobs that stay as they are, and why: the first 1,000.' })
  kept!: KeptCheckpointType[];

  @Field(() => [KeptCountType], { description: 'How many stay as they are, by reason.' })
  keptCounts!: KeptCountType[];

  @Field(() => [UserErrorType], { description: 'What is wrong with the input; nothing is done when there is any.' })
  userErrors!: UserErrorType[];
}

@ObjectType('CancelCheckpointRequestPayload', { description: 'What became of the request.' })
export class CancelCheckpointRequestPayload {
  @Field(() => CheckpointRequestType, { nullable: true, description: 'The request as it is now; null when there are errors.' })
  request!: object | null;

  @Field(() => Int, { description: 'Of how many checkpoints it was withdrawn.' })
  cancelledCount!: number;

  @Field(() => [UserErrorType], { description: 'What is wrong with the input; nothing is done when there is any.' })
  userErrors!: UserErrorType[];
}
