/** The checkpoint to load: of one job, or of many. */
import type { ParentOfCheckpoints } from '../db/read/best-checkpoints.ts';
import type { ExperimentRow } from '../db/read/experiments.ts';
import type { JobRow } from '../db/read/jobs.ts';
import { chosenObjective, type AskedObjective } from '../domain/objective.ts';
import { objectiveOf } from './leaderboard.ts';
import type { Loaders } from './loaders.ts';

/** How `bestCheckpoint` is told what best means. */
export const METRIC_DESCRIPTION = "The metric that counts; that of the experiment's objective when left out. One that no job of the experiment has is an error.";
export const GOAL_DESCRIPTION = "Which way it is better; may be left out when `metric` is, or is that of the experiment's objective.";

/** The best checkpoint of a job by what is asked, else by its experiment's objective. Throws UserError for half an objective and for a metric that nobody has. */
export async function bestCheckpointOf(loaders: Loaders, job: JobRow, asked: AskedObjective) {
  const experiment = asked.metric && asked.goal ? null : await loaders.experimentById.load(job.experimentId);
  const objective = chosenObjective(asked, objectiveOf(experiment));
  if (objective === null) return null;
  const best = await loaders.bestCheckpoint.load({ jobId: job.id, ...objective });
  if (best === null && asked.metric) await loaders.knownMetrics.load({ experimentId: job.experimentId, metrics: [asked.metric], field: 'metric' });
  return best;
}

/** The best checkpoint of all jobs of a sweep or an experiment, likewise. */
export async function bestCheckpointAmong(loaders: Loaders, parent: ParentOfCheckpoints, experiment: ExperimentRow | null, asked: AskedObjective) {
  const objective = chosenObjective(asked, objectiveOf(experiment));
  if (objective === null) return null;
  const best = await loaders.bestCheckpointAmong.load({ ...parent, ...objective });
  if (best === null && asked.metric && experiment !== null) await loaders.knownMetrics.load({ experimentId: experiment.id, metrics: [asked.metric], field: 'metric' });
  return best;
}
