/** Retries with changes: other resources make a new attempt of the same job, another configuration makes a new job. */
import type { Reader } from '../db/database.ts';
import { newId } from '../db/ids.ts';
import { readRetryObstacles } from '../db/read/retry-obstacles.ts';
import { readRetryOrigins, type RetryOrigin } from '../db/read/retry-origins.ts';
import type { IdempotencyClaim } from '../db/write/idempotency.ts';
import { lockChangeableJobs, readChangeableJobs, type ChangeableJob } from '../db/write/job-changes.ts';
import { insertRetryJobs, requeueForRetry, type NewAttempt, type NewJobFromOld } from '../db/write/retries.ts';
import { tagsAfterChange } from '../domain/config-tag.ts';
import { blockedAt, configLeaves, setDotted } from '../domain/config-values.ts';
import type { NewEvent } from '../domain/events.ts';
import { canonicalJson, fingerprint } from '../domain/fingerprint.ts';
import { PRIORITY_MAX, PRIORITY_MIN, type JsonObject } from '../domain/job-spec.ts';
import { jobDirectory } from '../domain/layout.ts';
import { mergeResources, validateResources, type RequestedResources } from '../domain/resources.ts';
import { retriedName } from '../domain/retry-decision.ts';
import type { Partition } from '../domain/partition.ts';
import { retryProblem, RETRYABLE_JOB_STATES } from '../domain/states.ts';
import { partitionFaults, partitionsOf } from './partition-faults.ts';
import { changeOnce, checkSelected, MAX_JOBS_PER_CHANGE, readPassedOver, toChangeSelection, withPassedOver, type ChangeContext, type JobChangeAnswer, type JobSelection } from './change-jobs.ts';

export interface RetryChanges {
  priorityBoost: number;
  tags: string[];
  /** Laid over each configuration; may be empty. */
  config: JsonObject;
  /** In place of what each job asked for; what is absent or null stays. */
  resources: RequestedResources;
  /** Also jobs whose last checkpoint is archived, or is to be archived or deleted. */
  ignoreArchived: boolean;
}

type Plan =
  | { kind: 'NEW_JOB'; row: NewJobFromOld }
  | { kind: 'NEW_ATTEMPT'; row: NewAttempt }
  | { kind: 'UNCHANGED'; reason: string };

interface Planned {
  job: ChangeableJob;
  plan: Plan;
}

/** Answers the ids of new jobs where the configuration changes (in a dry run those of the jobs they would be made from). Throws as `changeJobs`. */
export async function retryChangedJobs(context: ChangeContext, selection: JobSelection, changes: RetryChanges, claim: IdempotencyClaim | null): Promise<JobChangeAnswer> {
  const chosen = await toChangeSelection(context, selection, RETRYABLE_JOB_STATES);
  if (selection.dryRun === true) {
    const jobs = checkSelected(chosen, await readChangeableJobs(context.database, chosen, MAX_JOBS_PER_CHANGE + 1));
    const planned = await planAll(context, context.database, jobs, changes);
    return withPassedOver(answerOf(planned, ({ job }) => job.jobId), await readPassedOver(context.database, chosen), notTriedAgain);
  }
  return changeOnce(context, claim, async (transaction) => {
    const jobs = checkSelected(chosen, await lockChangeableJobs(transaction, chosen, MAX_JOBS_PER_CHANGE + 1));
    const passedOver = await readPassedOver(transaction, chosen);
    const drafts = await planAll(context, transaction, jobs, changes);
    const inserted = await insertRetryJobs(transaction, drafts.flatMap(({ plan }) => (plan.kind === 'NEW_JOB' ? [plan.row] : [])));
    const planned = drafts.map(({ job, plan }): Planned => (plan.kind !== 'NEW_JOB' || inserted.has(plan.row.jobId) ? { job, plan }
      : { job, plan: { kind: 'UNCHANGED', reason: 'a job with the changed configuration exists already' } }));
    await requeueForRetry(transaction, planned.flatMap(({ plan }) => (plan.kind === 'NEW_ATTEMPT' ? [plan.row] : [])));
    const answer = answerOf(planned, ({ job, plan }) => (plan.kind === 'NEW_JOB' ? plan.row.jobId : job.jobId));
    return { answer: withPassedOver(answer, passedOver, notTriedAgain), events: planned.flatMap((each) => eventsOf(each, context.tokenName)) };
  });
}

const notTriedAgain = (job: ChangeableJob): string => retryProblem(job.state) ?? '';

