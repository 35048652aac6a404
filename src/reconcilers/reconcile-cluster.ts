/** The loops of one cluster, run by whichever process holds its lock. */
import type { Logger } from 'pino';
import type { Cluster } from '../cluster/executor.ts';
import { TransportError } from '../cluster/transport.ts';
import { openWatch, type Watch, type WatchStatus } from '../cluster/watch/open-watch.ts';
import type { Database } from '../db/database.ts';
import { recordJobsAhead } from '../db/write/attempts.ts';
import { recordClusterReport, recordClusterUnreachable, recordClusterWatch } from '../db/write/clusters.ts';
import { untilNextDue } from '../db/write/dispatch.ts';
import type { LoggedEvent } from '../domain/events.ts';
import { isTerminalJobState } from '../domain/states.ts';
import { dispatchQueue } from './dispatch.ts';
import { startLoop, type Loop } from './loop.ts';
import type { Observed } from './observe.ts';
import { OrphanKeeper } from './orphans.ts';
import { retryFailedJobs, type FailurePolicies } from './retry.ts';
import { ClusterRounds } from './rounds.ts';

/** Nothing wakes the queue but its own events; this is the backstop for one that was missed. */
const DISPATCH_PERIOD_MS = 10_000;
/** How often partitions, counts and limits are asked. */
const DESCRIBE_PERIOD_MS = 15_000;
/** Failures wake the loop; this is for those whose last lines come late. */
const RETRY_PERIOD_MS = 15_000;
/** While there are orphans, the database is asked this often what is wished about them; else only a look at the cluster brings some. */
const ORPHAN_WISHES_PERIOD_MS = 2_000;
const NO_ORPHANS_PERIOD_MS = 600_000;

export interface ClusterReconciler {
  /** Told of every event of the log; wakes the loop that has something to do. */
  onEvent(event: LoggedEvent): void;
  stop(): Promise<void>;
}

export function startClusterReconciler(database: Database, cluster: Cluster, policies: FailurePolicies, logger: Logger): ClusterReconciler {
  const { settings } = cluster;
  const inFlight = new Set<string>();
  const contact: Contact = { isReachable: false, maxArraySize: null, hasAccounting: null };
  let nextDueMs: number | null = null;
  let isStopping = false;
  const watch = settings.watch ? openWatch(cluster.transport, logger) : null;
  const keep = startKeeping(database, cluster, contact, logger, () => promptRounds());
  const rounds = new ClusterRounds({ database, cluster, watch, inFlight, logger, now: () => new Date(), onLook: keep.onLook });

  const describe = startLoop({
    name: `describe ${settings.name}`, logger,
    periodMs: () => DESCRIBE_PERIOD_MS,
    run: () => inContact(database, cluster, contact, async () => {
      if (await describeCluster(database, cluster, contact, logger)) dispatch.wake();
    }),
  });
  const dispatch: Loop = startLoop({
    name: `dispatch ${settings.name}`, logger,
    periodMs: () => Math.min(DISPATCH_PERIOD_MS, nextDueMs ?? DISPATCH_PERIOD_MS),
    run: async () => {
      nextDueMs = null;
      if (!contact.isReachable) return;
      const handedOver = await dispatchQueue({ database, cluster, inFlight, maxArraySize: () => contact.maxArraySize, isStopping: () => isStopping, logger });
      if (handedOver > 0) promptRounds();
      nextDueMs = await untilNextDue(database, settings.name);
    },
  });
  const { follow, push } = startLanes(rounds, settings.name, logger, (run) => inContact(database, cluster, contact, run));
  const retry = startLoop({
    name: `retry ${settings.name}`, logger,
    periodMs: () => RETRY_PERIOD_MS,
    run: async () => { await retryFailedJobs({ database, logger, now: () => new Date(), settings, policies, random: Math.random }); },
  });
  const promptRounds = (): void => {
    rounds.prompt();
    for (const loop of [push, follow]) loop.wake();
  };
  watch?.onChange((changes) => {
    rounds.noteChanges(changes);
    push.wake();
  });
  const showWatch = showWatchOf(database, cluster, watch, logger, (state) => {
    promptRounds();
    // What is watched live can be reached.
    if (state === 'LIVE') for (const loop of [describe, follow, push]) loop.retry();
  });

  return {
    onEvent(event) {
      if (event.kind === 'JOB_UPDATED') promptRounds();
      if (makesRoomOrWork(event)) dispatch.wake();
      if (event.kind === 'JOB_STATE_CHANGED' && event.payload.to === 'FAILED') retry.wake();
    },
    async stop() {
      isStopping = true;
      await Promise.all([describe.stop(), dispatch.stop(), follow.stop(), push.stop(), retry.stop(), keep.stop(), watch?.close()]);
      await showWatch({ state: 'POLLING', reason: 'the server that looked after it has stopped' });
    },
  };
}

