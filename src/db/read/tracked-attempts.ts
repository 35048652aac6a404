/** The attempts of a cluster that may still change, with all that the reconciler needs to ask and decide about them. */
import { and, eq, gt, inArray, isNotNull, isNull, not, sql } from 'drizzle-orm';
import { unionAll } from 'drizzle-orm/pg-core';
import { ACTIVE_ATTEMPT_STATES, type AttemptState } from '../../domain/states.ts';
import type { Resources } from '../../domain/job-spec.ts';
import type { Reader } from '../database.ts';
import { attempts, batches, jobs } from '../tables/index.ts';
import type { BatchState } from '../tables/index.ts';

/** LOST attempts are asked about for this long: evidence that comes later still overrules. */
const LOST_WATCH_DAYS = 7;

export interface TrackedAttemptRow {
  jobId: string;
  attemptNumber: number;
  experimentId: string;
  sweepId: string | null;
  restart: number;
  state: AttemptState;
  reason: string | null;
  token: string;
  batchId: string;
  batchState: BatchState;
  taskIndex: number;
  taskCount: number;
  slurmJobId: string | null;
  nodeList: string | null;
  jobDirectory: string;
  stdoutPath: string | null;
  stderrPath: string | null;
  submittedAt: Date;
  estimatedStartAt: Date | null;
  startedAt: Date | null;
  maxRssBytes: number | null;
  timeLimitMinutes: number | null;
  gpuCount: number;
  cancelRequested: boolean;
  holdRequested: boolean;
  heldOnCluster: boolean;
  /** Null while the job has not ended. */
  jobFinishedAt: Date | null;
  /** Files of the job that were not looked at last time. */
  unlistedFileCount: number;
}

const columns = {
  jobId: attempts.jobId,
  attemptNumber: attempts.number,
  experimentId: jobs.experimentId,
  sweepId: jobs.sweepId,
  restart: attempts.restart,
  state: attempts.state,
  reason: attempts.reason,
  token: batches.token,
  batchId: batches.id,
  batchState: batches.state,
  taskIndex: attempts.taskIndex,
  taskCount: batches.taskCount,
  slurmJobId: attempts.slurmJobId,
  nodeList: attempts.nodeList,
  jobDirectory: jobs.storagePath,
  stdoutPath: attempts.stdoutPath,
  stderrPath: attempts.stderrPath,
  submittedAt: attempts.submittedAt,
  estimatedStartAt: attempts.estimatedStartAt,
  startedAt: attempts.startedAt,
  maxRssBytes: attempts.maxRssBytes,
  resources: jobs.resources,
  cancelRequested: jobs.cancelRequested,
  holdRequested: jobs.holdRequested,
  heldOnCluster: jobs.heldOnCluster,
  jobFinishedAt: jobs.finishedAt,
  unlistedFileCount: jobs.unlistedFileCount,
};

type Selected = Omit<TrackedAttemptRow, 'timeLimitMinutes' | 'gpuCount'> & { resources: Resources };

function toRow({ resources, ...rest }: Selected): TrackedAttemptRow {
  return { ...rest, timeLimitMinutes: resources.timeLimitMinutes, gpuCount: resources.gpus * resources.nodes };
}

/** Recently lost: evidence may still come. Such a job stays among those whose files are not read to the end, by whose index it is found. */
const isWatchedLost = and(eq(jobs.state, 'LOST'), gt(attempts.submittedAt, sql`now() - make_interval(days => ${LOST_WATCH_DAYS})`))!;
const isSettling = (cluster: string) => and(eq(jobs.cluster, cluster), isNotNull(jobs.finishedAt), isNull(jobs.harvestedAt));

/** Attempts in a state that the cluster may still change, and recently lost ones that are still their job's newest. */
export async function readTrackedAttempts(reader: Reader, cluster: string): Promise<TrackedAttemptRow[]> {
  const active = reader.select(columns).from(attempts)
    .innerJoin(jobs, eq(jobs.id, attempts.jobId))
    .innerJoin(batches, eq(batches.id, attempts.batchId))
    .where(and(eq(attempts.cluster, cluster), inArray(attempts.state, [...ACTIVE_ATTEMPT_STATES])));
  const lost = newestOfJobs(reader).where(and(isSettling(cluster), isWatchedLost, eq(attempts.state, 'LOST')));
  return (await unionAll(active, lost)).map(toRow);
}

/** The same columns of the newest attempts of some jobs, whatever their state. */
export async function readNewestAttempts(reader: Reader, cluster: string, jobIds: string[]): Promise<TrackedAttemptRow[]> {
  const rows = await reader.select(columns).from(jobs)
    .innerJoin(attempts, and(eq(attempts.jobId, jobs.id), eq(attempts.number, jobs.attemptCount)))
    .innerJoin(batches, eq(batches.id, attempts.batchId))
    .where(and(inArray(jobs.id, jobIds), eq(attempts.cluster, cluster)));
  return rows.map(toRow);
}

/** Attempts that ended a short while ago and whose files may still receive their last lines over a shared file system. */
export async function readSettlingAttempts(reader: Reader, cluster: string): Promise<TrackedAttemptRow[]> {
  const rows = await newestOfJobs(reader).where(and(isSettling(cluster), not(isWatchedLost)));
  return rows.map(toRow);
}

function newestOfJobs(reader: Reader) {
  return reader.select(columns).from(jobs)
    .innerJoin(attempts, and(eq(attempts.jobId, jobs.id), eq(attempts.number, jobs.attemptCount)))
    .innerJoin(batches, eq(batches.id, attempts.batchId));
}
