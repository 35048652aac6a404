import { Field, ID, InputType } from 'type-graphql';
import type { Goal } from '../domain/job-spec.ts';
import { GoalEnum } from './enums.ts';
import { TimeRangeInput } from './filter.input.ts';

@InputType('ExperimentFilter', { description: 'Which experiments are meant. All conditions that are given must hold.' })
export class ExperimentFilterInput {
  @Field(() => [ID], { nullable: true, description: 'One of these.' })
  ids?: string[] | null;

  @Field(() => String, { nullable: true, description: 'In this project.' })
  project?: string | null;

  @Field(() => String, { nullable: true, description: 'With this text in the name, in whatever case.' })
  nameContains?: string | null;

  @Field(() => [String], { nullable: true, description: 'With every one of these tags.' })
  tagsAll?: string[] | null;

  @Field(() => [String], { nullable: true, description: 'With at least one of these tags.' })
  tagsAny?: string[] | null;

  @Field(() => TimeRangeInput, { nullable: true, description: 'Created in this time.' })
  createdAt?: TimeRangeInput | null;
}

@InputType('ObjectiveInput', { description: 'What "best" means in an experiment.' })
export class ObjectiveInput {
  @Field(() => String, { description: 'The metric that counts, such as `val/loss`.' })
  metric!: string;

  @Field(() => GoalEnum, { description: 'Which way it is better.' })
  goal!: Goal;
}

@InputType('CreateExperimentInput', { description: 'A new experiment.' })
export class CreateExperimentInput {
  @Field(() => String, { description: 'The project it belongs to; made by naming it.' })
  project!: string;

  @Field(() => String, { description: 'Its name, unique in the project.' })
  name!: string;

  @Field(() => String, { nullable: true, description: 'What it is about.' })
  description?: string | null;

  @Field(() => [String], { nullable: true, description: 'Words to find it by.' })
  tags?: string[] | null;

  @Field(() => ObjectiveInput, { nullable: true, description: 'What "best" means in it.' })
  objective?: ObjectiveInput | null;
}
