/**
 * Cluster to database, as a poll: asks the scheduler for the state of every attempt that may still change, reads what their jobs
 * wrote, and commits both together.
 */
import type { Logger } from 'pino';
import type { Cluster, Observation, Stranger } from '../cluster/executor.ts';
import type { Database } from '../db/database.ts';
import { readSettlingAttempts, type TrackedAttemptRow } from '../db/read/tracked-attempts.ts';
import { withdrawResults } from '../db/write/harvest.ts';
import { transact } from '../db/transaction.ts';
import { confirmEnd, decideAttemptChange, type AttemptChange } from '../domain/attempt-change.ts';
import { isTerminalAttemptState } from '../domain/states.ts';
import { commitFindings } from './findings.ts';
import { gatherHarvest, type Harvest } from './harvest.ts';
import { keyOf, resolveOpenBatches } from './open-batches.ts';
import { followRequeues } from './requeues.ts';

/** For how long the files of an ended job are looked at again: a shared file system may show the last lines late. */
const SETTLE_SECONDS = 30;
/** For how long the scheduler's own word on an end is waited for, where an exit record told of it first. */
const CONFIRM_SECONDS = 120;
/** How often the queue of a cluster on which nothing is tracked is looked at, for what goes there by a token of ours. */
const IDLE_LOOK_SECONDS = 30;

/** What this process remembers from round to round. A process that takes over starts without, and asks once more. */
export interface RoundMemory {
  /** When the scheduler last mentioned an attempt, or was first asked about it, by attempt. */
  lastSeen: Map<string, number>;
  /** Attempts whose end the scheduler has told, by job and number. */
  confirmed: Set<string>;
  /** When the cluster was last asked, in milliseconds; -Infinity before the first time. */
  askedAt: number;
}

export function newRoundMemory(): RoundMemory {
  return { lastSeen: new Map(), confirmed: new Set(), askedAt: -Infinity };
}

export interface ObserveDependencies {
  database: Database;
  cluster: Cluster;
  /** Tokens whose submission is still under way in this process. */
  inFlight: ReadonlySet<string>;
  memory: RoundMemory;
  logger: Logger;
  now: () => Date;
}

/** Whose files a round reads: of all jobs that may have written something, or only of those that have ended or may have. */
export type HarvestScope = 'all' | 'ended';

/** What a round came to. */
export interface Observed {
  /** Jobs with new facts: none means that the next round may wait longer. */
  newsCount: number;
  ended: string[];
  /** Jobs about to end: the scheduler has yet to say how. */
  ending: string[];
  /** What else the queue holds under tokens of ours, also of submissions under way; null when the cluster was not asked. */
  strangers: Stranger[] | null;
}

/** One round over the attempts that may still change. */
export async function observeCluster(dependencies: ObserveDependencies, active: TrackedAttemptRow[], scope: HarvestScope): Promise<Observed> {
  const { database, cluster, inFlight, memory, now } = dependencies;
  const tracked = active.filter((row) => !inFlight.has(row.token));
  const trackedJobIds = new Set(tracked.map(idOf));
  const settling = (await readSettlingAttempts(database, cluster.settings.name)).filter((row) => !trackedJobIds.has(row.jobId));
  const { observations, strangers } = await observe(dependencies, tracked, settling);
  if (tracked.length === 0 && settling.length === 0) return { newsCount: 0, ended: [], ending: [], strangers };
  const resolved = await resolveOpenBatches({ ...dependencies, lastSeen: memory.lastSeen }, tracked, observations);
  const { followed, ended: settled } = await followEnded(dependencies, settling, observations);
  const known = [...await followRequeues(dependencies, resolved, observations), ...followed];
  const isSettled = (row: TrackedAttemptRow): boolean => {
    const seconds = (now().getTime() - (row.jobFinishedAt?.getTime() ?? 0)) / 1000;
    return seconds > SETTLE_SECONDS && (row.slurmJobId === null || memory.confirmed.has(runOf(row)) || seconds > CONFIRM_SECONDS);
  };
  const targets = [
    ...known.filter((row) => mayHaveFiles(row, observations.get(keyOf(row))))
      .map((row) => ({ ...row, ended: isTerminalAttemptState(observations.get(keyOf(row))?.state ?? row.state), closing: false, withLogs: true }))
      .filter((row) => scope === 'all' || row.ended || !observations.has(keyOf(row))),
    ...settled.map((row) => ({ ...row, ended: true, closing: isSettled(row), withLogs: true })),
  ];
  const harvests = await gatherHarvest({ database, cluster, files: cluster.transport, now: now() }, targets);
  const verdicts = judge(dependencies, { known, settling: settled, observations, harvests });
  const targetIds = new Set(targets.map(idOf));
  const newsCount = await commitFindings({ database, now: now() }, [...targets, ...known.filter((row) => !targetIds.has(row.jobId))], harvests, verdicts);
  const isDecided = ({ jobId }: TrackedAttemptRow): boolean => isTerminalAttemptState(verdicts.get(jobId)?.state ?? 'RUNNING');
  const hasEnded = (row: TrackedAttemptRow): boolean => isDecided(row) && harvests.get(row.jobId)?.hasMore !== true;
  const isEnding = (row: TrackedAttemptRow): boolean => isDecided(row) || row.cancelRequested || observations.get(keyOf(row))?.state === 'COMPLETING';
  return { newsCount, ended: known.filter(hasEnded).map(idOf), ending: known.filter((row) => isEnding(row) && !hasEnded(row)).map(idOf), strangers };
}

