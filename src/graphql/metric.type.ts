import { Field, Float, Int, ObjectType, registerEnumType } from 'type-graphql';
import { enumOf } from './enum.ts';
import { DateTime, Long } from './scalars.ts';

export type NonFiniteName = 'NAN' | 'POSITIVE_INFINITY' | 'NEGATIVE_INFINITY';
const nonFiniteValues = enumOf<NonFiniteName>({
  NAN: 'Not a number.',
  POSITIVE_INFINITY: 'Beyond the greatest number.',
  NEGATIVE_INFINITY: 'Below the least number.',
});
registerEnumType(nonFiniteValues.values, { name: 'NonFiniteValue', description: 'A value that JSON has no number for.', valuesConfig: nonFiniteValues.descriptions });
export const NonFiniteEnum = nonFiniteValues.values;

@ObjectType('NonFinitePoint', { description: 'A point whose value is null in `values`, because JSON has no number for it.' })
export class NonFinitePointType {
  @Field(() => Int, { description: 'Its place in `steps` and `values`, from 0.' })
  index!: number;

  @Field(() => Long, { description: 'Its step.' })
  step!: number;

  @Field(() => NonFiniteEnum, { description: 'What the value is.' })
  value!: NonFiniteName;
}

@ObjectType('MetricPoint', { description: 'One point of a metric.' })
export class MetricPointType {
  @Field(() => Long, { description: 'The training step.' })
  step!: number;

  @Field(() => Float, { nullable: true, description: 'The value; null when it is NaN or infinite.' })
  value!: number | null;

  @Field(() => DateTime, { description: 'When it was logged.' })
  time!: Date;
}

@ObjectType('MetricSeries', { description: 'The history of one metric of one job, as columns of equal length. Where two attempts logged the same step, the later attempt counts.' })
export class MetricSeriesType {
  @Field(() => String, { description: 'Name of the metric.' })
  key!: string;
}

@ObjectType('AppendedSeries', { description: 'New points of one metric, as columns of equal length.' })
class AppendedSeriesType {
  @Field(() => String, { description: 'Name of the metric.' })
  key!: string;

  @Field(() => [Long], { description: 'Training steps, ascending.' })
  steps!: number[];

  @Field(() => [Float], { nullable: 'items', description: 'Values; null for NaN or infinite, see `nonFinite`.' })
  values!: (number | null)[];

  @Field(() => [DateTime], { description: 'When they were logged.' })
  times!: Date[];

  @Field(() => [NonFinitePointType], { description: 'The points whose value is null.' })
  nonFinite!: NonFinitePointType[];

  @Field(() => Boolean, { description: 'Whether so many points came at once that some were left out.' })
  sampled!: boolean;
}

@ObjectType('MetricAppend', { description: 'Metric values of a job that have just arrived.' })
export class MetricAppendType {
  @Field(() => [AppendedSeriesType], { description: 'The new points by metric.' })
  series!: AppendedSeriesType[];
}
