/** When the queue of a cluster is looked at. */
import { untilNextDue } from '../db/write/dispatch.ts';
import { dispatchQueue, type DispatchDependencies, type Dispatched } from './dispatch.ts';
import { startLoop, type Loop } from './loop.ts';

/** Nothing wakes the queue but its own events; this is the backstop for one that was missed. */
const DISPATCH_PERIOD_MS = 10_000;

interface DispatchTurns {
  mayGo: () => boolean;
  onDone: (dispatched: Dispatched) => Promise<void>;
  /** Some may have been handed over nevertheless, and what became of the rest may have to be looked up. */
  onFailed: () => void;
}

export interface DispatchLoop extends Loop {
  /** Whether jobs may be in the queue that wait for others to end. */
  mayHaveLeftSome(): boolean;
}

export function startDispatchLoop(dependencies: DispatchDependencies, { mayGo, onDone, onFailed }: DispatchTurns): DispatchLoop {
  const { database, cluster: { settings: { name } }, room, logger } = dependencies;
  let nextDueMs: number | null = null;
  let mayHaveLeftSome = true;
  const loop = startLoop({
    name: `dispatch ${name}`, logger,
    periodMs: () => Math.min(DISPATCH_PERIOD_MS, nextDueMs ?? DISPATCH_PERIOD_MS, room.untilNextMs() ?? DISPATCH_PERIOD_MS),
    run: async () => {
      nextDueMs = null;
      mayHaveLeftSome = true;
      if (!mayGo()) return;
      const dispatched = await dispatchQueue(dependencies).catch((error: unknown) => {
        onFailed();
        throw error;
      });
      // What is not due yet, or not there, is not helped by the end of another.
      mayHaveLeftSome = dispatched.waits.length > 0;
      await onDone(dispatched);
      nextDueMs = await untilNextDue(database, name);
    },
  });
  return { ...loop, mayHaveLeftSome: () => mayHaveLeftSome };
}
