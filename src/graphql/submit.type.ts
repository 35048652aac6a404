import { Field, ID, Int, ObjectType } from 'type-graphql';
import type { Json } from '../domain/job-spec.ts';
import type { JobState } from '../domain/states.ts';
import { JobStateEnum } from './enums.ts';
import { UserErrorType } from './user-error.type.ts';
import { ExperimentType, SweepType } from './experiment.type.ts';
import { JobType } from './job.type.ts';
import { JSONValue } from './scalars.ts';

@ObjectType('PlannedJob', { description: 'A job of a submission: submitted, or in a dry run what would be.' })
export class PlannedJobType {
  @Field(() => ID, { nullable: true, description: 'Its id; null in a dry run.' })
  jobId!: string | null;

  @Field(() => String, { description: 'Its name.' })
  name!: string;

  @Field(() => JSONValue, { description: 'Its configuration.' })
  config!: Json;

  @Field(() => [String], { description: 'Its tags.' })
  tags!: string[];

  @Field(() => Int, { description: 'Its priority.' })
  priority!: number;

  @Field(() => String, { description: 'Hash of what makes it the same run as another.' })
  fingerprint!: string;

  @Field(() => String, { description: 'Its directory on the cluster; in a dry run it ends in a placeholder.' })
  storagePath!: string;
}

@ObjectType('DuplicateJob', { description: 'A job of a submission that is known already.' })
export class DuplicateJobType {
  @Field(() => String, { description: 'The name it would have had.' })
  name!: string;

  @Field(() => JSONValue, { description: 'Its configuration.' })
  config!: Json;

  @Field(() => String, { description: 'The fingerprint that both share.' })
  fingerprint!: string;

  @Field(() => ID, { nullable: true, description: 'The known job; null when the same job stands twice in this submission.' })
  existingJobId!: string | null;

  @Field(() => JobStateEnum, { nullable: true, description: 'Where the known job stands.' })
  existingState!: JobState | null;
}

@ObjectType('RenderedScript', { description: 'A script that a dry run would submit.' })
class RenderedScriptType {
  @Field(() => String, { description: 'The cluster it would go to.' })
  cluster!: string;

  @Field(() => String, { description: 'The script, with placeholders for ids.' })
  script!: string;

  @Field(() => Int, { description: 'How many jobs it carries.' })
  taskCount!: number;
}

/** What the payloads of both submitting mutations share. */
@ObjectType()
class SubmissionPayload {
  @Field(() => ExperimentType, { nullable: true, description: 'The experiment; null in a dry run that would make it, and when there are errors.' })
  experiment!: object | null;

  @Field(() => [DuplicateJobType], { description: 'Jobs that were not submitted because they are known already; each says what to do about it in `hint`.' })
  duplicates!: DuplicateJobType[];

  @Field(() => [RenderedScriptType], { description: 'In a dry run, the scripts that would be submitted; else empty.' })
  scripts!: RenderedScriptType[];

  @Field(() => Boolean, { description: 'Whether nothing was submitted because it was a dry run.' })
  dryRun!: boolean;

  @Field(() => [UserErrorType], { description: 'What is wrong with the input; nothing was submitted when there is any.' })
  userErrors!: UserErrorType[];
}

@ObjectType('SubmitJobPayload', { description: 'What became of a job submission.' })
export class SubmitJobPayload extends SubmissionPayload {
  @Field(() => JobType, { nullable: true, description: 'The new job, or the known one that it duplicates; null in a dry run and when there are errors.' })
  job!: object | null;

  @Field(() => PlannedJobType, { nullable: true, description: 'What was or would be submitted; null for a duplicate that was skipped.' })
  planned!: PlannedJobType | null;
}

@ObjectType('SubmitSweepPayload', { description: 'What became of a sweep submission.' })
export class SubmitSweepPayload extends SubmissionPayload {
  @Field(() => SweepType, { nullable: true, description: 'The sweep. When nothing new was in it (see `duplicates`), the earlier one that has all of its jobs, or null when they are of several. Null in a dry run and when there are errors.' })
  sweep!: object | null;

  @Field(() => [PlannedJobType], { description: 'The new jobs, in the order of the space.' })
  jobs!: PlannedJobType[];
}
