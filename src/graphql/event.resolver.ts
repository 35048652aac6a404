import { Arg, Ctx, Directive, FieldResolver, ID, Int, Query, Resolver, Root, Subscription } from 'type-graphql';
import { readNewestSeq } from '../db/read/events.ts';
import { jobsById } from '../db/read/jobs.ts';
import { sweepsById } from '../db/read/experiments.ts';
import { onlyUuids } from '../db/read/uuid.ts';
import { UserError } from '../domain/errors.ts';
import type { EventKind, EventPayloads, LoggedEvent } from '../domain/events.ts';
import type { Json } from '../domain/job-spec.ts';
import { AttemptType } from './attempt.type.ts';
import { Changes } from './changes.ts';
import { CheckpointRequestStateEnum, CheckpointRequestType } from './checkpoint-request.type.ts';
import { CheckpointType } from './checkpoint.type.ts';
import { refreshLoaders, type GraphqlContext } from './context.ts';
import { AttemptStateEnum, JobStateEnum } from './enums.ts';
import { eventCondition, eventCursor, eventPredicate } from './event-filter.ts';
import { AppendedStepsType, JobEventFilterInput, JobEventType } from './event.type.ts';
import { ExperimentType, ProgressType, SweepType } from './experiment.type.ts';
import { JobType } from './job.type.ts';
import { MetricAppendType } from './metric.type.ts';
import { bringsPoints, readAppended, type MetricsAppendedEvent } from './metrics-appended.ts';
import { toProgressType } from './progress.ts';
import { JSONValue } from './scalars.ts';

/** A person cannot follow more than four changes a second. */
const PROGRESS_INTERVAL_MS = 250;

interface SubscribeCall<Arguments> {
  args: Arguments;
  context: GraphqlContext;
}

@Resolver()
export class EventSubscriptionResolver {
  @Query(() => String, { description: 'Cursor of the newest event. Ask for it first, then for what is there, and subscribe with it as `after`: nothing that happens meanwhile is missed.' })
  async eventCursor(@Ctx() { database }: GraphqlContext) {
    return String(await readNewestSeq(database));
  }

  @Subscription(() => JobEventType, {
    description: 'The log as it grows. Reconnect with the last cursor as `after`: what was missed is replayed, nothing comes twice.',
    subscribe: ({ args, context }: SubscribeCall<{ filter?: JobEventFilterInput; after?: string }>) =>
      context.ahead.follow(context.feed.subscribe({ after: eventCursor(args.after), filter: eventPredicate(args.filter), condition: eventCondition(args.filter) })),
  })
  jobEvents(
    @Root() event: LoggedEvent, @Ctx() context: GraphqlContext,
    @Arg('filter', () => JobEventFilterInput, { nullable: true, description: 'Which events; all when left out.' }) _filter: JobEventFilterInput | null,
    @Arg('after', () => String, { nullable: true, description: 'Cursor of the last event already known, "0" for the whole log; left out, only what happens from now on.' }) _after: string | null,
  ) {
    refreshLoaders(context);
    context.ahead.begin(event, context.loaders);
    context.resumeAfter = String(event.seq - 1);
    return event;
  }

  @Subscription(() => ProgressType, {
    description: 'The progress of a sweep: at once, then after every change, at most four times a second, the last change always included.',
    subscribe: async ({ args: { sweepId }, context }: SubscribeCall<{ sweepId: string }>) => {
      const id = await existingId('sweep', sweepId, (ids) => sweepsById(context.database, ids));
      return new Changes(context.feed.subscribe({ filter: (event) => event.sweepId === id && event.kind === 'JOB_STATE_CHANGED' }), PROGRESS_INTERVAL_MS);
    },
  })
  async sweepProgress(@Arg('sweepId', () => ID, { description: 'The sweep.' }) sweepId: string, @Ctx() context: GraphqlContext) {
    refreshLoaders(context);
    return toProgressType(await context.loaders.sweepProgress.load(sweepId.toLowerCase()));
  }

