/** A loop: one unit of work, run again after a period or as soon as somebody wakes it, never twice at once. */
import type { Logger } from 'pino';
import { loggedError } from './logged-error.ts';

/** After a failure the wait grows by doubling, from the loop's own period where that is shorter, with jitter. */
const BACKOFF_MS = { first: 5_000, most: 60_000 };

export interface LoopOptions {
  name: string;
  /** Milliseconds to wait after a run that went well; asked after every run. */
  periodMs: () => number;
  /** Takes no input: looks at the world and makes it match. A failure waits for the next period. */
  run: () => Promise<void>;
  logger: Logger;
}

export interface Loop {
  /** Runs as soon as the present run is over; called many times it still runs once. */
  wake(): void;
  /** What made it fail is known to be over: runs at once, though it would wait longer. */
  retry(): void;
  /** Ends after the present run. */
  stop(): Promise<void>;
}

export function startLoop({ name, periodMs, run, logger }: LoopOptions): Loop {
  let stopped = false;
  let woken = false;
  let retried = false;
  let failures = 0;
  let interruptWait: (() => void) | null = null;

  const wait = (milliseconds: number): Promise<void> => new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      interruptWait = null;
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    interruptWait = done;
  });

  const runOnce = async (): Promise<void> => {
    woken = false;
    retried = false;
    try {
      await run();
      if (failures > 0) logger.info({ loop: name, failures }, 'loop works again');
      failures = 0;
    } catch (error) {
      failures += 1;
      logger.warn({ loop: name, failures, ...loggedError(error) }, 'loop failed, waiting to try again');
    }
  };

  const finished = (async () => {
    // The first run waits until whoever starts the loop holds it, and may wake it from inside.
    await Promise.resolve();
    while (!stopped) {
      await runOnce();
      // A wake-up does not cut a back-off short: what failed is not asked again at once because a job was queued.
      if (!stopped && !retried && (failures > 0 || !woken)) await wait(failures > 0 ? backoffMs(periodMs(), failures) : periodMs());
    }
  })();

  return {
    wake() {
      woken = true;
      if (failures === 0) interruptWait?.();
    },
    retry() {
      retried = true;
      interruptWait?.();
    },
    async stop() {
      stopped = true;
      interruptWait?.();
      await finished;
    },
  };
}

function backoffMs(periodMs: number, failures: number): number {
  const ceiling = Math.min(BACKOFF_MS.most, Math.min(BACKOFF_MS.first, Math.max(periodMs, 500)) * 2 ** Math.min(failures, 10));
  return ceiling * (0.5 + Math.random() / 2);
}
