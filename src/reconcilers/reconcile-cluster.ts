/** The loops of one cluster, run by whichever process holds its lock. */
import type { Logger } from 'pino';
import type { Cluster } from '../cluster/executor.ts';
import { TransportError } from '../cluster/transport.ts';
import type { Database } from '../db/database.ts';
import { readTrackedAttempts } from '../db/read/tracked-attempts.ts';
import { recordClusterReport, recordClusterUnreachable } from '../db/write/clusters.ts';
import type { LoggedEvent } from '../domain/events.ts';
import { dispatchQueue } from './dispatch.ts';
import { startLoop, type Loop } from './loop.ts';
import { observeCluster } from './observe.ts';
import { carryOutWishes } from './wishes.ts';

/** Nothing wakes the queue but its own events; this is the backstop for one that was missed. */
const DISPATCH_PERIOD_MS = 10_000;
/** How often partitions, counts and limits are asked. */
const DESCRIBE_PERIOD_MS = 15_000;
/** By how much the time between two rounds grows while nothing changes. */
const IDLE_GROWTH = 1.5;

export interface ClusterReconciler {
  /** Told of every event of the log; wakes the loop that has something to do. */
  onEvent(event: LoggedEvent): void;
  stop(): Promise<void>;
}

export function startClusterReconciler(database: Database, cluster: Cluster, logger: Logger): ClusterReconciler {
  const { settings } = cluster;
  const now = (): Date => new Date();
  const shared = { database, cluster, logger, now };
  const inFlight = new Set<string>();
  const lastSeen = new Map<string, number>();
  const cancelledAt = new Map<string, number>();
  let maxArraySize: number | null = null;
  /** Nothing is handed over before the cluster has said how large an array may be, nor while it cannot be reached. */
  let isReachable = false;
  let pollSeconds = settings.pollSecondsMin;

  /** What could not be asked is shown as unreachable, with the words of the failure, until it answers again. */
  const inContact = async (run: () => Promise<void>): Promise<void> => {
    try {
      await run();
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      isReachable = false;
      await recordClusterUnreachable(database, settings.name, settings.kind, error.message);
      throw error;
    }
  };
  const describe = startLoop({
    name: `describe ${settings.name}`, logger,
    periodMs: () => DESCRIBE_PERIOD_MS,
    run: () => inContact(async () => {
      const report = await cluster.executor.describe();
      await recordClusterReport(database, settings.name, settings.kind, report);
      maxArraySize = report.maxArraySize;
      if (isReachable) return;
      isReachable = true;
      dispatch.wake();
    }),
  });
  const dispatch: Loop = startLoop({
    name: `dispatch ${settings.name}`, logger,
    periodMs: () => DISPATCH_PERIOD_MS,
    run: async () => {
      if (!isReachable) return;
      const handedOver = await dispatchQueue({ database, cluster, inFlight, maxArraySize: () => maxArraySize, logger });
      if (handedOver > 0) wakeWatch();
    },
  });
  const watch = startLoop({
    name: `watch ${settings.name}`, logger,
    periodMs: () => pollSeconds * 1000,
    run: () => inContact(async () => {
      const tracked = await readTrackedAttempts(database, settings.name);
      await carryOutWishes({ ...shared, cancelledAt }, tracked);
      const news = await observeCluster({ ...shared, inFlight, lastSeen }, tracked);
      pollSeconds = news > 0 ? settings.pollSecondsMin : Math.min(settings.pollSecondsMax, pollSeconds * IDLE_GROWTH);
    }),
  });
  const wakeWatch = (): void => {
    pollSeconds = settings.pollSecondsMin;
    watch.wake();
  };

  return {
    onEvent(event) {
      if (event.kind === 'JOB_UPDATED') wakeWatch();
      if (event.kind !== 'JOB_STATE_CHANGED') return;
      // A job that ended makes room for the next.
      const { to } = event.payload;
      if (to !== 'SUBMITTING' && to !== 'PENDING' && to !== 'RUNNING' && to !== 'HELD') dispatch.wake();
    },
    async stop() {
      await Promise.all([describe.stop(), dispatch.stop(), watch.stop()]);
    },
  };
}
