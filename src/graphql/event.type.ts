import { Field, ID, InputType, Int, ObjectType } from 'type-graphql';
import type { EventKind } from '../domain/events.ts';
import type { JobState } from '../domain/states.ts';
import { EventKindEnum, JobStateEnum } from './enums.ts';
import { DateTime, Long } from './scalars.ts';

@ObjectType('AppendedSteps', { description: 'Which steps of a metric arrived.' })
export class AppendedStepsType {
  @Field(() => String, { description: 'Name of the metric.' })
  key!: string;

  @Field(() => Long, { description: 'The first new step.' })
  firstStep!: number;

  @Field(() => Long, { description: 'The last new step.' })
  lastStep!: number;

  @Field(() => Int, { description: 'How many points arrived.' })
  count!: number;
}

@ObjectType('JobEvent', { description: 'One fact of the log. Related things are shown as they are now, not as they were then.' })
export class JobEventType {
  @Field(() => EventKindEnum, { description: 'What it tells.' })
  kind!: EventKind;

  @Field(() => DateTime, { description: 'When it was recorded.' })
  at!: Date;
}

@InputType('JobEventFilter', { description: 'Which events are meant. All conditions that are given must hold; an empty list of alternatives matches nothing.' })
export class JobEventFilterInput {
  @Field(() => [EventKindEnum], { nullable: true, description: 'Of one of these kinds.' })
  kinds?: EventKind[] | null;

  @Field(() => [ID], { nullable: true, description: 'In one of these experiments.' })
  experimentIds?: string[] | null;

  @Field(() => [ID], { nullable: true, description: 'Of one of these sweeps.' })
  sweepIds?: string[] | null;

  @Field(() => [ID], { nullable: true, description: 'Of one of these jobs.' })
  jobIds?: string[] | null;

  @Field(() => [JobStateEnum], { nullable: true, description: 'Changes of a job into one of these states; leaves out every other kind of event.' })
  toStates?: JobState[] | null;
}