const idOf = ({ jobId }: TrackedAttemptRow): string => jobId;
const runOf = ({ jobId, attemptNumber }: TrackedAttemptRow): string => `${jobId} ${attemptNumber}`;

/** A job that its exit record ended may have been put back into the queue before it was over for the scheduler, too: its node failed. */
async function followEnded(
  { database, logger }: ObserveDependencies, settling: TrackedAttemptRow[], observations: ReadonlyMap<string, Observation>,
): Promise<{ followed: TrackedAttemptRow[]; ended: TrackedAttemptRow[] }> {
  const rows = await followRequeues({ database, logger }, settling, observations);
  const followed = rows.filter((row, index) => row !== settling[index]);
  if (followed.length > 0) await transact(database, (transaction) => withdrawResults(transaction, followed.map(idOf)));
  return { followed, ended: rows.filter((row, index) => row === settling[index]) };
}

/** A pending attempt has written nothing yet; one that the scheduler no longer mentions may have ended and left its record. */
function mayHaveFiles(row: TrackedAttemptRow, seen: Observation | undefined): boolean {
  if (seen === undefined) return true;
  return seen.state !== 'PENDING' && seen.state !== 'CONFIGURING' && row.state !== 'SUBMITTING';
}

async function observe(
  { cluster, memory, logger, now }: ObserveDependencies, tracked: TrackedAttemptRow[], settling: TrackedAttemptRow[],
): Promise<{ observations: Map<string, Observation>; strangers: Stranger[] | null }> {
  const { lastSeen, confirmed } = memory;
  const unconfirmed = settling.filter((row) => row.slurmJobId !== null && !confirmed.has(runOf(row)));
  const isIdle = tracked.length === 0 && unconfirmed.length === 0;
  if (isIdle && (cluster.settings.kind === 'LOCAL' || now().getTime() - memory.askedAt < IDLE_LOOK_SECONDS * 1000)) return { observations: new Map(), strangers: null };
  memory.askedAt = now().getTime();
  const report = await cluster.executor.observe([...tracked, ...unconfirmed]).catch((error: unknown) => {
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
  const present = new Set([...tracked, ...settling].map(runOf));
  for (const run of confirmed) if (!present.has(run)) confirmed.delete(run);
  for (const row of [...tracked, ...unconfirmed]) {
    const seen = observations.get(keyOf(row));
    if (seen !== undefined && isTerminalAttemptState(seen.state) && seen.earlierRuns.length <= row.restart) confirmed.add(runOf(row));
  }
  return { observations, strangers: report.strangers };
}

interface Evidence {
  known: TrackedAttemptRow[];
  settling: TrackedAttemptRow[];
  observations: ReadonlyMap<string, Observation>;
  harvests: ReadonlyMap<string, Harvest>;
}

/** What the evidence of a round changes, by job. */
function judge({ memory: { lastSeen }, now }: ObserveDependencies, { known, settling, observations, harvests }: Evidence): Map<string, AttemptChange> {
  const verdicts = new Map<string, AttemptChange>();
  const time = now().getTime();
  for (const row of known) {
    const harvest = harvests.get(row.jobId);
    const absentSeconds = (time - (lastSeen.get(keyOf(row)) ?? time)) / 1000;
    const change = decideAttemptChange(row, observations.get(keyOf(row)) ?? null, harvest?.exitRecord ?? null, absentSeconds, harvest?.start ?? null);
    if (change !== null) verdicts.set(row.jobId, change);
  }
  for (const row of settling) {
    const seen = observations.get(keyOf(row));
    const change = seen === undefined ? null : confirmEnd(row, seen, harvests.get(row.jobId)?.exitRecord ?? null);
    if (change !== null) verdicts.set(row.jobId, change);
  }
  return verdicts;
}
