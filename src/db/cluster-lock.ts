/** One reconciler at a time for a cluster, among all processes on one database: a session-level advisory lock. */
import pg from 'pg';
import type { DatabaseLog } from './log.ts';

/** How often a process that waits for its turn asks, and how often the holder makes sure that it still holds. */
const ASK_AGAIN_MS = 2_000;
/** A connection silent for this long is lost: the server may have noticed before us, and given the lock to another process. */
const SILENCE_MS = 5_000;

export interface ClusterLock {
  /** Why this process neither holds the lock nor waits for its turn, or null. */
  problem(): string | null;
  /** Gives the lock back, or stops waiting for it. */
  release(): Promise<void>;
}

export interface ClusterLockOptions {
  databaseUrl: string;
  cluster: string;
  /** Called each time this process becomes the one. */
  onAcquired: () => void;
  /** Called when the database connection that carries the lock is gone: another process may be the one now. Stop writing. */
  onLost: () => Promise<void>;
  log: DatabaseLog;
}

export function holdClusterLock({ databaseUrl, cluster, onAcquired, onLost, log }: ClusterLockOptions): ClusterLock {
  let released = false;
  let wake: (() => void) | null = null;
  let problem: string | null = `has not asked for the lock of cluster ${cluster} yet`;
  const wait = (): Promise<void> => new Promise((resolve) => {
    if (released) return resolve();
    const timer = setTimeout(resolve, ASK_AGAIN_MS);
    wake = () => { clearTimeout(timer); resolve(); };
  });

  const holdOnce = async (): Promise<void> => {
    const client = new pg.Client({
      connectionString: databaseUrl, application_name: `expgraph lock ${cluster}`, keepAlive: true, connectionTimeoutMillis: SILENCE_MS, query_timeout: SILENCE_MS,
    });
    client.on('error', () => wake?.());
    let holding = false;
    try {
      await client.connect();
      while (!released) {
        problem = null;
        if (!holding) {
          holding = await tryLock(client, cluster);
          if (holding) {
            log.info({ cluster }, 'reconciling this cluster');
            onAcquired();
          }
        } else {
          await client.query('select 1');
        }
        await wait();
      }
    } finally {
      if (holding) await onLost();
      await client.end().catch(() => undefined);
    }
  };

  const finished = (async () => {
    while (!released) {
      try {
        await holdOnce();
      } catch (error) {
        problem = `has no database connection to hold the lock of cluster ${cluster}`;
        log.warn({ cluster, reason: error instanceof Error ? error.message : String(error) }, 'lost the connection that holds the cluster lock');
        if (!released) await wait();
      }
    }
  })();

  return {
    problem: () => problem,
    async release() {
      released = true;
      wake?.();
      await finished;
    },
  };
}

async function tryLock(client: pg.Client, cluster: string): Promise<boolean> {
  const { rows } = await client.query<{ locked: boolean }>(
    "select pg_try_advisory_lock(hashtextextended('expgraph cluster ' || $1, 0)) as locked", [cluster]);
  return rows[0]?.locked === true;
}
