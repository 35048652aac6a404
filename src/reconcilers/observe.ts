/**
 * Cluster to database: asks for the state of every attempt that may still change, reads what their jobs wrote, and commits
 * both together, so that a job is only ever seen as finished with its last metrics, its checkpoints and its result in place.
 */
import type { Logger } from 'pino';
import type { Cluster, Observation } from '../cluster/executor.ts';
import type { Database } from '../db/database.ts';
import { readSettlingAttempts, type TrackedAttemptRow } from '../db/read/tracked-attempts.ts';
import { applyAttemptChanges, type ChangedAttempt } from '../db/write/attempts.ts';
import { appendEvents } from '../db/write/events.ts';
import { transact } from '../db/transaction.ts';
import { decideAttemptChange } from '../domain/attempt-change.ts';
import { isTerminalAttemptState } from '../domain/states.ts';
import { crashPoint } from './crash-point.ts';
import { gatherHarvest, type Harvest, type HarvestTarget } from './harvest.ts';
import { hasNews, storeHarvest, type HarvestedAttempt } from './harvest-store.ts';
import { keyOf, resolveOpenBatches } from './open-batches.ts';
import { followRequeues } from './requeues.ts';

/** Attempts whose facts are committed in one transaction: bounds how long the event log stays locked. */
const COMMIT_CHUNK = 100;
/** For how long the files of an ended job are looked at again: a shared file system may show the last lines late. */
const SETTLE_SECONDS = 30;

export interface ObserveDependencies {
  database: Database;
  cluster: Cluster;
  /** Tokens whose submission is still under way in this process. */
  inFlight: ReadonlySet<string>;
  /** When the scheduler last mentioned an attempt, or was first asked about it, by attempt; kept between rounds. */
  lastSeen: Map<string, number>;
  logger: Logger;
  now: () => Date;
}

/** One round over the attempts that may still change. Answers how many facts were new: none means that the next round may wait longer. */
export async function observeCluster(dependencies: ObserveDependencies, active: TrackedAttemptRow[]): Promise<number> {
  const { database, cluster, inFlight } = dependencies;
  const tracked = active.filter((row) => !inFlight.has(row.token));
  const settling = await readSettlingAttempts(database, cluster.settings.name);
  if (tracked.length === 0 && settling.length === 0) return 0;
  const observations = await observe(dependencies, tracked);
  const known = await followRequeues(dependencies, await resolveOpenBatches(dependencies, tracked, observations), observations);
  const settled = (row: TrackedAttemptRow): boolean => dependencies.now().getTime() - (row.jobFinishedAt?.getTime() ?? 0) > SETTLE_SECONDS * 1000;
  const targets = [
    ...known.filter((row) => mayHaveFiles(row, observations.get(keyOf(row))))
      .map((row) => ({ ...row, ended: isTerminalAttemptState(observations.get(keyOf(row))?.state ?? row.state), closing: false })),
    ...settling.map((row) => ({ ...row, ended: true, closing: settled(row) })),
  ];
  const harvests = await gatherHarvest({ database, cluster, now: dependencies.now() }, targets);
  return commit(dependencies, known, targets, observations, harvests);
}

/** A pending attempt has written nothing yet; one that the scheduler no longer mentions may have ended and left its record. */
function mayHaveFiles(row: TrackedAttemptRow, seen: Observation | undefined): boolean {
  if (seen === undefined) return true;
  return seen.state !== 'PENDING' && seen.state !== 'CONFIGURING' && row.state !== 'SUBMITTING';
}

async function observe({ cluster, lastSeen, logger, now }: ObserveDependencies, tracked: TrackedAttemptRow[]): Promise<Map<string, Observation>> {
  if (tracked.length === 0) return new Map();
  const report = await cluster.executor.observe(tracked).catch((error: unknown) => {
    // Nobody was asked for a while: how long an attempt has been absent is counted anew.
    lastSeen.clear();
    throw error;
  });
  for (const problem of report.problems) logger.error({ problem }, 'the cluster said something unknown');
  const observations = new Map(report.observations.map((observation) => [keyOf(observation), observation]));
  const time = now().getTime();
  const tracing = new Set(tracked.map(keyOf));
  for (const key of lastSeen.keys()) if (!tracing.has(key)) lastSeen.delete(key);
  for (const key of tracing) if (observations.has(key) || !lastSeen.has(key) || report.isIncomplete === true) lastSeen.set(key, time);
  return observations;
}

/** What one round came to for one attempt. */
interface Finding {
  row: TrackedAttemptRow;
  changed: ChangedAttempt | null;
  harvested: HarvestedAttempt | null;
}

async function commit(
  dependencies: ObserveDependencies, known: TrackedAttemptRow[], targets: HarvestTarget[],
  observations: Map<string, Observation>, harvests: Map<string, Harvest>,
): Promise<number> {
  const { database, now } = dependencies;
  const targetOf = new Map(targets.map((target) => [target.jobId, target]));
  const rows = new Map([...targets, ...known].map((row) => [row.jobId, row]));
  const tracked = new Set(known.map((row) => row.jobId));
  const findings = [...rows.values()].map((row): Finding => {
    const harvest = harvests.get(row.jobId);
    const changed = tracked.has(row.jobId) ? decide(dependencies, row, observations.get(keyOf(row)), harvest) : null;
    const state = changed?.change.state ?? row.state;
    const harvested = harvest === undefined ? null : { row, harvest, state, closing: targetOf.get(row.jobId)?.closing === true && !harvest.hasMore };
    return { row, changed, harvested };
  }).filter(({ changed, harvested }) => changed !== null || (harvested !== null && hasNews(harvested, now())));
  for (let start = 0; start < findings.length; start += COMMIT_CHUNK) {
    const chunk = findings.slice(start, start + COMMIT_CHUNK);
    const ends = chunk.some(({ changed }) => changed !== null && isTerminalAttemptState(changed.change.state));
    crashPoint('harvest-before-commit');
    if (ends) crashPoint('end-before-commit');
    await transact(database, async (transaction) => {
      const moved = await applyAttemptChanges(transaction, chunk.flatMap(({ changed }) => changed ?? []));
      const stored = await storeHarvest(transaction, chunk.flatMap(({ harvested }) => harvested ?? []), now());
      await appendEvents(transaction, [...stored, ...moved]);
    });
    crashPoint('harvest-after-commit');
    if (ends) crashPoint('end-after-commit');
  }
  return findings.length;
}

function decide({ lastSeen, now }: ObserveDependencies, row: TrackedAttemptRow, seen: Observation | undefined, harvest: Harvest | undefined): ChangedAttempt | null {
  const absentSeconds = (now().getTime() - (lastSeen.get(keyOf(row)) ?? now().getTime())) / 1000;
  const change = decideAttemptChange(row, seen ?? null, harvest?.exitRecord ?? null, absentSeconds);
  if (change === null) return null;
  // The end is shown once everything that was written before it is in.
  if (isTerminalAttemptState(change.state) && harvest?.hasMore === true) return null;
  return { ...row, from: row.state, change };
}
