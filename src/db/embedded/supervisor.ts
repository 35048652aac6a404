/**
 * Keeps the server running until its owner stops it:
 *
 *   running -> (it ends by itself: killed, out of memory) -> pause -> started again -> running
 *                                                             ^  (does not start) |
 *                                                             +--- longer pause --+
 *
 * It never gives up: what keeps the server from starting (a full disk, a process of the one before that still writes) may pass. Meanwhile
 * every request to the database fails, and says so.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { DatabaseLog } from '../log.ts';
import { signal, stopPostmaster, type Postmaster } from './postmaster.ts';

/** Pauses before a start double from the first to the longest, and begin anew after the server ran for this long. */
const PAUSE_MS = { first: 250, most: 5_000, provenAfter: 60_000 };

export interface SupervisedServer {
  /** Ends all sessions, writes everything to disk and stops the server for good. */
  stop(): Promise<void>;
  /** Asks it to stop, without waiting: for a process that is about to end. */
  abandon(): void;
}

/** @param start starts a server in the place of one that has ended; rejects when it does not start, or its signal is given */
export function supervise(first: Postmaster, start: (signal: AbortSignal) => Promise<Postmaster>, log: DatabaseLog | undefined): SupervisedServer {
  const stopping = new AbortController();
  const isStopping = new Promise<void>((resolve) => { stopping.signal.addEventListener('abort', () => resolve()); });
  // Null once it has ended: its process id may belong to another process.
  let current: Postmaster | null = first;

  const endOf = async (server: Postmaster): Promise<void> => {
    await server.ended;
    current = null;
  };

  const restart = async (pauseMs: number): Promise<{ server: Postmaster; pauseMs: number } | null> => {
    for (let pause = pauseMs; ; pause = Math.min(PAUSE_MS.most, pause * 2)) {
      await delay(pause, undefined, { signal: stopping.signal }).catch(() => undefined);
      if (stopping.signal.aborted) return null;
      try {
        return { server: await start(stopping.signal), pauseMs: Math.min(PAUSE_MS.most, pause * 2) };
      } catch (error) {
        if (stopping.signal.aborted) return null;
        log?.error({ reason: error instanceof Error ? error.message : String(error) }, 'the database server does not start; it is tried again');
      }
    }
  };

  const run = async (): Promise<void> => {
    let pauseMs = PAUSE_MS.first;
    for (let server = first; ;) {
      const startedAt = Date.now();
      const hasEnded = endOf(server);
      await Promise.race([hasEnded, isStopping]);
      if (stopping.signal.aborted) {
        if (current !== null) await stopPostmaster(server.pid);
        await hasEnded;
        return;
      }
      log?.error({}, 'the database server ended by itself (see server.log in its folder); it is started again');
      if (Date.now() - startedAt > PAUSE_MS.provenAfter) pauseMs = PAUSE_MS.first;
      const restarted = await restart(pauseMs);
      if (restarted === null) return;
      ({ server, pauseMs } = restarted);
      current = server;
      log?.warn({}, 'the database server runs again');
    }
  };

  const running = run();
  // Whoever stops it is told.
  running.catch(() => undefined);
  return {
    stop() {
      stopping.abort();
      return running;
    },
    abandon() {
      if (current !== null) signal(current.pid, 'SIGINT');
    },
  };
}
