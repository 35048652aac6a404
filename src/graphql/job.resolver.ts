import { Arg, Ctx, Directive, FieldResolver, ID, Int, Query, Resolver, Root } from 'type-graphql';
import { attemptOf } from '../actions/resolve-attempt.ts';
import { refuseUnknownConditions, refuseUnknownOrder } from '../actions/unknown-names.ts';
import type { ClusterState } from '../db/read/clusters.ts';
import { jobCount, jobPage } from '../db/read/jobs-of-experiments.ts';
import type { JobRow } from '../db/read/jobs.ts';
import { isUuid } from '../db/read/uuid.ts';
import type { CheckpointState } from '../domain/checkpoint-scan.ts';
import { getDotted } from '../domain/config-values.ts';
import type { Goal } from '../domain/job-spec.ts';
import { explainUnconfigured } from '../domain/pending-reason.ts';
import { explainQueued } from '../domain/queue-wait.ts';
import { retryProblem } from '../domain/states.ts';
import { pendingReasonOf } from './attempt.resolver.ts';
import { AttemptType } from './attempt.type.ts';
import { bestCheckpointOf, GOAL_DESCRIPTION, METRIC_DESCRIPTION } from './best-checkpoint.ts';
import { CheckpointStateEnum, CheckpointType } from './checkpoint.type.ts';
import { ClusterType } from './cluster.type.ts';
import { AFTER_DESCRIPTION, DEFAULT_PAGE_SIZE, FIRST_DESCRIPTION, LIST_SIZE, pageRequest, toConnection } from './connection.ts';
import type { GraphqlContext } from './context.ts';
import { GoalEnum } from './enums.ts';
import { ExperimentType, SweepType } from './experiment.type.ts';
import { PendingReasonType } from './failure.type.ts';
import { JobFilterInput, JobOrderInput, toJobFilter, toJobOrder } from './filter.input.ts';
import { DroppedItemsType, JobConnection, JobType, ResultType } from './job.type.ts';
import { clusterOf } from './loaders.ts';
import { ATTEMPT_DESCRIPTION, checkedMaxPoints, DEFAULT_POINTS, MAX_POINTS_DESCRIPTION, seriesViews } from './metric-series.ts';
import { MetricSeriesType } from './metric.type.ts';


@Resolver(() => JobType)
export class JobResolver {
  @Query(() => JobType, { nullable: true, description: 'A job by its id; null when there is none.' })
  job(@Ctx() { loaders }: GraphqlContext, @Arg('id', () => ID, { description: 'Its id.' }) id: string) {
    return isUuid(id) ? loaders.jobById.load(id) : null;
  }

  @Directive(LIST_SIZE)
  @Query(() => JobConnection, { description: 'Jobs of all experiments; oldest first unless ordered otherwise.' })
  async jobs(
    @Ctx() { database, tables }: GraphqlContext,
    @Arg('filter', () => JobFilterInput, { nullable: true, description: 'Which ones; all when left out.' }) filter: JobFilterInput | null,
    @Arg('orderBy', () => [JobOrderInput], { nullable: true, description: 'Sort keys, the most important first.' }) orderBy: JobOrderInput[] | null,
    @Arg('first', () => Int, { nullable: true, defaultValue: DEFAULT_PAGE_SIZE, description: FIRST_DESCRIPTION }) first: number | null,
    @Arg('after', () => String, { nullable: true, description: AFTER_DESCRIPTION }) after: string | null,
  ) {
    const wanted = toJobFilter(filter);
    const request = pageRequest(first, after);
    const order = toJobOrder(orderBy);
    const page = await jobPage({ database, tables }, wanted, order, request);
    if (request.after === null) {
      if (page.rows.length === 0) await refuseUnknownConditions(database, wanted, ['filter']);
      // What has no value comes last: a value that is in the first job needs no search.
      const doubtful = order.filter((each) => each.field !== 'CONFIG' || page.rows.every(({ row }) => getDotted(row.config, each.key) === undefined));
      await refuseUnknownOrder(database, wanted.experimentIds ?? [], doubtful);
    }
    return toConnection(page, request, () => jobCount({ database, tables }, wanted));
  }

  @FieldResolver(() => ExperimentType, { description: 'The experiment it belongs to.' })
  experiment(@Root() job: JobRow, @Ctx() { loaders }: GraphqlContext) {
    return loaders.experimentById.load(job.experimentId);
  }

  @FieldResolver(() => SweepType, { nullable: true, description: 'The sweep it came from; null for a job submitted singly.' })
  sweep(@Root() job: JobRow, @Ctx() { loaders }: GraphqlContext) {
    return job.sweepId === null ? null : loaders.sweepById.load(job.sweepId);
  }

  @FieldResolver(() => Boolean, { description: 'Whether `retryJobs` would run it again.' })
  retryable(@Root() job: JobRow) {
    return retryProblem(job.state) === null;
  }

  @FieldResolver(() => ClusterType, { description: 'Where it runs.' })
  cluster(@Root() job: JobRow, @Ctx() { loaders }: GraphqlContext) {
    return clusterOf(loaders, job.cluster);
  }

  @Directive('@listSize(assumedSize: 3)')
  @FieldResolver(() => [AttemptType], { description: 'Its executions, first to newest.' })
  attempts(@Root() job: JobRow, @Ctx() { loaders }: GraphqlContext) {
    return loaders.attemptsOfJob.load(job.id);
  }

