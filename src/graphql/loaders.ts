/** One loader for each thing that lists fan out to, made anew for each operation: whatever a level asks for becomes one statement. */
import DataLoader from 'dataloader';
import { refuseUnknownMetrics } from '../actions/unknown-names.ts';
import type { Database } from '../db/database.ts';
import { summariesOfAttempt, type SeriesPlace } from '../db/read/attempt-series.ts';
import * as attempts from '../db/read/attempts.ts';
import { droppedOfJobs } from '../db/read/dropped-items.ts';
import { jobIdsOfBatches, jobsById, retriesOfJobs } from '../db/read/jobs.ts';
import { scriptsOfBatches, submittersOfBatches } from '../db/read/batches.ts';
import { bestCheckpoints, bestCheckpointsAmong, type BestAmongQuery, type BestCheckpointQuery } from '../db/read/best-checkpoints.ts';
import * as requests from '../db/read/checkpoint-requests.ts';
import * as checkpoints from '../db/read/checkpoints.ts';
import { allClusters, unknownCluster, type ClusterState, type ConfiguredCluster } from '../db/read/clusters.ts';
import { experimentsById, experimentsByName, sweepsById, type ExperimentName } from '../db/read/experiments.ts';
import { jobCountsOfParents, jobPagesOfParents, leaderboardsOf, progressOf } from '../db/read/jobs-of-experiments.ts';
import type { JobTables } from '../db/read/job-tables.ts';
import type { LeaderboardQuery } from '../db/read/leaderboard.ts';
import * as metrics from '../db/read/metrics.ts';
import { sweepCountsOf, sweepPagesOf, type NestedJobs } from '../db/read/nested.ts';
import type { PageRequest } from '../db/read/page.ts';
import { progressByTag, progressOfSweeps } from '../db/read/progress.ts';
import { resultsOfJobs } from '../db/read/results.ts';
import { onlyUuids } from '../db/read/uuid.ts';
import { UserError } from '../domain/errors.ts';
import type { LeaderboardOptions } from '../domain/leaderboard.ts';

/** Most points of one answer, all series together: some 100 MB of JSON. */
export const MAX_POINTS_IN_ALL = 2_000_000;
/** Most points that those of one attempt are picked out of for histories of many jobs: all are read for it, which takes the database some microseconds each. */
const MAX_POINTS_TO_PICK_FROM = 10_000_000;

interface ExperimentMetrics {
  experimentId: string;
  metrics: string[];
  /** The argument that names them. */
  field: string;
}

export type Loaders = ReturnType<typeof createLoaders>;

