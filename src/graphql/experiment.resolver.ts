import { Arg, Ctx, Directive, FieldResolver, ID, Int, Query, Resolver, Root } from 'type-graphql';
import { experimentSource, type ExperimentFilter, type ExperimentRow } from '../db/read/experiments.ts';
import { countRows, readPage } from '../db/read/page.ts';
import { isUuid } from '../db/read/uuid.ts';
import type { Goal } from '../domain/job-spec.ts';
import type { JobState } from '../domain/states.ts';
import { bestCheckpointAmong, GOAL_DESCRIPTION, METRIC_DESCRIPTION } from './best-checkpoint.ts';
import { CheckpointType } from './checkpoint.type.ts';
import { AFTER_DESCRIPTION, checkedFirst, DEFAULT_PAGE_SIZE, FIRST_DESCRIPTION, LIST_SIZE, pageRequest, toConnection } from './connection.ts';
import type { GraphqlContext } from './context.ts';
import { GoalEnum, JobStateEnum } from './enums.ts';
import { ExperimentFilterInput } from './experiment.input.ts';
import { ExperimentConnection, ExperimentType, LeaderboardRowType, ObjectiveType, ProgressType, SweepConnection, SweepType, TagProgressType } from './experiment.type.ts';
import { JobFilterInput, JobOrderInput, toJobFilter, toJobOrder } from './filter.input.ts';
import { plainInput } from './input.ts';
import { JobConnection } from './job.type.ts';
import { leaderboardOf } from './leaderboard.ts';
import { ATTEMPT_DESCRIPTION, checkedMaxPoints, DEFAULT_POINTS, MAX_POINTS_DESCRIPTION, type SeriesView } from './metric-series.ts';
import { MetricSeriesType } from './metric.type.ts';
import { experimentSeries } from './experiment-series.ts';
import { nestedJobs } from './nested-jobs.ts';
import { toProgressType } from './progress.ts';

/** Of a leaderboard. */
const DEFAULT_STATES: JobState[] = ['COMPLETED'];
const DEFAULT_ROWS = 20;

@Resolver(() => ExperimentType)
export class ExperimentResolver {
  @Query(() => ExperimentType, { nullable: true, description: 'An experiment by its project and name; null when there is none.' })
  experiment(
    @Ctx() { loaders }: GraphqlContext,
    @Arg('project', () => String, { description: 'The project it belongs to.' }) project: string,
    @Arg('name', () => String, { description: 'Its name.' }) name: string,
  ) {
    return loaders.experimentByName.load({ project, name });
  }

  @Directive(LIST_SIZE)
  @Query(() => ExperimentConnection, { description: 'Experiments, newest first.' })
  async experiments(
    @Ctx() { database }: GraphqlContext,
    @Arg('filter', () => ExperimentFilterInput, { nullable: true, description: 'Which ones; all when left out.' }) filter: ExperimentFilterInput | null,
    @Arg('first', () => Int, { nullable: true, defaultValue: DEFAULT_PAGE_SIZE, description: FIRST_DESCRIPTION }) first: number | null,
    @Arg('after', () => String, { nullable: true, description: AFTER_DESCRIPTION }) after: string | null,
  ) {
    const source = experimentSource((filter ? plainInput(filter) : {}) as ExperimentFilter);
    const request = pageRequest(first, after);
    return toConnection(await readPage(database, source, request), request, () => countRows(database, source));
  }

  @Query(() => SweepType, { nullable: true, description: 'A sweep by its id; null when there is none.' })
  sweep(@Ctx() { loaders }: GraphqlContext, @Arg('id', () => ID, { description: 'Its id.' }) id: string) {
    return isUuid(id) ? loaders.sweepById.load(id) : null;
  }

  @FieldResolver(() => ObjectiveType, { nullable: true, description: 'What "best" means here; null when nobody said.' })
  objective(@Root() experiment: ExperimentRow): ObjectiveType | null {
    const { objectiveMetric: metric, objectiveGoal: goal } = experiment;
    return metric === null || goal === null ? null : { metric, goal };
  }

  @FieldResolver(() => ProgressType, { description: 'How far its jobs are.' })
  async progress(@Root() experiment: ExperimentRow, @Ctx() { loaders }: GraphqlContext) {
    return toProgressType(await loaders.experimentProgress.load(experiment.id));
  }

  @Directive('@listSize(assumedSize: 20)')
  @FieldResolver(() => [TagProgressType], { description: 'The same for the jobs of each tag, by tag.' })
  async progressByTag(@Root() experiment: ExperimentRow, @Ctx() { loaders }: GraphqlContext) {
    const rows = await loaders.experimentProgressByTag.load(experiment.id);
    return rows.map(({ tag, progress }) => ({ tag, progress: toProgressType(progress) }));
  }

