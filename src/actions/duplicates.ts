/** What becomes of jobs that are not new. */
import type { ExistingJob } from '../db/read/fingerprints.ts';
import type { NewJob } from '../db/write/submissions.ts';
import { UserError } from '../domain/errors.ts';
import type { DuplicateJob } from './submission.ts';

/** So many known jobs are named in an error; the rest is counted. */
const MAX_NAMED = 20;

/** The first job of each fingerprint, and those that repeat one. */
export function splitRepeats(jobs: readonly NewJob[]): { firsts: NewJob[]; repeats: NewJob[] } {
  const seen = new Set<string>();
  const firsts: NewJob[] = [];
  const repeats: NewJob[] = [];
  for (const job of jobs) {
    (seen.has(job.fingerprint) ? repeats : firsts).push(job);
    seen.add(job.fingerprint);
  }
  return { firsts, repeats };
}

/** How a job that was left out is reported; `existing` is absent where it only repeats another of the same submission. */
export function duplicateOf({ name, config, fingerprint }: NewJob, existing: ExistingJob | undefined): DuplicateJob {
  return { name, config, fingerprint, existingJobId: existing?.jobId ?? null, existingState: existing?.state ?? null };
}

/** What to do about a duplicate that was left out. */
export function duplicateHint({ existingJobId: id, existingState: state }: Pick<DuplicateJob, 'existingJobId' | 'existingState'>): string {
  if (id === null || state === null) return 'stands in this submission more than once; one of them counts';
  switch (state) {
    case 'COMPLETED': return 'completed; its results are there, and onDuplicate: RUN_AGAIN runs it once more';
    case 'FAILED':
    case 'CANCELLED':
    case 'LOST': return `${state.toLowerCase()}; retryJobs(ids: ["${id}"]) runs it again`;
    case 'HELD': return `held; releaseJobs(ids: ["${id}"]) lets it start`;
    case 'QUEUED':
    case 'SUBMITTING':
    case 'PENDING': return 'waits for its start; nothing is to be done';
    case 'RUNNING': return 'runs; nothing is to be done';
  }
}

/** Throws UserError ALREADY_EXISTS that names the duplicates, if there are any. */
export function refuseDuplicates(duplicates: readonly DuplicateJob[], field: string): void {
  if (duplicates.length === 0) return;
  const faults = duplicates.slice(0, MAX_NAMED).map(({ name, existingJobId, existingState }) => ({
    field: [field],
    message: existingJobId === null ? `job "${name}" stands in this submission more than once` : `job "${name}" exists already: ${existingJobId} (${existingState})`,
    code: 'ALREADY_EXISTS' as const,
  }));
  if (duplicates.length > MAX_NAMED) {
    const message = `and ${duplicates.length - MAX_NAMED} more jobs exist already; onDuplicate SKIP leaves them out, RUN_AGAIN runs them once more`;
    faults.push({ field: [field], message, code: 'ALREADY_EXISTS' });
  }
  throw new UserError(faults);
}
