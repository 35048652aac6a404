/** A batch as the script renderer and the executors see it: plain data, nothing looked up. */
import type { JobIdentity, Resources } from './job-spec.ts';

/** One array task: one attempt of one job. */
export interface TaskSpec {
  jobId: string;
  attemptNumber: number;
  /** Human name of the job, exported to it. */
  jobName: string;
  project: string;
  experiment: string;
  /** Absolute job directory on the cluster. */
  jobDirectory: string;
  identity: JobIdentity;
  /** Path of the checkpoint to go on from, or null at a first attempt. */
  resumeCheckpointPath: string | null;
  tags: string[];
  /** 0-1000, higher first. */
  priority: number;
}

export interface BatchSpec {
  /** SLURM job name and key of the submission. */
  token: string;
  /** Absolute root directory on the cluster. */
  rootDirectory: string;
  /** Shared by all tasks: only jobs with equal resources travel in one batch. */
  resources: Resources;
  setupScript: string | null;
  /** Task i is array index i. A single task is submitted without `--array`. */
  tasks: TaskSpec[];
}
