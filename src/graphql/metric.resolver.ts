import { Ctx, FieldResolver, Float, Int, Resolver, Root } from 'type-graphql';
import { CheckpointType } from './checkpoint.type.ts';
import type { GraphqlContext } from './context.ts';
import { JobType } from './job.type.ts';
import type { SeriesView } from './metric-series.ts';
import { MetricAppendType, MetricPointType, MetricSeriesType, NonFinitePointType } from './metric.type.ts';
import { DateTime, Long } from './scalars.ts';
import type { MetricAppend } from './metrics-appended.ts';

interface PointView extends MetricPointType {
  jobId: string;
}

@Resolver(() => MetricSeriesType)
export class MetricSeriesResolver {
  @FieldResolver(() => JobType, { description: 'The job that logged it.' })
  job(@Root() series: SeriesView) {
    return series.job;
  }

  @FieldResolver(() => Int, { nullable: true, description: 'The attempt that was asked for, whose points alone these are (of a history that was rolled up, and their summaries, as far as they are left); null where all attempts count together.' })
  attempt(@Root() series: SeriesView) {
    return series.attempt;
  }

  @FieldResolver(() => [Long], { description: 'Training steps, ascending.' })
  async steps(@Root() series: SeriesView) {
    return (await series.points()).steps;
  }

  @FieldResolver(() => [Float], { nullable: 'items', description: 'Values; null for NaN or infinite, see `nonFinite`.' })
  async values(@Root() series: SeriesView) {
    return (await series.points()).values;
  }

  @FieldResolver(() => [DateTime], { description: 'When they were logged.' })
  async times(@Root() series: SeriesView) {
    return (await series.points()).times;
  }

  @FieldResolver(() => [NonFinitePointType], { description: 'The points whose value is null.' })
  async nonFinite(@Root() series: SeriesView) {
    return (await series.points()).nonFinite;
  }

  @FieldResolver(() => Boolean, { description: 'Whether points were left out, here or when the history was rolled up. The least and greatest values of every stretch are always there.' })
  async sampled(@Root() series: SeriesView) {
    return (await series.points()).sampled;
  }

  @FieldResolver(() => Long, { nullable: true, description: 'Below this step only the extremes of each stretch are left, because the job ended longer ago than `metricRetention` of the project keeps every point; null when every point is there. The summaries stay exact.' })
  rolledUpBelowStep(@Root() series: SeriesView) {
    return series.row.rolledUpBelowStep;
  }

  @FieldResolver(() => Long, { description: 'How many points were logged in all.' })
  pointCount(@Root() series: SeriesView) {
    return series.row.pointCount;
  }

  @FieldResolver(() => MetricPointType, { nullable: true, description: 'The finite value at the highest step; null when there is none.' })
  last(@Root() { row }: SeriesView) {
    return pointView(row.jobId, row.lastStep, row.lastValue, row.lastTime);
  }

  @FieldResolver(() => MetricPointType, { nullable: true, description: 'The least finite value; null when there is none.' })
  min(@Root() { row }: SeriesView) {
    return pointView(row.jobId, row.minStep, row.minValue, row.minTime);
  }

  @FieldResolver(() => MetricPointType, { nullable: true, description: 'The greatest finite value; null when there is none.' })
  max(@Root() { row }: SeriesView) {
    return pointView(row.jobId, row.maxStep, row.maxValue, row.maxTime);
  }
}

@Resolver(() => MetricPointType)
export class MetricPointResolver {
  @FieldResolver(() => CheckpointType, { nullable: true, description: 'The newest checkpoint at or before this step that is COMPLETE or ARCHIVED; null when there is none.' })
  checkpoint(@Root() point: PointView, @Ctx() { loaders }: GraphqlContext) {
    return loaders.checkpointAtStep.load({ jobId: point.jobId, step: point.step });
  }
}

@Resolver(() => MetricAppendType)
export class MetricAppendResolver {
  @FieldResolver(() => JobType, { description: 'The job that logged them.' })
  job(@Root() append: MetricAppend, @Ctx() { loaders }: GraphqlContext) {
    return loaders.jobById.load(append.jobId);
  }
}

function pointView(jobId: string, step: number | null, value: number | null, time: Date | null): PointView | null {
  return step === null || time === null ? null : { jobId, step, value, time };
}