/** The lanes of the rounds, each of which may leave the other one something to do. */
function startLanes(rounds: ClusterRounds, name: string, logger: Logger, inContactRun: (run: () => Promise<void>) => Promise<void>): { follow: Loop; push: Loop } {
  const follow: Loop = startLoop({
    name: `follow ${name}`, logger,
    periodMs: () => rounds.untilNextMs(),
    run: () => inContactRun(async () => {
      await rounds.run();
      push.wake();
    }),
  });
  const push: Loop = startLoop({
    name: `push ${name}`, logger,
    periodMs: () => rounds.untilPushMs(),
    run: () => inContactRun(async () => {
      if (await rounds.push()) follow.wake();
    }),
  });
  return { follow, push };
}

/** Keeps the table of orphans in step with what the looks at the cluster show. */
function startKeeping(database: Database, cluster: Cluster, contact: Contact, logger: Logger, onAdopted: () => void): { onLook: (observed: Observed) => void; stop: () => Promise<void> } {
  const keeper = new OrphanKeeper({ database, cluster, logger, now: () => new Date() });
  const loop = startLoop({
    name: `orphans ${cluster.settings.name}`, logger,
    periodMs: () => (keeper.hasOrphans() ? ORPHAN_WISHES_PERIOD_MS : NO_ORPHANS_PERIOD_MS),
    run: () => inContact(database, cluster, contact, async () => {
      if (await keeper.run()) onAdopted();
    }),
  });
  return {
    onLook(observed) {
      if (keeper.note(observed)) loop.wake();
    },
    stop: () => loop.stop(),
  };
}

/** Writes down how the cluster is watched, now and whenever that changes; answers the function that writes down a last word. */
function showWatchOf(
  database: Database, { settings }: Cluster, watch: Watch | null, logger: Logger, onChanged: (state: WatchStatus['state']) => void,
): (status: WatchStatus) => Promise<void> {
  let written = Promise.resolve();
  const show = (status: WatchStatus): Promise<void> => {
    // One after the other: the last word is to stand.
    written = written.then(() => recordClusterWatch(database, settings.name, settings.kind, status.state, status.reason))
      .catch((error: unknown) => logger.warn({ err: error }, 'the state of the watch could not be written down'));
    return written;
  };
  void show(watch?.status() ?? { state: 'POLLING', reason: 'the configuration says watch: false' });
  watch?.onStatus((status) => {
    void show(status);
    onChanged(status.state);
  });
  return show;
}

/** What the last word from the cluster was. */
interface Contact {
  /** Nothing is handed over before the cluster has said how large an array may be, nor while it cannot be reached. */
  isReachable: boolean;
  maxArraySize: number | null;
  hasAccounting: boolean | null;
}

/** A job that waits is work for the queue; a job that ended makes room for the next. */
function makesRoomOrWork(event: LoggedEvent): boolean {
  if (event.kind !== 'JOB_STATE_CHANGED') return false;
  const { to } = event.payload;
  return to === 'QUEUED' || isTerminalJobState(to);
}

/** Asks the cluster about itself. Answers whether it had been out of reach. */
async function describeCluster(database: Database, cluster: Cluster, contact: Contact, logger: Logger): Promise<boolean> {
  const { name, kind } = cluster.settings;
  const { jobsAhead, ...report } = await cluster.executor.describe();
  await recordClusterReport(database, name, kind, report);
  await recordJobsAhead(database, name, jobsAhead);
  if (report.hasAccounting === false && contact.hasAccounting !== false) {
    logger.info({ cluster: name }, 'the cluster keeps no accounts of jobs: their ends are told by its queue and by what they write themselves');
  }
  contact.hasAccounting = report.hasAccounting;
  const isBack = !contact.isReachable;
  contact.maxArraySize = report.maxArraySize;
  contact.isReachable = true;
  return isBack;
}

/** What could not be asked is shown as unreachable, with the words of the failure, until it answers again. */
async function inContact(database: Database, { settings }: Cluster, contact: Contact, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    contact.isReachable = false;
    await recordClusterUnreachable(database, settings.name, settings.kind, error.message);
    throw error;
  }
}
