import { Arg, Ctx, Directive, FieldResolver, Int, Resolver, Root } from 'type-graphql';
import type { SweepRow } from '../db/read/experiments.ts';
import type { Goal } from '../domain/job-spec.ts';
import { bestCheckpointAmong, GOAL_DESCRIPTION, METRIC_DESCRIPTION } from './best-checkpoint.ts';
import { CheckpointType } from './checkpoint.type.ts';
import { AFTER_DESCRIPTION, DEFAULT_PAGE_SIZE, FIRST_DESCRIPTION, LIST_SIZE, pageRequest } from './connection.ts';
import type { GraphqlContext } from './context.ts';
import { GoalEnum } from './enums.ts';
import { ExperimentType, LeaderboardRowType, ProgressType, SweepType } from './experiment.type.ts';
import { experimentSeries } from './experiment-series.ts';
import { JobFilterInput, JobOrderInput, toJobFilter, toJobOrder } from './filter.input.ts';
import { JobConnection, JobType } from './job.type.ts';
import type { LeaderboardView } from './leaderboard.ts';
import { ATTEMPT_DESCRIPTION, checkedMaxPoints, DEFAULT_POINTS, MAX_POINTS_DESCRIPTION, type SeriesView } from './metric-series.ts';
import { MetricSeriesType } from './metric.type.ts';
import { nestedJobs } from './nested-jobs.ts';
import { toProgressType } from './progress.ts';
import { Long } from './scalars.ts';

@Resolver(() => SweepType)
export class SweepResolver {
  @FieldResolver(() => ExperimentType, { description: 'The experiment it belongs to.' })
  experiment(@Root() sweep: SweepRow, @Ctx() { loaders }: GraphqlContext) {
    return loaders.experimentById.load(sweep.experimentId);
  }

  @FieldResolver(() => ProgressType, { description: 'How far its jobs are.' })
  async progress(@Root() sweep: SweepRow, @Ctx() { loaders }: GraphqlContext) {
    return toProgressType(await loaders.sweepProgress.load(sweep.id));
  }

  @FieldResolver(() => CheckpointType, {
    nullable: true,
    description: 'The checkpoint to load, of all its jobs, whatever their state: the best of those that are COMPLETE or ARCHIVED, by the metric that was given with it, else by the last value at or before its step. '
      + 'Null when there is none, or nothing says what best means.',
  })
  async bestCheckpoint(
    @Root() sweep: SweepRow, @Ctx() { loaders }: GraphqlContext,
    @Arg('metric', () => String, { nullable: true, description: METRIC_DESCRIPTION }) metric: string | null,
    @Arg('goal', () => GoalEnum, { nullable: true, description: GOAL_DESCRIPTION }) goal: Goal | null,
  ) {
    return bestCheckpointAmong(loaders, { parent: 'SWEEP', id: sweep.id }, await loaders.experimentById.load(sweep.experimentId), { metric, goal });
  }

  @Directive(LIST_SIZE)
  @FieldResolver(() => JobConnection, { description: 'Its jobs; in the order of the expansion unless ordered otherwise.' })
  jobs(
    @Root() sweep: SweepRow, @Ctx() { loaders }: GraphqlContext,
    @Arg('filter', () => JobFilterInput, { nullable: true, description: 'Which ones; all when left out.' }) filter: JobFilterInput | null,
    @Arg('orderBy', () => [JobOrderInput], { nullable: true, description: 'Sort keys, the most important first.' }) orderBy: JobOrderInput[] | null,
    @Arg('first', () => Int, { nullable: true, defaultValue: DEFAULT_PAGE_SIZE, description: FIRST_DESCRIPTION }) first: number | null,
    @Arg('after', () => String, { nullable: true, description: AFTER_DESCRIPTION }) after: string | null,
  ) {
    const wanted = { parent: 'SWEEP' as const, filter: toJobFilter(filter), order: toJobOrder(orderBy) };
    return nestedJobs(loaders, wanted, pageRequest(first, after), sweep.id);
  }

  @Directive('@listSize(assumedSize: 100)')
  @FieldResolver(() => [MetricSeriesType], { description: 'Metric histories of its jobs in one call, by job and metric. One that no job of the experiment has is an error, unless it may still be logged.' })
  metrics(
    @Root() sweep: SweepRow, @Ctx() { loaders }: GraphqlContext,
    @Arg('keys', () => [String], { description: 'Which metrics.' }) keys: string[],
    @Arg('filter', () => JobFilterInput, { nullable: true, description: 'Of which jobs; all when left out.' }) filter: JobFilterInput | null,
    @Arg('maxPoints', () => Int, { nullable: true, defaultValue: DEFAULT_POINTS, description: MAX_POINTS_DESCRIPTION }) maxPoints: number | null,
    @Arg('attempt', () => Int, { nullable: true, description: `${ATTEMPT_DESCRIPTION} Jobs without such an attempt are left out.` }) attempt: number | null,
  ): Promise<SeriesView[]> {
    const { sweepIds = [sweep.id], ...rest } = toJobFilter(filter);
    const ofSweep = { ...rest, sweepIds: sweepIds.filter((id) => id.toLowerCase() === sweep.id) };
    return experimentSeries(loaders, sweep.experimentId, { keys, filter: ofSweep }, { maxPoints: checkedMaxPoints(maxPoints), attempt: attempt ?? null });
  }
}

@Resolver(() => LeaderboardRowType)
export class LeaderboardRowResolver {
  @FieldResolver(() => JobType, { description: 'The job with the best value.' })
  job(@Root() row: LeaderboardView) {
    return row.job;
  }

  @FieldResolver(() => Long, { description: 'The step of the best value.' })
  step(@Root() row: LeaderboardView) {
    return row.entry.bestStep;
  }

  @FieldResolver(() => CheckpointType, { nullable: true, description: 'The checkpoint of that job to load: its best one by this metric.' })
  checkpoint(@Root() row: LeaderboardView, @Ctx() { loaders }: GraphqlContext) {
    return loaders.bestCheckpoint.load({ jobId: row.job.id, ...row.objective });
  }
}