  @FieldResolver(() => AttemptType, { nullable: true, description: 'The newest execution; null before the first.' })
  currentAttempt(@Root() job: JobRow, @Ctx() { loaders }: GraphqlContext) {
    return job.attemptCount === 0 ? null : loaders.attemptByNumber.load({ jobId: job.id, number: job.attemptCount });
  }

  @FieldResolver(() => PendingReasonType, { nullable: true, description: 'Why it waits in the queue of its cluster or, before it is handed over, in ours; null when it does not wait, is about to be handed over, or the cluster gives no reason.' })
  async pending(@Root() job: JobRow, @Ctx() { loaders, actions }: GraphqlContext) {
    if (job.state === 'QUEUED') return explainQueuedJob(job, actions.clusters.has(job.cluster) ? await clusterOf(loaders, job.cluster) : null);
    const attempt = job.state === 'PENDING' ? await loaders.attemptByNumber.load({ jobId: job.id, number: job.attemptCount }) : null;
    return attempt === null ? null : pendingReasonOf(attempt);
  }

  @FieldResolver(() => JobType, { nullable: true, description: 'The failed job that this one tries again with another configuration; null when it is none such.' })
  retryOf(@Root() job: JobRow, @Ctx() { loaders }: GraphqlContext) {
    return job.retryOf === null ? null : loaders.jobById.load(job.retryOf);
  }

  @Directive('@listSize(assumedSize: 2)')
  @FieldResolver(() => [JobType], { description: 'The jobs that try this one again with another configuration, oldest first. A retry without changes is a new attempt instead.' })
  retriedBy(@Root() job: JobRow, @Ctx() { loaders }: GraphqlContext) {
    return loaders.retriesOfJob.load(job.id);
  }

  @Directive('@listSize(assumedSize: 5)')
  @FieldResolver(() => [MetricSeriesType], { description: 'Its metric histories, by name.' })
  async metrics(
    @Root() job: JobRow, @Ctx() { loaders }: GraphqlContext,
    @Arg('keys', () => [String], { nullable: true, description: 'Which metrics; all when left out.' }) keys: string[] | null,
    @Arg('maxPoints', () => Int, { nullable: true, defaultValue: DEFAULT_POINTS, description: MAX_POINTS_DESCRIPTION }) maxPoints: number | null,
    @Arg('attempt', () => Int, { nullable: true, description: `${ATTEMPT_DESCRIPTION} One that the job does not have is an error.` }) attempt: number | null,
  ) {
    const extent = { maxPoints: checkedMaxPoints(maxPoints), attempt: (attempt ?? null) === null ? null : attemptOf(job, { jobId: job.id, attempt }).attemptNumber };
    const rows = await loaders.seriesOfJob.load(keys ?? null, job.id);
    return seriesViews(loaders, rows.map((row) => ({ job, row })), extent);
  }

  @Directive('@listSize(assumedSize: 10)')
  @FieldResolver(() => [CheckpointType], { description: 'Its checkpoints by step.' })
  async checkpoints(
    @Root() job: JobRow, @Ctx() { loaders }: GraphqlContext,
    @Arg('state', () => CheckpointStateEnum, { nullable: true, description: 'Only those in this state.' }) state: CheckpointState | null,
  ) {
    const rows = await loaders.checkpointsOfJob.load(job.id);
    return state ? rows.filter((row) => row.state === state) : rows;
  }

  @FieldResolver(() => CheckpointType, {
    nullable: true,
    description: 'The checkpoint to load: of the COMPLETE and the ARCHIVED ones, the one whose last metric value at or before its step is best (of equals the earliest); '
      + 'if none has a value, the newest at or before the best step. Null when there is none, or nothing says what best means.',
  })
  async bestCheckpoint(
    @Root() job: JobRow, @Ctx() { loaders }: GraphqlContext,
    @Arg('metric', () => String, { nullable: true, description: METRIC_DESCRIPTION }) metric: string | null,
    @Arg('goal', () => GoalEnum, { nullable: true, description: GOAL_DESCRIPTION }) goal: Goal | null,
  ) {
    return bestCheckpointOf(loaders, job, { metric, goal });
  }

  @FieldResolver(() => CheckpointType, { nullable: true, description: 'Of the COMPLETE and the ARCHIVED checkpoints the one that a link, name or pointer file calls last, else the one with the highest step. Null when there is none.' })
  lastCheckpoint(@Root() job: JobRow, @Ctx() { loaders }: GraphqlContext) {
    return loaders.lastCheckpoint.load(job.id);
  }

  @Directive('@listSize(assumedSize: 3)')
  @FieldResolver(() => [DroppedItemsType], { description: 'What could not be read in its files, by reason, the most frequent first.' })
  dropped(@Root() job: JobRow, @Ctx() { loaders }: GraphqlContext) {
    return loaders.droppedOfJob.load(job.id);
  }

  @FieldResolver(() => ResultType, { nullable: true, description: 'What it yielded; null until it has completed and its files were read.' })
  result(@Root() job: JobRow, @Ctx() { loaders }: GraphqlContext) {
    return loaders.resultOfJob.load(job.id);
  }
}

/** Why a job waits in our own queue. @param cluster null for one that is not configured */
function explainQueuedJob(job: JobRow, cluster: ClusterState | null): PendingReasonType | null {
  const reason = cluster === null ? explainUnconfigured(job.cluster) : explainQueued(job.lane, cluster.queueWaits, cluster.breaker);
  return reason === null ? null : { ...reason, estimatedStartAt: null, jobsAhead: null };
}