/** Loaders that remember what they read: for one operation, or one event of a subscription, and no longer. */
export function createLoaders(database: Database, tables: JobTables, configured: ReadonlyMap<string, ConfiguredCluster>) {
  const byKey = <Key, Value>(read: (keys: readonly Key[]) => Promise<Value[]>, keyOf: (key: Key) => string = JSON.stringify) =>
    new DataLoader<Key, Value, string>(read, { cacheKeyFn: keyOf });
  // Rows carry their ids in lower case, callers may write them in either.
  const byId = <Value>(read: (database: Database, ids: readonly string[]) => Promise<Value[]>) =>
    byKey<string, Value>((ids) => read(database, ids.map((id) => id.toLowerCase())), (id) => id.toLowerCase());
  return {
    experimentById: byId(experimentsById),
    experimentByName: byKey((names: readonly ExperimentName[]) => experimentsByName(database, names),
      ({ project, name }) => JSON.stringify([project, name])),
    sweepById: byId(sweepsById),
    jobById: byId(jobsById),
    retriesOfJob: byId(retriesOfJobs),
    attemptById: byId(attempts.attemptsById),
    attemptByNumber: byKey((keys: readonly attempts.AttemptNumber[]) => attempts.attemptsByNumber(database, keys)),
    attemptsOfJob: byId(attempts.attemptsOfJobs),
    attemptTexts: byId(attempts.attemptTexts),
    checkpointById: byId(checkpoints.checkpointsById),
    checkpointsOfJob: byId(checkpoints.checkpointsOfJobs),
    checkpointAtStep: byKey((places: readonly checkpoints.JobStep[]) => checkpoints.checkpointsAtSteps(database, places)),
    checkpointRequestById: byId(requests.checkpointRequestsById),
    checkpointRequestProgress: byId(requests.progressOfRequests),
    itemsOfCheckpointRequest: perArguments((wanted: requests.WantedItems, ids: readonly string[]) => requests.itemsOfRequests(database, ids, wanted)),
    lastCheckpoint: byId(checkpoints.lastCheckpoints),
    bestCheckpoint: byKey((queries: readonly BestCheckpointQuery[]) => bestCheckpoints(database, queries)),
    bestCheckpointAmong: byKey((queries: readonly BestAmongQuery[]) => bestCheckpointsAmong({ database, tables }, queries)),
    /** Rejects with UserError where no job of the experiment has one of the metrics. */
    knownMetrics: new DataLoader<ExperimentMetrics, null, string>((places) => Promise.all(places.map(({ experimentId, metrics: keys, field }) =>
      refuseUnknownMetrics(database, [experimentId], keys, [field]).then(() => null, (error: Error) => error))), { cacheKeyFn: JSON.stringify }),
    seriesOfJob: perArguments((keys: readonly string[] | null, ids: readonly string[]) => metrics.seriesOfJobs(database, ids, keys)),
    seriesOfExperiment: perArguments((selection: metrics.SeriesSelection, ids: readonly string[]) =>
      metrics.seriesOfExperiments(database, ids, selection)),
    summaryOfAttempt: perArguments((attempt: number, series: readonly SeriesPlace[]) => summariesOfAttempt(database, series, attempt)),
    pointsOfSeries: perArguments(({ maxPoints, attempt }: { maxPoints: number; attempt: number | null }, queries: readonly metrics.PointQuery[]) =>
      metrics.pointsOfSeries(database, queries, maxPoints, attempt)),
    metricsAtStep: perArguments((keys: readonly string[] | null, places: readonly checkpoints.JobStep[]) =>
      metrics.metricsAtSteps(database, places, keys)),
    takePoints: budget(MAX_POINTS_IN_ALL, `more than ${MAX_POINTS_IN_ALL} points in one answer; ask for fewer jobs, fewer \`keys\`, or lower \`maxPoints\``, 'maxPoints'),
    takePointsToPickFrom: budget(MAX_POINTS_TO_PICK_FROM, `what one attempt logged would have to be picked out of more than ${MAX_POINTS_TO_PICK_FROM} points; narrow \`filter\` or \`keys\`, or leave out \`attempt\``, 'attempt'),
    resultOfJob: byId(resultsOfJobs),
    droppedOfJob: byId(droppedOfJobs),
    scriptOfBatch: byId(scriptsOfBatches),
    submittersOfBatch: byId(submittersOfBatches),
    jobIdsOfBatch: byId(jobIdsOfBatches),
    experimentProgress: byId((_, ids) => progressOf({ database, tables }, ids)),
    experimentProgressByTag: byId(progressByTag),
    sweepProgress: byId(progressOfSweeps),
    leaderboard: perArguments((options: LeaderboardOptions, queries: readonly LeaderboardQuery[]) => leaderboardsOf({ database, tables }, queries, options)),
    clusterByName: byKey((names: readonly string[]) => clustersByName(database, configured, names), (name) => name),
    jobPage: perArguments(({ wanted, request }: { wanted: NestedJobs; request: PageRequest }, ids: readonly string[]) =>
      jobPagesOfParents({ database, tables }, wanted, request, ids)),
    jobCount: perArguments((wanted: NestedJobs, ids: readonly string[]) => jobCountsOfParents({ database, tables }, wanted, ids)),
    sweepPage: perArguments((request: PageRequest, ids: readonly string[]) => sweepPagesOf(database, request, ids)),
    sweepCount: byId(sweepCountsOf),
  };
}

/** Counts what an operation reads. Throws UserError LIMIT_EXCEEDED, about the argument, when it becomes more than the limit. */
function budget(limit: number, refusal: string, argument: string) {
  let taken = 0;
  return (count: number): void => {
    taken += count;
    if (taken > limit) throw UserError.of('LIMIT_EXCEEDED', refusal, [argument]);
  };
}

/** A loader for a field with arguments: keys that come with equal arguments are read together. */
function perArguments<Arguments, Key, Value>(read: (args: Arguments, keys: readonly Key[]) => Promise<Value[]>) {
  const loaders = new Map<string, DataLoader<Key, Value, string>>();
  return {
    load(args: Arguments, key: Key): Promise<Value> {
      const signature = JSON.stringify(args);
      const loader = loaders.get(signature)
        ?? new DataLoader<Key, Value, string>((keys) => read(args, keys), { cacheKeyFn: (each) => JSON.stringify(each) });
      loaders.set(signature, loader);
      return loader.load(key);
    },
  };
}

async function clustersByName(
  database: Database, configured: ReadonlyMap<string, ConfiguredCluster>, names: readonly string[],
): Promise<(ClusterState | null)[]> {
  const known = new Map((await allClusters(database, configured)).map((cluster) => [cluster.name, cluster]));
  return names.map((name) => known.get(name) ?? null);
}

/** The cluster of a job, also when it is neither configured nor was ever contacted any more. */
export async function clusterOf(loaders: Loaders, name: string): Promise<ClusterState> {
  return (await loaders.clusterByName.load(name)) ?? unknownCluster(name);
}

/** Rows by ids from outside, without those that do not exist. */
export async function existing<Row>(loader: DataLoader<string, Row | null, string>, ids: readonly string[]): Promise<Row[]> {
  const rows = await Promise.all(onlyUuids(ids).map((id) => loader.load(id)));
  return rows.filter((row): row is Awaited<Row> & NonNullable<Row> => row !== null) as Row[];
}
