/** The loops of one cluster, run by whichever process holds its lock. */
import type { Logger } from 'pino';
import type { Cluster } from '../cluster/executor.ts';
import { TransportError } from '../cluster/transport.ts';
import type { Database } from '../db/database.ts';
import { readTrackedAttempts } from '../db/read/tracked-attempts.ts';
import { recordClusterReport, recordClusterUnreachable } from '../db/write/clusters.ts';
import { untilNextDue } from '../db/write/dispatch.ts';
import type { LoggedEvent } from '../domain/events.ts';
import { isTerminalJobState } from '../domain/states.ts';
import { dispatchQueue } from './dispatch.ts';
import { startLoop, type Loop } from './loop.ts';
import { observeCluster } from './observe.ts';
import { retryFailedJobs, type FailurePolicies } from './retry.ts';
import { carryOutWishes } from './wishes.ts';

/** Nothing wakes the queue but its own events; this is the backstop for one that was missed. */
const DISPATCH_PERIOD_MS = 10_000;
/** How often partitions, counts and limits are asked. */
const DESCRIBE_PERIOD_MS = 15_000;
/** Failures wake the loop; this is for those whose last lines come late. */
const RETRY_PERIOD_MS = 15_000;
/** By how much the time between two rounds grows while nothing changes. */
const IDLE_GROWTH = 1.5;

export interface ClusterReconciler {
  /** Told of every event of the log; wakes the loop that has something to do. */
  onEvent(event: LoggedEvent): void;
  stop(): Promise<void>;
}

export function startClusterReconciler(database: Database, cluster: Cluster, policies: FailurePolicies, logger: Logger): ClusterReconciler {
  const { settings } = cluster;
  const shared = { database, cluster, logger, now: () => new Date() };
  const inFlight = new Set<string>();
  const lastSeen = new Map<string, number>();
  const cancelledAt = new Map<string, number>();
  const contact: Contact = { isReachable: false, maxArraySize: null };
  let pollSeconds = settings.pollSecondsMin;
  let nextDueMs: number | null = null;
  let isStopping = false;

  const describe = startLoop({
    name: `describe ${settings.name}`, logger,
    periodMs: () => DESCRIBE_PERIOD_MS,
    run: () => inContact(database, cluster, contact, async () => {
      if (await describeCluster(database, cluster, contact)) dispatch.wake();
    }),
  });
  const dispatch: Loop = startLoop({
    name: `dispatch ${settings.name}`, logger,
    periodMs: () => Math.min(DISPATCH_PERIOD_MS, nextDueMs ?? DISPATCH_PERIOD_MS),
    run: async () => {
      nextDueMs = null;
      if (!contact.isReachable) return;
      const handedOver = await dispatchQueue({ database, cluster, inFlight, maxArraySize: () => contact.maxArraySize, isStopping: () => isStopping, logger });
      if (handedOver > 0) wakeWatch();
      nextDueMs = await untilNextDue(database, settings.name);
    },
  });
  const watch = startLoop({
    name: `watch ${settings.name}`, logger,
    periodMs: () => pollSeconds * 1000,
    run: () => inContact(database, cluster, contact, async () => {
      const tracked = await readTrackedAttempts(database, settings.name);
      await carryOutWishes({ ...shared, cancelledAt }, tracked);
      const news = await observeCluster({ ...shared, inFlight, lastSeen }, tracked);
      pollSeconds = news > 0 ? settings.pollSecondsMin : Math.min(settings.pollSecondsMax, pollSeconds * IDLE_GROWTH);
    }),
  });
  const retry = startLoop({
    name: `retry ${settings.name}`, logger,
    periodMs: () => RETRY_PERIOD_MS,
    run: async () => { await retryFailedJobs({ ...shared, settings, policies, random: Math.random }); },
  });
  const wakeWatch = (): void => {
    pollSeconds = settings.pollSecondsMin;
    watch.wake();
  };

  return {
    onEvent(event) {
      if (event.kind === 'JOB_UPDATED') wakeWatch();
      if (makesRoomOrWork(event)) dispatch.wake();
      if (event.kind === 'JOB_STATE_CHANGED' && event.payload.to === 'FAILED') retry.wake();
    },
    async stop() {
      isStopping = true;
      await Promise.all([describe.stop(), dispatch.stop(), watch.stop(), retry.stop()]);
    },
  };
}

/** What the last word from the cluster was. */
interface Contact {
  /** Nothing is handed over before the cluster has said how large an array may be, nor while it cannot be reached. */
  isReachable: boolean;
  maxArraySize: number | null;
}

/** A job that waits is work for the queue; a job that ended makes room for the next. */
function makesRoomOrWork(event: LoggedEvent): boolean {
  if (event.kind !== 'JOB_STATE_CHANGED') return false;
  const { to } = event.payload;
  return to === 'QUEUED' || isTerminalJobState(to);
}

/** Asks the cluster about itself. Answers whether it had been out of reach. */
async function describeCluster(database: Database, cluster: Cluster, contact: Contact): Promise<boolean> {
  const report = await cluster.executor.describe();
  await recordClusterReport(database, cluster.settings.name, cluster.settings.kind, report);
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