  @Subscription(() => MetricAppendType, {
    description: 'Metric values of a job as they arrive.',
    subscribe: async ({ args: { jobId, keys }, context }: SubscribeCall<{ jobId: string; keys?: string[] | null }>) => {
      const id = await existingId('job', jobId, (ids) => jobsById(context.database, ids));
      return context.feed.subscribe({ filter: (event) => bringsPoints(event, id, keys ?? null) });
    },
  })
  metricsAppended(
    @Root() event: MetricsAppendedEvent, @Ctx() context: GraphqlContext,
    @Arg('jobId', () => ID, { description: 'The job.' }) _jobId: string,
    @Arg('keys', () => [String], { nullable: true, description: 'Which metrics; all when left out.' }) keys: string[] | null,
  ) {
    refreshLoaders(context);
    return readAppended(context, event, keys ?? null);
  }
}

@Resolver(() => JobEventType)
export class JobEventResolver {
  @FieldResolver(() => String, { description: 'Its place in the log, to be passed as `after`.' })
  cursor(@Root() event: LoggedEvent) {
    return String(event.seq);
  }

  @FieldResolver(() => ExperimentType, { description: 'The experiment it belongs to.' })
  experiment(@Root() event: LoggedEvent, @Ctx() { ahead }: GraphqlContext) {
    return ahead.row(event, ({ experimentById }) => experimentById, ({ experimentId }) => experimentId);
  }

  @FieldResolver(() => SweepType, { nullable: true, description: 'The sweep it belongs to.' })
  sweep(@Root() event: LoggedEvent, @Ctx() { ahead }: GraphqlContext) {
    return ahead.row(event, ({ sweepById }) => sweepById, ({ sweepId }) => sweepId);
  }

  @FieldResolver(() => JobType, { nullable: true, description: 'The job it is about; null for events of experiments and sweeps.' })
  job(@Root() event: LoggedEvent, @Ctx() { ahead }: GraphqlContext) {
    return ahead.row(event, ({ jobById }) => jobById, ({ jobId }) => jobId);
  }

  @FieldResolver(() => AttemptType, { nullable: true, description: 'The execution it is about.' })
  attempt(@Root() event: LoggedEvent, @Ctx() { ahead }: GraphqlContext) {
    return ahead.row(event, ({ attemptByNumber }) => attemptByNumber, ({ jobId, attemptNumber: number }) => (jobId === null || number === null ? null : { jobId, number }));
  }

  @FieldResolver(() => JobStateEnum, { nullable: true, description: 'JOB_STATE_CHANGED: the state before; null for a new job.' })
  fromState(@Root() event: LoggedEvent) {
    return payloadOf(event, 'JOB_STATE_CHANGED')?.from ?? null;
  }

  @FieldResolver(() => JobStateEnum, { nullable: true, description: 'JOB_STATE_CHANGED: the state after.' })
  toState(@Root() event: LoggedEvent) {
    return payloadOf(event, 'JOB_STATE_CHANGED')?.to ?? null;
  }

  @FieldResolver(() => AttemptStateEnum, { nullable: true, description: 'ATTEMPT_STATE_CHANGED: the state before; null for a new attempt.' })
  fromAttemptState(@Root() event: LoggedEvent) {
    return payloadOf(event, 'ATTEMPT_STATE_CHANGED')?.from ?? null;
  }

  @FieldResolver(() => AttemptStateEnum, { nullable: true, description: 'ATTEMPT_STATE_CHANGED: the state after.' })
  toAttemptState(@Root() event: LoggedEvent) {
    return payloadOf(event, 'ATTEMPT_STATE_CHANGED')?.to ?? null;
  }

  @FieldResolver(() => String, {
    nullable: true,
    description: 'State changes, SECOND_EXECUTION and CHECKPOINT_REQUEST_CHANGED: why, in words. PROJECT_UPDATED: by whom, and to what. JOB_UPDATED of `stateReason`: that reason. '
      + 'The line that tells why a job failed is found in its files after its end: it is there once that JOB_UPDATED has come.',
  })
  async reason(@Root() event: LoggedEvent, @Ctx() { ahead }: GraphqlContext) {
    const recorded = (payloadOf(event, 'JOB_STATE_CHANGED') ?? payloadOf(event, 'ATTEMPT_STATE_CHANGED') ?? payloadOf(event, 'SECOND_EXECUTION')
      ?? payloadOf(event, 'CHECKPOINT_REQUEST_CHANGED') ?? payloadOf(event, 'PROJECT_UPDATED') ?? payloadOf(event, 'JOB_UPDATED'))?.reason ?? null;
    const job = await ahead.row(event, ({ jobById }) => jobById, (each) => (isFailure(each) ? each.jobId : null));
    if (job?.state !== 'FAILED') return recorded;
    const isOfThisEnd = event.attemptNumber === job.attemptCount && recorded !== null && job.stateReason?.startsWith(recorded) === true;
    return isOfThisEnd ? job.stateReason : recorded;
  }

