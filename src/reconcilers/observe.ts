/**
 * Cluster to database, as a poll: asks the scheduler for the state of every attempt that may still change, reads what their jobs
 * wrote, and commits both together. Pushes go on while the scheduler is asked: a verdict on a state that is no longer so is not applied.
 */
import type { Logger } from 'pino';
import type { Cluster, Observation, QueueCount, Stranger } from '../cluster/executor.ts';
import type { Transport } from '../cluster/transport.ts';
import type { Database } from '../db/database.ts';
import { readNewestAttempts, readSettlingAttempts, type TrackedAttemptRow } from '../db/read/tracked-attempts.ts';
import { appendEvents } from '../db/write/events.ts';
import { withdrawResults } from '../db/write/harvest.ts';
import { transact } from '../db/transaction.ts';
import { isTerminalAttemptState } from '../domain/states.ts';
import { commitFindings } from './findings.ts';
import { followGuards } from './guards.ts';
import { gatherHarvest, type HarvestTarget } from './harvest.ts';
import { ListRests } from './list-rests.ts';
import { keyOf, resolveOpenBatches } from './open-batches.ts';
import { followRequeues } from './requeues.ts';
import { noteCheckpoints } from './resume.ts';
import { settleStrangers, type StrangerMemory } from './strangers.ts';
import type { Turns } from './turns.ts';
import { CONFIRM_SECONDS, judge, runOf, type SilenceMemory } from './verdicts.ts';

/** For how long the files of an ended job are looked at again: a shared file system may show the last lines late. */
const SETTLE_SECONDS = 30;
/** For how long a job that has ended and was seen in the queue again is asked about. */
const REVIVED_SECONDS = 60;
/** How often the queue of a cluster on which nothing is tracked is looked at, for what goes there by a token of ours. */
const IDLE_LOOK_SECONDS = 30;
/** Jobs whose files are read and committed in one turn while changes are pushed: those of the same jobs wait for it. */
const JOBS_PER_TURN = 50;

/** What this process remembers from round to round. A process that takes over starts without, and asks once more. */
export interface RoundMemory extends StrangerMemory, SilenceMemory {
  /** Attempts whose end the scheduler has told, by job and number. */
  confirmed: Set<string>;
  /** When the cluster was last asked, in milliseconds; -Infinity before the first time. */
  askedAt: number;
  /** Jobs whose directories are too large to be looked at again so soon. */
  rests: ListRests;
}

export function newRoundMemory(): RoundMemory {
  return { lastSeen: new Map(), untoldSince: new Map(), confirmed: new Set(), askedAt: -Infinity, revived: new Map(), cancelledAt: new Map(), rests: new ListRests() };
}

/** @param ownTokens of the attempts that were asked about */
export type QueueListener = (counts: readonly QueueCount[], ownTokens: ReadonlySet<string>) => void;

export interface ObserveDependencies {
  database: Database;
  cluster: Cluster;
  /** By what the files of jobs are read. */
  files: Pick<Transport, 'list' | 'read'>;
  /** Tokens whose submission is still under way in this process. */
  inFlight: ReadonlySet<string>;
  memory: RoundMemory;
  /** Nobody else reads the files of the same jobs meanwhile. */
  turns: Turns;
  onQueue: QueueListener;
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
  /** Something was done about what else the queue holds: what came of it is to be seen. */
  isUnsettled: boolean;
  /** What else waits or runs in the queue under tokens of ours, also of submissions under way; null when the cluster was not asked. */
  strangers: Stranger[] | null;
  /** Attempts of which there is neither a word of the scheduler nor an exit record; null when not all who could know were asked. */
  absent: AbsentAttempt[] | null;
}

/** An attempt that is not to be found, and since when, in milliseconds. */
export interface AbsentAttempt {
  row: TrackedAttemptRow;
  since: number;
}

/** One round over the attempts that may still change, and over what else the queue holds under tokens of ours. */
export async function observeCluster(dependencies: ObserveDependencies, active: TrackedAttemptRow[], scope: HarvestScope): Promise<Observed> {
  const observed = await observeAttempts(dependencies, active, scope);
  const { strangers } = observed;
  const settledCount = strangers === null ? 0 : await dependencies.turns.take(null, () => settleStrangers(dependencies, strangers));
  const present = strangers?.filter(({ state }) => !isTerminalAttemptState(state)) ?? null;
  return { ...observed, strangers: present, newsCount: observed.newsCount + settledCount, isUnsettled: settledCount > 0 };
}

