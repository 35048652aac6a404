/** The leaderboard of an experiment as the schema shows it. */
import type { ExperimentRow } from '../db/read/experiments.ts';
import type { JobRow } from '../db/read/jobs.ts';
import type { LeaderboardEntry, LeaderboardOptions } from '../db/read/leaderboard.ts';
import { UserError } from '../domain/errors.ts';
import type { Goal, Objective } from '../domain/job-spec.ts';
import type { LeaderboardRowType } from './experiment.type.ts';
import type { Loaders } from './loaders.ts';

/** Postgres takes at most 100 values in one list. */
const MAX_GROUP_KEYS = 100;

export interface LeaderboardView extends LeaderboardRowType {
  entry: LeaderboardEntry;
  job: JobRow;
  objective: Objective;
}

/** What the arguments ask for, filled up from the experiment; null when neither says. */
export function objectiveOf(experiment: ExperimentRow | null, asked: { metric: string | null; goal: Goal | null }): Objective | null {
  const metric = asked.metric ?? experiment?.objectiveMetric ?? null;
  // The goal of the objective is that of its own metric only.
  const goal = asked.goal ?? (experiment !== null && metric === experiment.objectiveMetric ? experiment.objectiveGoal : null);
  return metric === null || goal === null ? null : { metric, goal };
}

/** The rows, best first. Throws UserError when nothing says what best means. */
export async function leaderboardOf(
  loaders: Loaders, experiment: ExperimentRow, asked: { metric: string | null; goal: Goal | null }, options: LeaderboardOptions,
): Promise<LeaderboardView[]> {
  if ((options.groupBy ?? []).length > MAX_GROUP_KEYS) {
    throw UserError.of('LIMIT_EXCEEDED', `names ${options.groupBy?.length} keys; the limit is ${MAX_GROUP_KEYS}`, ['groupBy']);
  }
  const objective = objectiveOf(experiment, asked);
  if (objective === null) {
    throw UserError.of('BAD_USER_INPUT', 'say what best means: pass both `metric` and `goal`, or give the experiment an objective and leave out both', ['metric']);
  }
  const entries = await loaders.leaderboard.load(options, { experimentId: experiment.id, ...objective });
  return Promise.all(entries.map(async (entry) => {
    const job = await loaders.jobById.load(entry.bestJobId);
    if (job === null) throw new Error(`job ${entry.bestJobId} vanished`);
    const config = options.groupBy === null ? job.config
      : Object.fromEntries(options.groupBy.map((key, index) => [key, entry.groupValues[index] ?? null]));
    return { ...entry, n: entry.jobCount, config, entry, job, objective };
  }));
}
