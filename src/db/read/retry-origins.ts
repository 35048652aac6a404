/** Jobs that are to be tried again, with all that the decision about it and a job made from them need. */
import { and, asc, eq, gt, sql, type SQL } from 'drizzle-orm';
import type { FailureEvidence } from '../../domain/diagnosis/diagnose.ts';
import type { JobIdentity } from '../../domain/job-spec.ts';
import type { FailedJob } from '../../domain/retry-decision.ts';
import type { RetryRule } from '../../domain/retry-policy.ts';
import type { Reader } from '../database.ts';
import { attempts, experiments, jobs } from '../tables/index.ts';
import { uuidIn } from './job-filter.ts';

/** A job that has ended. */
export interface RetryOrigin extends FailedJob {
  jobId: string;
  experimentId: string;
  sweepId: string | null;
  name: string;
  project: string;
  experiment: string;
  cluster: string;
  identity: JobIdentity;
}

/** A job that failed, and what its newest attempt left behind. */
export interface RetryCandidate extends RetryOrigin {
  attemptNumber: number;
  cancelRequested: boolean;
  /** Its files were read to the end: no more evidence will come. */
  settled: boolean;
  retryPolicy: RetryRule[] | null;
  evidence: FailureEvidence;
}

const originColumns = {
  jobId: jobs.id, experimentId: jobs.experimentId, sweepId: jobs.sweepId, name: jobs.name, project: experiments.project, experiment: experiments.name,
  cluster: jobs.cluster, config: jobs.config, resources: jobs.resources, priority: jobs.priority, tags: jobs.tags, retryCounts: jobs.retryCounts,
  command: jobs.command, environment: jobs.environment, workingDirectory: jobs.workingDirectory, codeVersion: jobs.codeVersion,
  nodeList: attempts.nodeList,
  hasCheckpoint: sql<boolean>`exists (select 1 from checkpoints c where c.job_id = ${jobs.id} and c.state = 'COMPLETE')`,
};

const candidateColumns = {
  ...originColumns,
  attemptNumber: jobs.attemptCount, cancelRequested: jobs.cancelRequested, harvestedAt: jobs.harvestedAt, retryPolicy: jobs.retryPolicy,
  state: attempts.state, exitCode: attempts.exitCode, signal: attempts.signal, reason: attempts.reason,
  errorText: attempts.errorText, stderrTail: attempts.stderrTail, stdoutTail: attempts.stdoutTail,
};

/** Failed jobs of a cluster about which it was not yet decided whether to try them again, by id, after `afterId`. */
export async function readRetryCandidates(reader: Reader, cluster: string, afterId: string | null, limit: number): Promise<RetryCandidate[]> {
  const undecided = and(
    eq(jobs.cluster, cluster), sql`${jobs.state} = 'FAILED' and ${jobs.retryDecidedFor} < ${jobs.attemptCount}`, afterId === null ? undefined : gt(jobs.id, afterId));
  const rows = await reader.select(candidateColumns).from(jobs).innerJoin(experiments, eq(experiments.id, jobs.experimentId))
    .innerJoin(attempts, newestAttempt).where(undecided).orderBy(asc(jobs.id)).limit(limit);
  return rows.map(({ attemptNumber, cancelRequested, harvestedAt, retryPolicy, state, exitCode, signal, reason, errorText, stderrTail, stdoutTail, ...row }) => ({
    ...toOrigin(row), attemptNumber, cancelRequested, settled: harvestedAt !== null, retryPolicy,
    evidence: { state, exitCode, signal, reason, errorText, stderrTail, stdoutTail },
  }));
}

/** Jobs by id; one that never had an attempt has no node. */
export async function readRetryOrigins(reader: Reader, ids: readonly string[]): Promise<RetryOrigin[]> {
  const rows = await reader.select(originColumns).from(jobs).innerJoin(experiments, eq(experiments.id, jobs.experimentId))
    .leftJoin(attempts, newestAttempt).where(uuidIn(jobs.id, ids)).orderBy(asc(jobs.id));
  return rows.map(toOrigin);
}

const newestAttempt: SQL | undefined = and(eq(attempts.jobId, jobs.id), eq(attempts.number, jobs.attemptCount));

function toOrigin<Row extends JobIdentity>({ command, environment, workingDirectory, codeVersion, ...row }: Row) {
  return { ...row, identity: { command, config: row.config, environment, workingDirectory, codeVersion } };
}
