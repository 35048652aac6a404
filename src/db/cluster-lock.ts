/**
 * One reconciler at a time for a cluster, among all processes on one database: a session-level advisory lock. The server gives up a
 * session that has fallen silent, and the holder of one stops a moment before that.
 */
import pg from 'pg';
import { beginTerm, type ClusterTerm } from './cluster-term.ts';
import type { DatabaseLog } from './log.ts';

/** How often a process that waits for its turn asks, and how often the holder makes sure that it still holds. */
const ASK_AGAIN_MS = 2_000;
/** A connection silent for this long is lost: the server may have noticed before us, and given the lock to another process. */
const SILENCE_MS = 5_000;
/** The server ends a session silent for this long: that of a process that was stopped, or is cut off. Others may take over from then on. */
const SERVER_SILENCE_MS = 10_000;
/** For how long after the server has last answered its lock counts as held. Shorter than the server's patience. */
const HELD_MS = 8_000;

export interface ClusterLock {
  /** Why this process neither holds the lock nor waits for its turn, or null. */
  problem(): string | null;
  /** Gives the lock back, or stops waiting for it. */
  release(): Promise<void>;
}

/** What a process has that holds a cluster. */
export interface ClusterHolding {
  term: ClusterTerm;
  /** Whether no other process can hold the cluster now. False at once in a process that wakes up after a long stop. */
  isCurrent(): boolean;
}

export interface ClusterLockOptions {
  databaseUrl: string;
  cluster: string;
  /** Called each time this process becomes the one. */
  onAcquired: (holding: ClusterHolding) => void;
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
    let isLost = false;
    client.on('error', () => {
      isLost = true;
      wake?.();
    });
    let holding = false;
    let heldSince = now();
    try {
      await client.connect();
      await client.query(`set idle_session_timeout = ${SERVER_SILENCE_MS}`);
      while (!released) {
        problem = null;
        const askedAt = now();
        if (!holding && await tryLock(client, cluster)) {
          const term = await beginTerm(client, cluster);
          log.info({ ...term }, 'reconciling this cluster');
          holding = true;
          onAcquired({ term, isCurrent: () => !isLost && elapsedMs(heldSince) < HELD_MS });
        } else if (holding) {
          await client.query('select 1');
        }
        heldSince = askedAt;
        await wait();
      }
    } finally {
      isLost = true;
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

type Moment = Record<'monotonic' | 'wall', number>;

function now(): Moment {
  return { monotonic: performance.now(), wall: Date.now() };
}

/** The first clock stands still while the machine sleeps, the second may be set back. */
function elapsedMs(since: Moment): number {
  return Math.max(performance.now() - since.monotonic, Date.now() - since.wall);
}

async function tryLock(client: pg.Client, cluster: string): Promise<boolean> {
  const { rows } = await client.query<{ locked: boolean }>(
    "select pg_try_advisory_lock(hashtextextended('expgraph cluster ' || $1, 0)) as locked", [cluster]);
  return rows[0]?.locked === true;
}
