/** Failed jobs back to work: decides once about every failure whether its policy wants another try, and makes it. */
import type { Logger } from 'pino';
import type { Database, Reader } from '../db/database.ts';
import { newId } from '../db/ids.ts';
import { readPartitions } from '../db/read/clusters.ts';
import { readRetryObstacles } from '../db/read/retry-obstacles.ts';
import { readRetryCandidates, type RetryCandidate } from '../db/read/retry-origins.ts';
import { transact } from '../db/transaction.ts';
import { appendEvents } from '../db/write/events.ts';
import { insertRetryJobs, lockUndecidedJobs, markRetryDecided, requeueForRetry, type NewAttempt, type NewJobFromOld } from '../db/write/retries.ts';
import type { ClusterSettings } from '../domain/cluster-settings.ts';
import { diagnoseFailure, failureNote } from '../domain/diagnosis/diagnose.ts';
import type { FailureRule } from '../domain/diagnosis/failure-rule.ts';
import type { NewEvent } from '../domain/events.ts';
import { fingerprint } from '../domain/fingerprint.ts';
import { jobDirectory } from '../domain/layout.ts';
import { decideRetry, limitsOf, retriedName, type RetryDecision } from '../domain/retry-decision.ts';
import type { RetryPolicy } from '../domain/retry-policy.ts';

/** Failures decided about in one transaction: bounds the memory of their texts and how long the event log stays locked. */
const PAGE_SIZE = 100;
const KNOWN_CONFIGURATION = 'a job with the configuration that its policy asks for exists already';

/** What a site says about failures in its configuration. */
export interface FailurePolicies {
  failureRules: readonly FailureRule[];
  /** For jobs that were submitted without a policy of their own. */
  retryPolicy: RetryPolicy;
}

export interface RetryDependencies {
  database: Database;
  settings: Pick<ClusterSettings, 'name' | 'kind' | 'rootDirectory'>;
  policies: FailurePolicies;
  now: () => Date;
  /** From 0 to 1. */
  random: () => number;
  logger: Logger;
}

interface Decided {
  job: RetryCandidate;
  decision: RetryDecision;
  /** What the reason for its state does not say yet of how it failed. */
  cause: string | null;
}

/** Answers how many jobs are tried again. */
export async function retryFailedJobs(dependencies: RetryDependencies): Promise<number> {
  const { database, settings } = dependencies;
  let retried = 0;
  let afterId: string | null = null;
  for (;;) {
    const candidates: RetryCandidate[] = await readRetryCandidates(database, settings.name, afterId, PAGE_SIZE);
    if (candidates.length > 0) retried += await carryOut(dependencies, await decideAll(dependencies, candidates));
    if (candidates.length < PAGE_SIZE) return retried;
    afterId = candidates.at(-1)?.jobId ?? null;
  }
}

async function decideAll(dependencies: RetryDependencies, candidates: RetryCandidate[]): Promise<Decided[]> {
  const { database, settings, policies, now, random } = dependencies;
  const partitions = await readPartitions(database, settings.name);
  return candidates.flatMap((job): Decided[] => {
    const failure = diagnoseFailure(job.evidence, policies.failureRules);
    const policy = job.retryPolicy ?? policies.retryPolicy;
    if (failure === null) return [{ job, decision: { kind: 'NONE', reason: null }, cause: null }];
    // A shared file system may show the line that tells late: what is not known is looked at again once all files are read.
    if ((failure.class === 'UNKNOWN' || failure.class === 'CRASHED') && !job.settled) return [];
    const cause = failureNote(failure, job.evidence);
    if (job.cancelRequested || policy.length === 0) return [{ job, decision: { kind: 'NONE', reason: null }, cause }];
    const limits = { ...limitsOf(job.resources, partitions), canExcludeNodes: settings.kind === 'SLURM' };
    return [{ job, decision: decideRetry(job, failure.class, policy, { limits, now: now(), jitter: random() }), cause }];
  });
}

