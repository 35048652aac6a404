/** The leaderboard of an experiment as the schema shows it. */
import { refuseUnknownConfigKeys, refuseUnknownMetrics } from '../actions/unknown-names.ts';
import type { ExperimentRow } from '../db/read/experiments.ts';
import type { JobRow } from '../db/read/jobs.ts';
import { UserError } from '../domain/errors.ts';
import type { Objective } from '../domain/job-spec.ts';
import type { LeaderboardEntry, LeaderboardOptions } from '../domain/leaderboard.ts';
import { chosenObjective, type AskedObjective } from '../domain/objective.ts';
import type { LeaderboardRowType } from './experiment.type.ts';
import type { GraphqlContext } from './context.ts';

/** Postgres takes at most 100 values in one list. */
const MAX_GROUP_KEYS = 100;

export interface LeaderboardView extends LeaderboardRowType {
  entry: LeaderboardEntry;
  job: JobRow;
  objective: Objective;
}

/** What "best" means in an experiment; null when nobody said. */
export function objectiveOf(experiment: Pick<ExperimentRow, 'objectiveMetric' | 'objectiveGoal'> | null): Objective | null {
  const { objectiveMetric: metric = null, objectiveGoal: goal = null } = experiment ?? {};
  return metric === null || goal === null ? null : { metric, goal };
}

/** The rows, best first. Throws UserError when nothing says what best means. */
export async function leaderboardOf(
  { database, loaders }: Pick<GraphqlContext, 'database' | 'loaders'>, experiment: ExperimentRow, asked: AskedObjective, options: LeaderboardOptions,
): Promise<LeaderboardView[]> {
  if ((options.groupBy ?? []).length > MAX_GROUP_KEYS) {
    throw UserError.of('LIMIT_EXCEEDED', `names ${options.groupBy?.length} keys; the limit is ${MAX_GROUP_KEYS}`, ['groupBy']);
  }
  const objective = chosenObjective(asked, objectiveOf(experiment));
  if (objective === null) {
    throw UserError.of('BAD_USER_INPUT', 'say what best means: pass both `metric` and `goal`, or give the experiment an objective and leave out both', ['metric']);
  }
  const entries = await loaders.leaderboard.load(options, { experimentId: experiment.id, ...objective });
  if (entries.length === 0) await refuseUnknownMetrics(database, [experiment.id], [objective.metric], ['metric']);
  const doubtful = (options.groupBy ?? []).filter((_, index) => entries.length > 0 && entries.every((entry) => entry.groupValues[index] === null));
  if (doubtful.length > 0) await refuseUnknownConfigKeys(database, [experiment.id], doubtful, ['groupBy']);
  return Promise.all(entries.map(async (entry) => {
    const job = await loaders.jobById.load(entry.bestJobId);
    if (job === null) throw new Error(`job ${entry.bestJobId} vanished`);
    const config = options.groupBy === null ? job.config
      : Object.fromEntries(options.groupBy.map((key, index) => [key, entry.groupValues[index] ?? null]));
    return { ...entry, n: entry.jobCount, config, entry, job, objective };
  }));
}