  @Directive(LIST_SIZE)
  @FieldResolver(() => SweepConnection, { description: 'Its sweeps, oldest first.' })
  async sweeps(
    @Root() experiment: ExperimentRow, @Ctx() { loaders }: GraphqlContext,
    @Arg('first', () => Int, { nullable: true, defaultValue: DEFAULT_PAGE_SIZE, description: FIRST_DESCRIPTION }) first: number | null,
    @Arg('after', () => String, { nullable: true, description: AFTER_DESCRIPTION }) after: string | null,
  ) {
    const request = pageRequest(first, after);
    return toConnection(await loaders.sweepPage.load(request, experiment.id), request, () => loaders.sweepCount.load(experiment.id));
  }

  @Directive(LIST_SIZE)
  @FieldResolver(() => JobConnection, { description: 'Its jobs; oldest first unless ordered otherwise.' })
  jobs(
    @Root() experiment: ExperimentRow, @Ctx() { loaders }: GraphqlContext,
    @Arg('filter', () => JobFilterInput, { nullable: true, description: 'Which ones; all when left out.' }) filter: JobFilterInput | null,
    @Arg('orderBy', () => [JobOrderInput], { nullable: true, description: 'Sort keys, the most important first.' }) orderBy: JobOrderInput[] | null,
    @Arg('first', () => Int, { nullable: true, defaultValue: DEFAULT_PAGE_SIZE, description: FIRST_DESCRIPTION }) first: number | null,
    @Arg('after', () => String, { nullable: true, description: AFTER_DESCRIPTION }) after: string | null,
  ) {
    const wanted = { parent: 'EXPERIMENT' as const, filter: toJobFilter(filter), order: toJobOrder(orderBy) };
    return nestedJobs(loaders, wanted, pageRequest(first, after), experiment.id);
  }

  @Directive('@listSize(slicingArguments: ["first"], requireOneSlicingArgument: false)')
  @FieldResolver(() => [LeaderboardRowType], { description: "Which configurations did best, by each job's best value of the metric." })
  leaderboard(
    @Root() experiment: ExperimentRow, @Ctx() { database, loaders }: GraphqlContext,
    @Arg('metric', () => String, { nullable: true, description: METRIC_DESCRIPTION }) metric: string | null,
    @Arg('goal', () => GoalEnum, { nullable: true, description: GOAL_DESCRIPTION }) goal: Goal | null,
    @Arg('groupBy', () => [String], {
      nullable: true, description: 'Dotted configuration keys: jobs that agree in them form one row, with mean and standard deviation over the rest (the seeds). Left out, every job is a row.',
    }) groupBy: string[] | null,
    @Arg('states', () => [JobStateEnum], { nullable: true, defaultValue: DEFAULT_STATES, description: 'Only jobs in these states count.' }) states: JobState[] | null,
    @Arg('first', () => Int, { nullable: true, defaultValue: DEFAULT_ROWS, description: FIRST_DESCRIPTION }) first: number | null,
  ) {
    const options = { groupBy: groupBy ?? null, states: states ?? DEFAULT_STATES, first: checkedFirst(first ?? DEFAULT_ROWS) };
    return leaderboardOf({ database, loaders }, experiment, { metric, goal }, options);
  }

  @FieldResolver(() => CheckpointType, {
    nullable: true,
    description: 'The checkpoint to load, of all its jobs, whatever their state: the best of those that are COMPLETE or ARCHIVED, by the metric that was given with it, else by the last value at or before its step. '
      + 'Null when there is none, or nothing says what best means.',
  })
  bestCheckpoint(
    @Root() experiment: ExperimentRow, @Ctx() { loaders }: GraphqlContext,
    @Arg('metric', () => String, { nullable: true, description: METRIC_DESCRIPTION }) metric: string | null,
    @Arg('goal', () => GoalEnum, { nullable: true, description: GOAL_DESCRIPTION }) goal: Goal | null,
  ) {
    return bestCheckpointAmong(loaders, { parent: 'EXPERIMENT', id: experiment.id }, experiment, { metric, goal });
  }

  @Directive('@listSize(assumedSize: 100)')
  @FieldResolver(() => [MetricSeriesType], { description: 'Metric histories of many jobs in one call, by job and metric. One that no job has is an error, unless it may still be logged.' })
  metrics(
    @Root() experiment: ExperimentRow, @Ctx() { loaders }: GraphqlContext,
    @Arg('keys', () => [String], { description: 'Which metrics.' }) keys: string[],
    @Arg('filter', () => JobFilterInput, { nullable: true, description: 'Of which jobs; all when left out.' }) filter: JobFilterInput | null,
    @Arg('maxPoints', () => Int, { nullable: true, defaultValue: DEFAULT_POINTS, description: MAX_POINTS_DESCRIPTION }) maxPoints: number | null,
    @Arg('attempt', () => Int, { nullable: true, description: `${ATTEMPT_DESCRIPTION} Jobs without such an attempt are left out.` }) attempt: number | null,
  ): Promise<SeriesView[]> {
    return experimentSeries(loaders, experiment.id, { keys, filter: toJobFilter(filter) }, { maxPoints: checkedMaxPoints(maxPoints), attempt: attempt ?? null });
  }
}
