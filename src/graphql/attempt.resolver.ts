import { Arg, Ctx, Directive, FieldResolver, Int, Resolver, Root } from 'type-graphql';
import type { AttemptRow } from '../db/read/attempts.ts';
import { UserError } from '../domain/errors.ts';
import { diagnoseFailure } from '../domain/diagnosis/diagnose.ts';
import { explainPending } from '../domain/pending-reason.ts';
import { isTerminalAttemptState } from '../domain/states.ts';
import { AttemptType, LogStreamEnum } from './attempt.type.ts';
import type { GraphqlContext } from './context.ts';
import { FailureType, PendingReasonType } from './failure.type.ts';
import { JobType } from './job.type.ts';
import { checkedMaxPoints, DEFAULT_POINTS, MAX_POINTS_DESCRIPTION, seriesViews } from './metric-series.ts';
import { MetricSeriesType } from './metric.type.ts';

/** More than the tail that is kept can hold. */
const MAX_LOG_LINES = 10_000;
const DEFAULT_LOG_LINES = 50;

@Resolver(() => AttemptType)
export class AttemptResolver {
  @FieldResolver(() => JobType, { description: 'The job it executes.' })
  job(@Root() attempt: AttemptRow, @Ctx() { loaders }: GraphqlContext) {
    return loaders.jobById.load(attempt.jobId);
  }

  @FieldResolver(() => String, { nullable: true, description: 'The script that was submitted; shared by all jobs of the submission.' })
  script(@Root() attempt: AttemptRow, @Ctx() { loaders }: GraphqlContext) {
    return loaders.scriptOfBatch.load(attempt.batchId);
  }

  @FieldResolver(() => String, { nullable: true, description: 'The end of its log as it was last read; null while nothing was read.' })
  async logTail(
    @Root() attempt: AttemptRow, @Ctx() { loaders }: GraphqlContext,
    @Arg('lines', () => Int, { nullable: true, defaultValue: DEFAULT_LOG_LINES, description: `Most lines, 1 to ${MAX_LOG_LINES}.` }) asked: number | null,
    @Arg('stream', () => LogStreamEnum.values, { nullable: true, defaultValue: 'STDOUT', description: 'Which of its logs.' }) stream: 'STDOUT' | 'STDERR' | null,
  ) {
    const lines = asked ?? DEFAULT_LOG_LINES;
    if (lines < 1 || lines > MAX_LOG_LINES) throw UserError.of('BAD_USER_INPUT', `must be from 1 to ${MAX_LOG_LINES}, not ${lines}`, ['lines']);
    const texts = await loaders.attemptTexts.load(attempt.id);
    return lastLines((stream === 'STDERR' ? texts?.stderrTail : texts?.stdoutTail) ?? null, lines);
  }

  @FieldResolver(() => String, { nullable: true, description: 'What the job wrote into its error.txt, such as a traceback.' })
  async errorText(@Root() attempt: AttemptRow, @Ctx() { loaders }: GraphqlContext) {
    return (await loaders.attemptTexts.load(attempt.id))?.errorText ?? null;
  }

  @FieldResolver(() => FailureType, { nullable: true, description: 'Why it failed; null when it did not.' })
  async failure(@Root() attempt: AttemptRow, @Ctx() { loaders, failureRules }: GraphqlContext) {
    if (!isTerminalAttemptState(attempt.state) || attempt.state === 'COMPLETED') return null;
    const { errorText = null, stderrTail = null, stdoutTail = null } = (await loaders.attemptTexts.load(attempt.id)) ?? {};
    return diagnoseFailure({ ...attempt, errorText, stderrTail, stdoutTail }, failureRules);
  }

  @Directive('@listSize(assumedSize: 5)')
  @FieldResolver(() => [MetricSeriesType], { description: 'The metric histories as it alone logged them, by name. `metrics` of the job are those of all attempts together.' })
  async metrics(
    @Root() attempt: AttemptRow, @Ctx() { loaders }: GraphqlContext,
    @Arg('keys', () => [String], { nullable: true, description: 'Which metrics; all when left out.' }) keys: string[] | null,
    @Arg('maxPoints', () => Int, { nullable: true, defaultValue: DEFAULT_POINTS, description: MAX_POINTS_DESCRIPTION }) maxPoints: number | null,
  ) {
    const extent = { maxPoints: checkedMaxPoints(maxPoints), attempt: attempt.number };
    const [job, rows] = await Promise.all([loaders.jobById.load(attempt.jobId), loaders.seriesOfJob.load(keys ?? null, attempt.jobId)]);
    return job === null ? [] : seriesViews(loaders, rows.map((row) => ({ job, row })), extent);
  }

  @FieldResolver(() => PendingReasonType, { nullable: true, description: 'Why it waits in the queue of its cluster; null when it does not, or the cluster gives no reason.' })
  pending(@Root() attempt: AttemptRow) {
    return pendingReasonOf(attempt);
  }
}

/** Why an attempt waits, with the estimate of its start. */
export function pendingReasonOf({ state, reason, estimatedStartAt, jobsAhead }: AttemptRow): PendingReasonType | null {
  const pending = state === 'PENDING' ? explainPending(reason) : null;
  return pending === null ? null : { ...pending, estimatedStartAt, jobsAhead: pending.reason === 'Priority' ? jobsAhead : null };
}

function lastLines(text: string | null, count: number): string | null {
  if (text === null) return null;
  const endsInNewline = text.endsWith('\n');
  const lines = (endsInNewline ? text.slice(0, -1) : text).split('\n');
  return lines.slice(-count).join('\n') + (endsInNewline ? '\n' : '');
}
