import { Field, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql';
import type { OrphanAction, OrphanKind } from '../domain/orphan.ts';
import type { AttemptState } from '../domain/states.ts';
import { connectionTypeOf } from './connection.ts';
import { enumOf } from './enum.ts';
import { AttemptStateEnum } from './enums.ts';
import { DateTime } from './scalars.ts';
import { UserErrorType } from './user-error.type.ts';

const orphanKinds = enumOf<OrphanKind>({
  UNKNOWN_JOB: 'The cluster has a job with a name of the form of ours, and the database knows nothing of it.',
  MISSING_ATTEMPT: 'The database has an attempt that neither the queue, nor accounting, nor an exit record of its cluster knows of.',
});
registerEnumType(orphanKinds.values, { name: 'OrphanKind', description: 'In which way cluster and database disagree.', valuesConfig: orphanKinds.descriptions });
export const OrphanKindEnum = orphanKinds.values;

const orphanActions = enumOf<OrphanAction>({
  ADOPT: 'An unknown job: records its jobs in the experiment that its script names, as new jobs or as new attempts of jobs that are there; from then on they are tracked like any others.',
  CANCEL: 'An unknown job: cancels it on the cluster with all of its tasks.',
  MARK_LOST: 'A missing attempt: marks it as LOST now, so that its job can be tried again. Evidence that comes later still overrules that.',
  IGNORE: 'Leaves it out of the list unless ignored ones are asked for, too.',
});
registerEnumType(orphanActions.values, { name: 'OrphanAction', description: 'What can be done about an orphan.', valuesConfig: orphanActions.descriptions });
export const OrphanActionEnum = orphanActions.values;

@ObjectType('Orphan', {
  description: 'A place where a cluster and the database disagree. It disappears by itself when they agree again, and nothing is done about it unless somebody asks: the job of another server on the same account looks just like this.',
})
export class OrphanType {
  @Field(() => ID, { description: 'For as long as it is an orphan.' })
  id!: string;

  @Field(() => OrphanKindEnum, { description: 'In which way cluster and database disagree.' })
  kind!: OrphanKind;

  @Field(() => String, { nullable: true, description: "SLURM's id: of an unknown job that of the array or single job, of a missing attempt the one that it had." })
  slurmJobId!: string | null;

  @Field(() => String, { description: 'Its job name in SLURM.' })
  token!: string;

  @Field(() => Int, { description: 'How many tasks of it wait or run; 1 for a missing attempt.' })
  taskCount!: number;

  @Field(() => AttemptStateEnum, { description: 'Of an unknown job how the cluster shows it (the task that is furthest along), of a missing attempt what the database last knew.' })
  state!: AttemptState;

  @Field(() => String, { nullable: true, description: 'The nodes it runs on, or ran on when it was last seen.' })
  nodeList!: string | null;

  @Field(() => DateTime, { description: 'Since when it is known to be an orphan.' })
  since!: Date;

  @Field(() => DateTime, { nullable: true, description: 'When it was submitted.' })
  submittedAt!: Date | null;

  @Field(() => Int, { nullable: true, description: 'Of a missing attempt its number.' })
  attemptNumber!: number | null;

  @Field(() => String, { nullable: true, description: 'The project that the script of an unknown job names; null while it was not read, and when it names none.' })
  project!: string | null;

  @Field(() => String, { nullable: true, description: 'The experiment that the script of an unknown job names.' })
  experiment!: string | null;

  @Field(() => String, { nullable: true, description: 'Why an unknown job cannot be adopted; null while its script was not read, and when it can.' })
  originProblem!: string | null;

  @Field(() => OrphanActionEnum, { nullable: true, description: 'What somebody asked for and is still to be carried out.' })
  wish!: OrphanAction | null;

  @Field(() => String, { nullable: true, description: 'The name of the token of whoever last asked for something.' })
  wishedBy!: string | null;

  @Field(() => String, { nullable: true, description: 'Why what was last asked for came to nothing.' })
  wishProblem!: string | null;

  @Field(() => Boolean, { description: 'Whether somebody asked to leave it out of the list.' })
  ignored!: boolean;
}

export const OrphanConnection = connectionTypeOf(() => OrphanType, 'Orphan', 'orphans');

@InputType('OrphanFilter', { description: 'Which orphans are meant; ignored ones are not. All conditions that are given must hold.' })
export class OrphanFilterInput {
  @Field(() => [String], { nullable: true, description: 'On one of these clusters.' })
  clusters?: string[] | null;

  @Field(() => [OrphanKindEnum], { nullable: true, description: 'Of one of these kinds.' })
  kinds?: OrphanKind[] | null;

  @Field(() => [String], { nullable: true, description: 'With one of these job names in SLURM.' })
  tokens?: string[] | null;

  @Field(() => [String], { nullable: true, description: "With one of these SLURM ids, as the orphans show them." })
  slurmJobIds?: string[] | null;

  @Field(() => String, { nullable: true, description: 'Unknown jobs whose script names this project.' })
  project?: string | null;

  @Field(() => String, { nullable: true, description: 'Unknown jobs whose script names this experiment.' })
  experiment?: string | null;
}

@InputType('ResolveOrphansInput', { description: 'Which orphans, and what is to be done about them.' })
export class ResolveOrphansInput {
  @Field(() => [ID], { nullable: true, description: 'These orphans; if the action is impossible for one of them, nothing is done. Exactly one of `ids` and `filter` is needed.' })
  ids?: string[] | null;

  @Field(() => OrphanFilterInput, { nullable: true, description: 'The orphans that pass this filter; those for which the action is impossible stay as they are. Exactly one of `ids` and `filter` is needed.' })
  filter?: OrphanFilterInput | null;

  @Field(() => OrphanActionEnum, { description: 'What is to be done.' })
  action!: OrphanAction;

  @Field(() => Boolean, { nullable: true, description: 'True: answers what would be done and does nothing.' })
  dryRun?: boolean | null;
}

@ObjectType('ResolvedOrphan', { description: 'An orphan that was meant, and what becomes of it.' })
export class ResolvedOrphanType {
  @Field(() => OrphanType, { description: 'The orphan as it is now.' })
  orphan!: OrphanType;

  @Field(() => Boolean, { description: 'Whether the action is possible for it.' })
  possible!: boolean;

  @Field(() => String, { description: 'What is done (or would be, in a dry run) as soon as its cluster is looked after next, or why nothing is.' })
  message!: string;
}

@ObjectType('ResolveOrphansPayload', { description: 'What becomes of the orphans that were meant.' })
export class ResolveOrphansPayload {
  @Field(() => [ResolvedOrphanType], { nullable: true, description: 'Each orphan that was meant; null when there are errors.' })
  orphans!: ResolvedOrphanType[] | null;

  @Field(() => Int, { description: 'For how many of them the action is possible, and was asked for unless this is a dry run.' })
  possibleCount!: number;

  @Field(() => [UserErrorType], { description: 'What is wrong with the input; nothing is done when there is any.' })
  userErrors!: UserErrorType[];
}
