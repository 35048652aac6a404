/** The leaderboard of an experiment as the schema shows it. */
import type { ExperimentRow } from '../db/read/experiments.ts';
import { metricKeysOf, missingConfigKeys } from '../db/read/leaderboard-keys.ts';
import type { Database } from '../db/database.ts';
import type { JobRow } from '../db/read/jobs.ts';
import { configLeaves } from '../domain/config-values.ts';
import { UserError } from '../domain/errors.ts';
import type { Goal, Objective } from '../domain/job-spec.ts';
import type { LeaderboardEntry, LeaderboardOptions } from '../domain/leaderboard.ts';
import { nearestWords } from '../domain/nearest-words.ts';
import type { LeaderboardRowType } from './experiment.type.ts';
import type { GraphqlContext } from './context.ts';

/** So many metrics or keys are named in an error. */
const MAX_NAMED = 20;
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
  { database, loaders }: Pick<GraphqlContext, 'database' | 'loaders'>, experiment: ExperimentRow, asked: { metric: string | null; goal: Goal | null }, options: LeaderboardOptions,
): Promise<LeaderboardView[]> {
  if ((options.groupBy ?? []).length > MAX_GROUP_KEYS) {
    throw UserError.of('LIMIT_EXCEEDED', `names ${options.groupBy?.length} keys; the limit is ${MAX_GROUP_KEYS}`, ['groupBy']);
  }
  const objective = objectiveOf(experiment, asked);
  if (objective === null) {
    throw UserError.of('BAD_USER_INPUT', 'say what best means: pass both `metric` and `goal`, or give the experiment an objective and leave out both', ['metric']);
  }
  const entries = await loaders.leaderboard.load(options, { experimentId: experiment.id, ...objective });
  if (entries.length === 0 && asked.metric !== null) await refuseUnknownMetric(database, experiment.id, asked.metric);
  const doubtful = (options.groupBy ?? []).filter((_, index) => entries.length > 0 && entries.every((entry) => entry.groupValues[index] === null));
  if (doubtful.length > 0) await refuseUnknownKeys(database, experiment.id, doubtful);
  return Promise.all(entries.map(async (entry) => {
    const job = await loaders.jobById.load(entry.bestJobId);
    if (job === null) throw new Error(`job ${entry.bestJobId} vanished`);
    const config = options.groupBy === null ? job.config
      : Object.fromEntries(options.groupBy.map((key, index) => [key, entry.groupValues[index] ?? null]));
    return { ...entry, n: entry.jobCount, config, entry, job, objective };
  }));
}

/** An experiment that has no metrics yet has an empty leaderboard instead. */
async function refuseUnknownMetric(database: Database, experimentId: string, metric: string): Promise<void> {
  const known = await metricKeysOf(database, experimentId);
  if (known.length === 0 || known.includes(metric)) return;
  throw UserError.of('BAD_USER_INPUT', `no job has a metric "${metric}"; there are ${listed(known)}`, ['metric']);
}

async function refuseUnknownKeys(database: Database, experimentId: string, keys: string[]): Promise<void> {
  const found = await missingConfigKeys(database, experimentId, keys);
  const [key] = found?.missing ?? [];
  if (found === null || key === undefined) return;
  const known = configLeaves(found.example).map((leaf) => leaf.key);
  const near = nearestWords(key, known);
  throw UserError.of('BAD_USER_INPUT', `no job has a config value "${key}"; ${near.length > 0 ? `did you mean ${near.join(' or ')}?` : `there are ${listed(known)}`}`, ['groupBy']);
}

function listed(names: readonly string[]): string {
  return `${names.slice(0, MAX_NAMED).join(', ')}${names.length > MAX_NAMED ? ` and ${names.length - MAX_NAMED} more` : ''}`;
}