  @FieldResolver(() => CheckpointRequestType, { nullable: true, description: 'CHECKPOINT_REQUEST_CHANGED: the request.' })
  checkpointRequest(@Root() event: LoggedEvent, @Ctx() { ahead }: GraphqlContext) {
    return ahead.row(event, ({ checkpointRequestById }) => checkpointRequestById, (each) => payloadOf(each, 'CHECKPOINT_REQUEST_CHANGED')?.requestId ?? null);
  }

  @FieldResolver(() => CheckpointRequestStateEnum, { nullable: true, description: 'CHECKPOINT_REQUEST_CHANGED: how far the request on `checkpoint` is; PENDING when it was asked for.' })
  requestState(@Root() event: LoggedEvent) {
    return payloadOf(event, 'CHECKPOINT_REQUEST_CHANGED')?.state ?? null;
  }

  @FieldResolver(() => String, { nullable: true, description: "ATTEMPT_STATE_CHANGED: SLURM's id, as known then. SECOND_EXECUTION: the id of that execution." })
  slurmJobId(@Root() event: LoggedEvent) {
    return (payloadOf(event, 'ATTEMPT_STATE_CHANGED') ?? payloadOf(event, 'SECOND_EXECUTION'))?.slurmJobId ?? null;
  }

  @FieldResolver(() => [String], { nullable: true, description: 'JOB_UPDATED, PROJECT_UPDATED: what changed.' })
  changed(@Root() event: LoggedEvent) {
    return (payloadOf(event, 'JOB_UPDATED') ?? payloadOf(event, 'PROJECT_UPDATED'))?.changed ?? null;
  }

  @Directive('@listSize(assumedSize: 5)')
  @FieldResolver(() => [AppendedStepsType], { nullable: true, description: 'METRICS_APPENDED: which steps arrived, by metric.' })
  series(@Root() event: LoggedEvent) {
    return payloadOf(event, 'METRICS_APPENDED')?.series ?? null;
  }

  @FieldResolver(() => CheckpointType, { nullable: true, description: 'CHECKPOINT_CHANGED: the checkpoint. CHECKPOINT_REQUEST_CHANGED: the one that it went on for; null when it was asked for.' })
  checkpoint(@Root() event: LoggedEvent, @Ctx() { ahead }: GraphqlContext) {
    return ahead.row(event, ({ checkpointById }) => checkpointById, (each) => (payloadOf(each, 'CHECKPOINT_CHANGED') ?? payloadOf(each, 'CHECKPOINT_REQUEST_CHANGED'))?.checkpointId ?? null);
  }

  @FieldResolver(() => JSONValue, { nullable: true, description: 'NOTE: what the job wrote.' })
  note(@Root() event: LoggedEvent): Json {
    return payloadOf(event, 'NOTE')?.note ?? null;
  }

  @FieldResolver(() => Int, { nullable: true, description: 'SWEEP_CREATED: how many jobs it has.' })
  jobCount(@Root() event: LoggedEvent) {
    return payloadOf(event, 'SWEEP_CREATED')?.jobCount ?? null;
  }
}

/** Whether the reason of the job as it is now may say more. */
function isFailure(event: LoggedEvent): boolean {
  return payloadOf(event, 'JOB_STATE_CHANGED')?.to === 'FAILED';
}

function payloadOf<Kind extends EventKind>(event: LoggedEvent, kind: Kind): EventPayloads[Kind] | null {
  // The kind tells the payload, which the compiler cannot follow through a type parameter.
  return event.kind === kind ? event.payload as unknown as EventPayloads[Kind] : null;
}

async function existingId(noun: 'job' | 'sweep', id: string, read: (ids: string[]) => Promise<({ id: string } | null)[]>): Promise<string> {
  const [row] = await read(onlyUuids([id.toLowerCase()]));
  if (!row) throw UserError.of('NOT_FOUND', `there is no ${noun} ${id.slice(0, 100)}`, [`${noun}Id`]);
  return row.id;
}