async function observeAttempts(dependencies: ObserveDependencies, active: TrackedAttemptRow[], scope: HarvestScope): Promise<Observed> {
  const { database, cluster, inFlight, memory, turns } = dependencies;
  const readIn = active.filter((row) => !inFlight.has(row.token));
  const settling = (await readSettlingAttempts(database, cluster.settings.name)).filter(isNotIn(readIn));
  const { lost, ended: revived } = await readRevived(dependencies, [...readIn, ...settling]);
  const tracked = [...readIn, ...lost];
  const { observations, strangers, isIncomplete, hasAccounting } = await observe(dependencies, tracked, [...settling, ...revived]);
  if (tracked.length + settling.length + revived.length === 0) return { newsCount: 0, ended: [], ending: [], strangers, absent: [], isUnsettled: false };
  const resolved = await resolveOpenBatches({ ...dependencies, lastSeen: memory.lastSeen }, tracked, observations);
  const { known, settled: ended } = await turns.take(null, () => followAll(dependencies, resolved, [...settling, ...revived], observations));
  const settled = ended.filter(isNotIn(revived));
  const targets = targetsOf(dependencies, { known, settled, observations }, scope);
  const targetIds = new Set(targets.map(idOf));
  const others = known.filter((row) => !targetIds.has(row.jobId));
  const found = new Findings(hasAccounting);
  await found.add(dependencies, others, [], observations);
  const atOnce = scope === 'all' ? targets.length : JOBS_PER_TURN;
  for (let start = 0; start < targets.length; start += atOnce) {
    const some = targets.slice(start, start + atOnce);
    await turns.take(some.map(idOf), () => found.add(dependencies, [], some, observations));
  }
  const isEnding = (row: TrackedAttemptRow): boolean => found.decided.has(row.jobId) || found.untold.has(row.jobId) || row.cancelRequested || observations.get(keyOf(row))?.state === 'COMPLETING';
  return {
    newsCount: found.newsCount, ended: [...found.ended], ending: known.filter((row) => row.state !== 'LOST' && isEnding(row) && !found.ended.has(row.jobId)).map(idOf),
    strangers, absent: isIncomplete ? null : found.absent, isUnsettled: false,
  };
}

interface Looked {
  known: TrackedAttemptRow[];
  settled: TrackedAttemptRow[];
  observations: ReadonlyMap<string, Observation>;
}

function tellsEnd(seen: Observation | undefined, row: TrackedAttemptRow): boolean {
  return seen !== undefined && isTerminalAttemptState(seen.state) && seen.earlierRuns.length <= row.restart;
}

/** Whose files to read. */
function targetsOf({ memory: { confirmed, rests }, now }: ObserveDependencies, { known, settled, observations }: Looked, scope: HarvestScope): HarvestTarget[] {
  const isNewlyTold = (row: TrackedAttemptRow): boolean => tellsEnd(observations.get(keyOf(row)), row);
  const isSettled = (row: TrackedAttemptRow): boolean => {
    const seconds = (now().getTime() - (row.jobFinishedAt?.getTime() ?? 0)) / 1000;
    return seconds > SETTLE_SECONDS && (row.slurmJobId === null || confirmed.has(runOf(row)) || isNewlyTold(row) || seconds > CONFIRM_SECONDS);
  };
  const isDue = (row: TrackedAttemptRow): boolean => scope === 'all' && !rests.isResting(row.jobId, now());
  return [
    ...known.filter((row) => mayHaveFiles(row, observations.get(keyOf(row))))
      .map((row) => ({ ...row, ended: isTerminalAttemptState(observations.get(keyOf(row))?.state ?? row.state), closing: false, withLogs: true }))
      .filter((row) => isDue(row) || row.ended || !observations.has(keyOf(row))),
    ...settled.map((row) => ({ ...row, ended: true, closing: isSettled(row), withLogs: true }))
      .filter((row) => isDue(row) || row.closing || isNewlyTold(row)),
  ];
}

