import { Field, Int, ObjectType, registerEnumType } from 'type-graphql';
import type { FailureClass } from '../domain/diagnosis/failure-class.ts';
import { enumOf } from './enum.ts';
import { DateTime } from './scalars.ts';

const failureClasses = enumOf<FailureClass>({
  CUDA_OUT_OF_MEMORY: 'A GPU had too little memory.',
  HOST_OUT_OF_MEMORY: 'Used more memory of the node than it asked for, or than there was.',
  NAN_LOSS: 'The loss or a gradient became NaN or infinite.',
  TIME_LIMIT: 'Reached its time limit or deadline.',
  NODE_FAILURE: 'A node, a GPU or the network of a node failed, or a node did not boot.',
  PREEMPTED: 'Had to make room for another job.',
  MODULE_NOT_FOUND: 'A Python module, an environment module or a shared library was not there.',
  COMMAND_NOT_FOUND: 'The command or its script was not there.',
  PERMISSION_DENIED: 'A file could not be read, written or executed.',
  DISK_QUOTA: 'A quota or a disk was full.',
  CONTAINER: 'The container could not be started.',
  CRASHED: 'The program itself crashed: a segmentation fault, a bus error, an abort or an illegal instruction.',
  SUBMISSION_REFUSED: 'The cluster did not take the submission.',
  SITE_RULE: 'What a rule of this site knows; its advice says more.',
  CANCELLED: 'Ended from outside by root, not by a wish of its user.',
  LOST: 'Vanished without evidence.',
  UNKNOWN: 'Ended badly in a way that no rule knows; the evidence is the line that says most.',
});
export const FailureClassEnum = failureClasses.values;
registerEnumType(FailureClassEnum, { name: 'FailureClass', description: 'What kind of failure ended an attempt.', valuesConfig: failureClasses.descriptions });

@ObjectType('Failure', { description: 'Why an attempt failed.' })
export class FailureType {
  @Field(() => FailureClassEnum, { description: 'What kind of failure it is.' })
  class!: FailureClass;

  @Field(() => String, { nullable: true, description: 'The very line of its error text or logs that says so, or the words of the cluster; null when nothing was said.' })
  evidence!: string | null;

  @Field(() => String, { description: 'What usually helps.' })
  advice!: string;
}

@ObjectType('PendingReason', { description: 'Why a job waits, in the queue of its cluster or in ours.' })
export class PendingReasonType {
  @Field(() => String, { description: "The cluster's own word; `SubmitLimit`, `MaxActiveJobs`, `NotNow`, `ClusterUnreachable` or `ClusterNotConfigured` where it waits in our queue." })
  reason!: string;

  @Field(() => String, { nullable: true, description: 'What it means; null for a word that is not known.' })
  explanation!: string | null;

  @Field(() => String, { nullable: true, description: 'What to do; null for a word that is not known.' })
  advice!: string | null;

  @Field(() => Boolean, { nullable: true, description: 'Whether it starts without anybody doing something; null where that is not known.' })
  willStartByItself!: boolean | null;

  @Field(() => DateTime, { nullable: true, description: "The cluster's estimate of when it starts; null where it gives none." })
  estimatedStartAt!: Date | null;

  @Field(() => Int, {
    nullable: true,
    description: 'With the reason `Priority`: how many waiting jobs of its partition come before it, of anybody, array tasks counted singly; null where the cluster does not show the jobs of others, or has not told yet.',
  })
  jobsAhead!: number | null;
}