/** Everything about a page of failures in one transaction, so that a decision is never made twice. */
async function carryOut({ database, settings, logger }: RetryDependencies, decided: Decided[]): Promise<number> {
  return transact(database, async (transaction) => {
    const locked = await lockUndecidedJobs(transaction, decided.map(({ job }) => job));
    const current = await withoutObstacles(transaction, decided.filter(({ job }) => locked.has(job.jobId)));
    const newJobs = current.flatMap(({ job, decision }) => (decision.kind === 'NEW_JOB' ? [newJobFrom(settings, job, decision)] : []));
    const inserted = await insertRetryJobs(transaction, newJobs);
    const attempts = current.flatMap(({ job, decision }) => (decision.kind === 'NEW_ATTEMPT' ? [newAttemptOf(job, decision)] : []));
    const known = new Set(newJobs.filter(({ jobId }) => !inserted.has(jobId)).map(({ retryOf }) => retryOf));
    const reasons = await markRetryDecided(transaction, current.map((each) => ({ jobId: each.job.jobId, note: noteOf(each, known.has(each.job.jobId)) })));
    await requeueForRetry(transaction, attempts);
    const events = current.flatMap((each) => eventsOf(each, reasons.get(each.job.jobId) ?? null, newJobs.find(({ retryOf, jobId }) => retryOf === each.job.jobId && inserted.has(jobId))));
    if (events.length > 0) await appendEvents(transaction, events);
    const count = inserted.size + attempts.length;
    if (count > 0) logger.info({ cluster: settings.name, newJobs: inserted.size, newAttempts: attempts.length }, 'failed jobs are tried again');
    return count;
  });
}

/**
 * A roll-up takes a while after the end of a job; where it was quicker than the decision, there is no new attempt. Nor does one begin anew, unasked, because
 * the checkpoint that it would go on from is archived just then. Where that one is still to be archived, deleted or restored, the job is left undecided until that
 * is over. Nothing is rolled up or taken away while the jobs are locked.
 */
async function withoutObstacles(reader: Reader, decided: Decided[]): Promise<Decided[]> {
  const obstacles = await readRetryObstacles(reader, decided.filter(({ decision }) => decision.kind === 'NEW_ATTEMPT').map(({ job }) => job), { ignoreArchived: false });
  return decided.flatMap((each): Decided[] => {
    const obstacle = obstacles.get(each.job.jobId);
    if (obstacle === undefined) return [each];
    return obstacle.isPassing ? [] : [{ ...each, decision: { kind: 'NONE', reason: obstacle.reason } }];
  });
}

type WithKind<Kind extends RetryDecision['kind']> = Extract<RetryDecision, { kind: Kind }>;

function newJobFrom({ rootDirectory }: RetryDependencies['settings'], job: RetryCandidate, decision: WithKind<'NEW_JOB'>): NewJobFromOld {
  const { config, resources, tags, priority, notBefore, retryCounts, note } = decision;
  const jobId = newId();
  return {
    jobId, retryOf: job.jobId, name: retriedName(job.name, job.config, config), config, fingerprint: fingerprint({ ...job.identity, config }),
    storagePath: jobDirectory(rootDirectory, job.project, job.experiment, jobId), submittedBy: null,
    resources, tags, priority, notBefore, retryCounts, reason: `made from ${job.jobId} after ${note}`,
  };
}

function newAttemptOf(job: RetryCandidate, { resources, tags, priority, notBefore, retryCounts, note }: WithKind<'NEW_ATTEMPT'>): NewAttempt {
  return { jobId: job.jobId, resources, tags, priority, notBefore, retryCounts, reason: `waits to be tried again after ${note}` };
}

/** What the reason of the job is to say besides: how it failed, and why a policy that speaks of the failure does not lead to another try. */
function noteOf({ decision, cause }: Decided, isKnown: boolean): string | null {
  const why = decision.kind === 'NONE' ? decision.reason : isKnown ? KNOWN_CONFIGURATION : null;
  const notes = [cause, why === null ? null : `not tried again: ${why}`].filter((note) => note !== null);
  return notes.length === 0 ? null : notes.join('; ');
}

/** @param reason why the job failed, as it stands now */
function eventsOf({ job, decision, cause }: Decided, reason: string | null, newJob: NewJobFromOld | undefined): NewEvent[] {
  const about = { experimentId: job.experimentId, sweepId: job.sweepId, jobId: job.jobId, attemptNumber: null };
  const updated = (...changed: string[]): NewEvent => ({ ...about, kind: 'JOB_UPDATED', payload: { changed, ...(changed.includes('stateReason') ? { reason } : {}) } });
  switch (decision.kind) {
    case 'NONE': return decision.reason === null && cause === null ? [] : [updated('stateReason')];
    case 'NEW_ATTEMPT': return [{ ...about, kind: 'JOB_STATE_CHANGED', payload: { from: 'FAILED', to: 'QUEUED', reason: decision.note } }];
    case 'NEW_JOB': return newJob === undefined ? [updated('stateReason')] : [
      { ...about, jobId: newJob.jobId, kind: 'JOB_STATE_CHANGED', payload: { from: null, to: 'QUEUED', reason: newJob.reason } },
      updated('retriedBy', ...(cause === null ? [] : ['stateReason'])),
    ];
  }
}