/** What a round finds and writes down. */
class Findings {
  newsCount = 0;
  /** Jobs of whose end there is evidence. */
  readonly decided = new Set<string>();
  /** Those of them of which all is read. */
  readonly ended = new Set<string>();
  /** Jobs that have failed, and of which accounting has yet to tell how. */
  readonly untold = new Set<string>();
  readonly absent: AbsentAttempt[] = [];
  readonly #hasAccounting: boolean;

  constructor(hasAccounting: boolean) {
    this.#hasAccounting = hasAccounting;
  }

  /** @param others attempts whose files are not looked at */
  async add(
    { database, cluster, files, memory, logger, now }: ObserveDependencies, others: TrackedAttemptRow[], targets: HarvestTarget[],
    observations: Map<string, Observation>,
  ): Promise<void> {
    const { lastSeen, confirmed } = memory;
    const harvests = await gatherHarvest({ database, cluster, files, now: now() }, targets);
    for (const [jobId, { listMs, hasMore }] of harvests) memory.rests.note(jobId, hasMore ? null : listMs, now());
    const current = await followGuards({ database, cluster, logger }, targets, harvests);
    const overtaken = targets.filter((target, index) => target.slurmJobId !== current[index]!.slurmJobId);
    for (const target of overtaken) {
      // What was said of the execution that we knew is no evidence of the one that runs.
      observations.delete(keyOf(target));
      confirmed.delete(runOf(target));
    }
    const wasAsked = isNotIn(overtaken);
    const rows = [...others, ...current];
    const { changes, untold } = judge(memory, now(), rows, { observations, harvests, hasAccounting: this.#hasAccounting, wasAsked });
    for (const jobId of untold) this.untold.add(jobId);
    this.newsCount += await commitFindings({ database, now: now() }, rows, harvests, changes);
    for (const row of current) {
      const isMissing = isOpen(row) && wasAsked(row) && !observations.has(keyOf(row)) && harvests.get(row.jobId)?.exitRecord === null;
      if (isMissing) this.absent.push({ row, since: lastSeen.get(keyOf(row)) ?? now().getTime() });
    }
    for (const row of rows) if (tellsEnd(observations.get(keyOf(row)), row)) confirmed.add(runOf(row));
    for (const { jobId, state } of rows) {
      if (isTerminalAttemptState(state) || !isTerminalAttemptState(changes.get(jobId)?.state ?? 'RUNNING')) continue;
      this.decided.add(jobId);
      if (harvests.get(jobId)?.hasMore !== true) this.ended.add(jobId);
    }
  }
}

/** Handed over, and its end not known. */
function isOpen({ state }: TrackedAttemptRow): boolean {
  return state !== 'SUBMITTING' && (!isTerminalAttemptState(state) || state === 'LOST');
}

const idOf = ({ jobId }: TrackedAttemptRow): string => jobId;

function isNotIn(rows: TrackedAttemptRow[]): (row: TrackedAttemptRow) => boolean {
  const jobIds = new Set(rows.map(idOf));
  return ({ jobId }) => !jobIds.has(jobId);
}

/** The newest attempts of jobs that are over for us, but were seen in the queue again. */
async function readRevived(
  { database, cluster, memory: { revived }, now }: ObserveDependencies, known: TrackedAttemptRow[],
): Promise<{ lost: TrackedAttemptRow[]; ended: TrackedAttemptRow[] }> {
  for (const [jobId, since] of revived) if (now().getTime() - since > REVIVED_SECONDS * 1000) revived.delete(jobId);
  if (revived.size === 0) return { lost: [], ended: [] };
  const rows = (await readNewestAttempts(database, cluster.settings.name, [...revived.keys()])).filter(isNotIn(known));
  return { lost: rows.filter(({ state }) => state === 'LOST'), ended: rows.filter(({ state }) => state !== 'LOST' && isTerminalAttemptState(state)) };
}

/** Requeued jobs with their newest runs: also those that their exit record ended before they were over for the scheduler, because their node failed. */
async function followAll(
  dependencies: ObserveDependencies, tracked: TrackedAttemptRow[], settling: TrackedAttemptRow[], observations: ReadonlyMap<string, Observation>,
): Promise<{ known: TrackedAttemptRow[]; settled: TrackedAttemptRow[] }> {
  const { database, cluster } = dependencies;
  const isRequeued = (row: TrackedAttemptRow): boolean => (observations.get(keyOf(row))?.earlierRuns.length ?? 0) > row.restart;
  const requeued = [...tracked, ...settling].filter(isRequeued);
  if (requeued.length === 0) return { known: tracked, settled: settling };
  // As they are now: a push may have moved them while the scheduler was asked.
  const newest = await readNewestAttempts(database, cluster.settings.name, requeued.map(idOf));
  const followed = await followRequeues(dependencies, newest, observations);
  const again = followed.filter((row, index) => row !== newest[index] && isTerminalAttemptState(newest[index]!.state));
  if (again.length > 0) await transact(database, async (transaction) => appendEvents(transaction, await withdrawResults(transaction, again.map(idOf))));
  // A run that is still to come is told the last checkpoint of the one before.
  const isToCome = (row: TrackedAttemptRow, index: number): boolean => row !== newest[index] && observations.get(keyOf(row))?.state === 'PENDING';
  await noteCheckpoints(dependencies, newest.filter((_, index) => isToCome(followed[index]!, index)), followed.filter(isToCome));
  const isLeft = (row: TrackedAttemptRow): boolean => !isRequeued(row);
  return { known: [...tracked.filter(isLeft), ...followed.filter((row) => !isTerminalAttemptState(row.state))], settled: settling.filter(isLeft) };
}

/** A pending attempt has written nothing yet; one that the scheduler no longer mentions may have ended and left its record. */
function mayHaveFiles(row: TrackedAttemptRow, seen: Observation | undefined): boolean {
  if (seen === undefined) return true;
  return seen.state !== 'PENDING' && seen.state !== 'CONFIGURING' && row.state !== 'SUBMITTING';
}

async function observe(
  { cluster, memory, onQueue, logger, now }: ObserveDependencies, tracked: TrackedAttemptRow[], settling: TrackedAttemptRow[],
): Promise<{ observations: Map<string, Observation>; strangers: Stranger[] | null; isIncomplete: boolean; hasAccounting: boolean }> {
  const { lastSeen, untoldSince, confirmed, revived } = memory;
  const unconfirmed = settling.filter((row) => row.slurmJobId !== null && (!confirmed.has(runOf(row)) || revived.has(row.jobId)))
    // What has ended cannot wait again, unless it was put back: also where it never started.
    .map((row) => ({ ...row, startedAt: row.startedAt ?? row.submittedAt }));
  const isIdle = tracked.length === 0 && unconfirmed.length === 0;
  if (isIdle && (cluster.settings.kind === 'LOCAL' || now().getTime() - memory.askedAt < IDLE_LOOK_SECONDS * 1000)) return { observations: new Map(), strangers: null, isIncomplete: false, hasAccounting: false };
  memory.askedAt = now().getTime();
  const report = await cluster.executor.observe([...tracked, ...unconfirmed]).catch((error: unknown) => {
    // Nobody was asked for a while: how long an attempt has been absent is counted anew.
    lastSeen.clear();
    untoldSince.clear();
    throw error;
  });
  if (report.queueCounts !== null) onQueue(report.queueCounts, new Set([...tracked, ...unconfirmed].map(({ token }) => token)));
  for (const problem of report.problems) logger.error({ problem }, 'the cluster said something unknown');
  const observations = new Map(report.observations.map((observation) => [keyOf(observation), observation]));
  const time = now().getTime();
  const tracing = new Set(tracked.map(keyOf));
  for (const key of lastSeen.keys()) if (!tracing.has(key)) lastSeen.delete(key);
  for (const key of tracing) if (observations.has(key) || !lastSeen.has(key) || report.isIncomplete === true) lastSeen.set(key, time);
  const present = new Set([...tracked, ...settling].map(runOf));
  for (const run of confirmed) if (!present.has(run)) confirmed.delete(run);
  for (const run of untoldSince.keys()) if (!present.has(run)) untoldSince.delete(run);
  return { observations, strangers: report.strangers, isIncomplete: report.isIncomplete === true, hasAccounting: report.hasAccounting === true };
}
