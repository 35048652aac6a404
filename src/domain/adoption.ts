/** Decides how the jobs of a submission that the database does not know come into it. */
import type { Manifest, ManifestTask } from './script/manifest.ts';
import type { JobState } from './states.ts';

/** A job of the submission that the database has already. */
export interface KnownJob {
  jobId: string;
  cluster: string;
  state: JobState;
  /** Number of its newest attempt, 0 before the first. */
  attemptCount: number;
}

/** An attempt to record. */
export interface AdoptedTask extends ManifestTask {
  taskIndex: number;
  /** How often SLURM had put it back into its queue by now; `attemptNumber` counts that in. */
  restart: number;
  /** Null for a job that the database does not have yet. */
  known: KnownJob | null;
}

export interface AdoptionPlan {
  adopted: AdoptedTask[];
  /** Jobs that are left as they are, each with the reason. */
  skipped: { jobId: string; reason: string }[];
}

/**
 * A job that is known gets the attempt only, and only when it is newer than all that it has: what the database knows of later
 * attempts stays true.
 * @param restarts how often each task was requeued, in task order
 */
export function planAdoption(cluster: string, { tasks }: Manifest, restarts: readonly number[], knownJobs: readonly KnownJob[]): AdoptionPlan {
  const knownById = new Map(knownJobs.map((job) => [job.jobId, job]));
  const plan: AdoptionPlan = { adopted: [], skipped: [] };
  for (const [taskIndex, task] of tasks.entries()) {
    const restart = restarts[taskIndex] ?? 0;
    const attemptNumber = task.attemptNumber + restart;
    const known = knownById.get(task.jobId) ?? null;
    const reason = known === null ? null
      : known.cluster !== cluster ? `it belongs to the cluster "${known.cluster}"`
        : known.attemptCount >= attemptNumber ? `it has attempt ${known.attemptCount} already, and this is attempt ${attemptNumber}` : null;
    if (reason === null) plan.adopted.push({ ...task, attemptNumber, restart, taskIndex, known });
    else plan.skipped.push({ jobId: task.jobId, reason });
  }
  return plan;
}