function answerOf(planned: Planned[], idOf: (planned: Planned) => string): JobChangeAnswer {
  const answer: JobChangeAnswer = { changedJobIds: [], unchanged: [], matchedCount: planned.length };
  for (const each of planned) {
    if (each.plan.kind === 'UNCHANGED') answer.unchanged.push({ jobId: each.job.jobId, reason: each.plan.reason });
    else answer.changedJobIds.push(idOf(each));
  }
  return answer;
}

async function planAll(context: ChangeContext, reader: Reader, jobs: ChangeableJob[], changes: RetryChanges): Promise<Planned[]> {
  const origins = await readRetryOrigins(reader, jobs.map(({ jobId }) => jobId));
  const obstacles = await readRetryObstacles(reader, jobs, changes);
  const partitions = new Map<string, Partition[] | null>();
  for (const name of new Set(origins.map(({ cluster }) => cluster))) partitions.set(name, await partitionsOf(context, name));
  const byId = new Map(origins.map((origin) => [origin.jobId, origin]));
  return jobs.map((job) => {
    const origin = byId.get(job.jobId);
    if (origin === undefined) throw new Error(`job ${job.jobId} has no experiment`);
    const problem = retryProblem(job.state);
    if (problem !== null) return { job, plan: { kind: 'UNCHANGED', reason: problem } };
    const plan = planOne(context, origin, changes, partitions.get(origin.cluster) ?? null);
    const obstacle = obstacles.get(job.jobId);
    return { job, plan: plan.kind === 'NEW_ATTEMPT' && obstacle !== undefined ? { kind: 'UNCHANGED', reason: obstacle.reason } : plan };
  });
}

function planOne({ clusters, tokenName }: ChangeContext, origin: RetryOrigin, changes: RetryChanges, partitions: Partition[] | null): Plan {
  const unchanged = (reason: string): Plan => ({ kind: 'UNCHANGED', reason });
  const resources = mergeResources(changes.resources, origin.resources);
  const [fault] = [...validateResources(resources, ['resourceChanges']), ...partitionFaults(resources, partitions, ['resourceChanges'])];
  if (fault !== undefined) return unchanged(`${fault.field.join('.')}: ${fault.message}`);
  const leaves = configLeaves(changes.config);
  const blocked = leaves.map(({ key }) => blockedAt(origin.config, key)).find((key) => key !== null);
  if (blocked) return unchanged(`"${blocked}" is a plain value in its configuration, not a group`);
  const config = leaves.reduce((changed, { key, value }) => setDotted(changed, key, value), origin.config);
  const shared = {
    resources, tags: [...new Set([...tagsAfterChange(origin.tags, origin.config, config), ...changes.tags])], notBefore: null, retryCounts: {}, reason: `retried by ${tokenName}`,
    priority: Math.min(PRIORITY_MAX, Math.max(PRIORITY_MIN, origin.priority + changes.priorityBoost)),
  };
  if (canonicalJson(config) === canonicalJson(origin.config)) {
    return leaves.length > 0 && canonicalJson(plain(resources)) === canonicalJson(plain(origin.resources)) ? unchanged('has that configuration and those resources already')
      : { kind: 'NEW_ATTEMPT', row: { ...shared, jobId: origin.jobId } };
  }
  const rootDirectory = clusters.get(origin.cluster)?.rootDirectory;
  if (rootDirectory === undefined) return unchanged(`its cluster "${origin.cluster}" is not configured any more`);
  const jobId = newId();
  return {
    kind: 'NEW_JOB',
    row: {
      ...shared, jobId, retryOf: origin.jobId, name: retriedName(origin.name, origin.config, config), config, fingerprint: fingerprint({ ...origin.identity, config }),
      storagePath: jobDirectory(rootDirectory, origin.project, origin.experiment, jobId), submittedBy: tokenName,
    },
  };
}

const plain = (resources: RetryOrigin['resources']): JsonObject => ({ ...resources });

function eventsOf({ job, plan }: Planned, tokenName: string): NewEvent[] {
  const about = { experimentId: job.experimentId, sweepId: job.sweepId, jobId: job.jobId, attemptNumber: null };
  switch (plan.kind) {
    case 'UNCHANGED': return [];
    case 'NEW_ATTEMPT': return [{ ...about, kind: 'JOB_STATE_CHANGED', payload: { from: job.state, to: 'QUEUED', reason: `retried by ${tokenName}` } }];
    case 'NEW_JOB': return [
      { ...about, jobId: plan.row.jobId, kind: 'JOB_STATE_CHANGED', payload: { from: null, to: 'QUEUED', reason: `made from ${job.jobId} by ${tokenName}` } },
      { ...about, kind: 'JOB_UPDATED', payload: { changed: ['retriedBy'] } },
    ];
  }
}
