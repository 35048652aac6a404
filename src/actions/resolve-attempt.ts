import type { Transaction } from '../db/database.ts';
import { jobsById, type JobRow } from '../db/read/jobs.ts';
import { UserError } from '../domain/errors.ts';

export interface ResolvedAttempt {
  jobId: string;
  experimentId: string;
  sweepId: string | null;
  attemptNumber: number;
}

/**
 * The attempt that a trainer speaks of: the one it names, else the newest (the first, for a job that was never submitted).
 * Throws UserError NOT_FOUND for an unknown job, BAD_USER_INPUT for an attempt the job does not have.
 */
export async function resolveAttempt(transaction: Transaction, asked: { jobId: string; attempt?: number | null }): Promise<ResolvedAttempt> {
  const [job = null] = await jobsById(transaction, [asked.jobId.toLowerCase()]);
  return attemptOf(job, asked);
}

/** The same of a job that was looked up already; null when there is none. */
export function attemptOf(job: JobRow | null, { jobId, attempt }: { jobId: string; attempt?: number | null }): ResolvedAttempt {
  if (!job) throw UserError.of('NOT_FOUND', `there is no job ${jobId}`, ['jobId']);
  const newest = Math.max(job.attemptCount, 1);
  const attemptNumber = attempt ?? newest;
  if (!Number.isInteger(attemptNumber) || attemptNumber < 1 || attemptNumber > newest) {
    throw UserError.of('BAD_USER_INPUT', `the job has attempts 1 to ${newest}, not ${attemptNumber}`, ['attempt']);
  }
  return { jobId: job.id, experimentId: job.experimentId, sweepId: job.sweepId, attemptNumber };
}
