import { Directive, Field, Float, ID, Int, ObjectType, registerEnumType } from 'type-graphql';
import type { Goal, Json } from '../domain/job-spec.ts';
import type { JobState } from '../domain/states.ts';
import type { SweepStrategy } from '../domain/sweep.ts';
import { connectionTypeOf } from './connection.ts';
import { enumOf } from './enum.ts';
import { GoalEnum, JobStateEnum } from './enums.ts';
import { DateTime, JSONValue } from './scalars.ts';

@ObjectType('Objective', { description: 'What "best" means in an experiment.' })
export class ObjectiveType {
  @Field(() => String, { description: 'The metric that counts, such as `val/loss`.' })
  metric!: string;

  @Field(() => GoalEnum, { description: 'Which way it is better.' })
  goal!: Goal;
}

@ObjectType('StateCount', { description: 'How many jobs are in one state.' })
class StateCountType {
  @Field(() => JobStateEnum, { description: 'The state.' })
  state!: JobState;

  @Field(() => Int, { description: 'Jobs in it.' })
  count!: number;

  @Field(() => Float, { description: 'Their share of all jobs, 0 to 100.' })
  percentage!: number;
}

@ObjectType('Progress', { description: 'How far a set of jobs is.' })
export class ProgressType {
  @Field(() => Int, { description: 'Jobs in all.' })
  total!: number;

  @Field(() => Int, { description: 'Jobs that ended, however they ended.' })
  done!: number;

  @Field(() => Float, { description: 'Share of jobs that ended, 0 to 100.' })
  percentDone!: number;

  @Field(() => [StateCountType], { description: 'Jobs by state, every state once, in the order in which a job passes through them.' })
  states!: StateCountType[];

  @Field(() => Float, { nullable: true, description: 'How many jobs end in an hour, by those that ended last; null while too few have.' })
  jobsPerHour!: number | null;

  @Field(() => Float, { nullable: true, description: 'Seconds until the jobs that are not held are done at this rate; 0 when all is done, null while unknown.' })
  etaSeconds!: number | null;
}

@ObjectType('TagProgress', { description: 'How far the jobs with one tag are.' })
export class TagProgressType {
  @Field(() => String, { description: 'The tag.' })
  tag!: string;

  @Field(() => ProgressType, { description: 'The progress of the jobs that carry it.' })
  progress!: ProgressType;
}

@Directive('@key(fields: "id")')
@Directive('@key(fields: "project name")')
@ObjectType('Experiment', { description: 'A named collection of jobs inside a project.' })
export class ExperimentType {
  @Field(() => ID, { description: 'Unique and for ever.' })
  id!: string;

  @Field(() => String, { description: 'The project it belongs to.' })
  project!: string;

  @Field(() => String, { description: 'Its name, unique in the project.' })
  name!: string;

  @Field(() => String, { nullable: true, description: 'What it is about, if anybody wrote it down.' })
  description!: string | null;

  @Field(() => [String], { description: 'Words to find it by.' })
  tags!: string[];

  @Field(() => DateTime, { description: 'When it was created.' })
  createdAt!: Date;
}

const strategies = enumOf<SweepStrategy>({
  SINGLE: 'One configuration.',
  GRID: 'Every combination of listed values.',
  LIST: 'An explicit list of configurations.',
  RANDOM: 'Random draws from ranges and choices.',
  SEEDS: 'One configuration with several seeds.',
  MIXED: 'A combination of list, random draws and grid.',
});
registerEnumType(strategies.values, { name: 'SweepStrategy', description: 'How a sweep came to its configurations.', valuesConfig: strategies.descriptions });

@Directive('@key(fields: "id")')
@ObjectType('Sweep', { description: 'One search space, expanded into jobs.' })
export class SweepType {
  @Field(() => ID, { description: 'Unique and for ever.' })
  id!: string;

  @Field(() => String, { description: 'What whoever submitted it called it.' })
  name!: string;

  @Field(() => JSONValue, { description: 'The space as it was asked for, with the seed of its random draws: enough to expand it again.' })
  space!: Json;

  @Field(() => strategies.values, { description: 'How the space is built.' })
  strategy!: SweepStrategy;

  @Field(() => Int, { description: 'How many jobs it was expanded to, without duplicates that were skipped.' })
  jobCount!: number;

  @Field(() => DateTime, { description: 'When it was submitted.' })
  createdAt!: Date;
}

@ObjectType('LeaderboardRow', { description: 'One configuration, or one group of jobs that differ only in what is not grouped by, and how well it did.' })
export class LeaderboardRowType {
  @Field(() => Int, { description: '1 for the best. Groups rank by `mean`.' })
  rank!: number;

  @Field(() => JSONValue, { description: 'The configuration values of the group by dotted key; the whole configuration without `groupBy`.' })
  config!: Json;

  @Field(() => Int, { description: 'How many jobs are in the group.' })
  n!: number;

  @Field(() => Float, { description: "Mean of the jobs' best values." })
  mean!: number;

  @Field(() => Float, { nullable: true, description: 'Standard deviation of the sample; null for a group of one.' })
  standardDeviation!: number | null;

  @Field(() => Float, { description: 'The best value in the group.' })
  bestValue!: number;
}

export const ExperimentConnection = connectionTypeOf(() => ExperimentType, 'Experiment', 'experiments');
export const SweepConnection = connectionTypeOf(() => SweepType, 'Sweep', 'sweeps');
