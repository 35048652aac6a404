/** The checkpoint to load: of one job, or of many. */
import type { ParentOfCheckpoints } from '../db/read/best-checkpoints.ts';
import type { ExperimentRow } from '../db/read/experiments.ts';
import type { JobRow } from '../db/read/jobs.ts';
import type { Goal } from '../domain/job-spec.ts';
import { objectiveOf } from './leaderboard.ts';
import type { Loaders } from './loaders.ts';

/** What best means, as asked. */
export interface AskedObjective {
  metric: string | null;
  goal: Goal | null;
}

/** The best checkpoint of a job by what is asked, else by its experiment's objective. */
export async function bestCheckpointOf(loaders: Loaders, job: JobRow, asked: AskedObjective) {
  const experiment = asked.metric && asked.goal ? null : await loaders.experimentById.load(job.experimentId);
  const objective = objectiveOf(experiment, asked);
  return objective === null ? null : loaders.bestCheckpoint.load({ jobId: job.id, ...objective });
}

/** The best checkpoint of all jobs of a sweep or an experiment, likewise. */
export async function bestCheckpointAmong(loaders: Loaders, parent: ParentOfCheckpoints, experiment: ExperimentRow | null, asked: AskedObjective) {
  const objective = objectiveOf(experiment, asked);
  return objective === null ? null : loaders.bestCheckpointAmong.load({ ...parent, ...objective });
}
