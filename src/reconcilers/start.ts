/** The reconcile role: for every cluster, wait for its lock, then run its loops for as long as the lock is held; and what concerns no cluster. */
import type { Logger } from 'pino';
import type { Cluster } from '../cluster/executor.ts';
import type { Database } from '../db/database.ts';
import type { LoggedEvent } from '../domain/events.ts';
import { holdClusterLock } from '../db/cluster-lock.ts';
import { databaseOfTerm } from '../db/cluster-term.ts';
import { heldCluster } from './held-cluster.ts';
import { startClusterReconciler, type ClusterReconciler } from './reconcile-cluster.ts';
import type { FailurePolicies } from './retry.ts';
import { startRollUps } from './roll-up.ts';

export interface ReconcileOptions {
  database: Database;
  databaseUrl: string;
  clusters: Cluster[];
  policies: FailurePolicies;
  /** The feed of the event log: what wakes the loops. Answers the function that ends it. */
  onEvents: (listener: (events: LoggedEvent[]) => void) => () => void;
  logger: Logger;
}

export interface Reconcilers {
  /** What keeps this process from reconciling, in words; null when all is well. A cluster that another process holds is well. */
  problem(): string | null;
  /** Ends every loop after its present round, then gives the locks back. Jobs go on. */
  stop(): Promise<void>;
}

export function startReconcilers({ database, databaseUrl, clusters, policies, onEvents, logger }: ReconcileOptions): Reconcilers {
  const running = new Map<string, ClusterReconciler>();
  const locks = clusters.map((cluster) => {
    const { name } = cluster.settings;
    return holdClusterLock({
      databaseUrl, cluster: name, log: logger,
      onAcquired: ({ term, isCurrent }) => {
        const reconciler = startClusterReconciler(databaseOfTerm(database, term), heldCluster(cluster, isCurrent), policies, logger.child({ cluster: name }));
        running.set(name, reconciler);
      },
      onLost: async () => {
        const reconciler = running.get(name);
        running.delete(name);
        await reconciler?.stop();
      },
    });
  });
  const rollUps = startRollUps(database, logger);
  const unsubscribe = onEvents((events) => {
    for (const event of events) for (const reconciler of running.values()) reconciler.onEvent(event);
  });
  return {
    problem: () => locks.map((lock) => lock.problem()).find((problem) => problem !== null) ?? null,
    async stop() {
      unsubscribe();
      await Promise.all([rollUps.stop(), ...locks.map((lock) => lock.release())]);
    },
  };
}
