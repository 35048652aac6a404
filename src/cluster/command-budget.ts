/**
 * Never more than so many commands of the scheduler in any minute, whatever happens: who comes when they are spent waits for a turn. Nobody
 * waits for ever, since each use keeps a share that the others cannot take; what people ask for goes first and may take all of it.
 */
import { NotTriedError } from './transport.ts';

/** In the order in which they get their turn: what people asked for, submissions, looks at the jobs, descriptions of the cluster. */
export const COMMAND_USES = ['wish', 'submit', 'look', 'describe'] as const;
export type CommandUse = (typeof COMMAND_USES)[number];

const WINDOW_MS = 60_000;
/** Of the whole; what they leave over is for whoever comes first. */
const SHARES: Record<CommandUse, number> = { wish: 0.1, submit: 0.25, look: 0.25, describe: 0.05 };

interface Waiter {
  use: CommandUse;
  since: number;
  admit: () => void;
  refuse: (error: Error) => void;
}

/** How often commands waited for their turn, and for how long, since the start. */
export interface WaitCounts {
  waits: number;
  seconds: number;
}

export class CommandBudget {
  readonly commandsPerMinute: number;
  readonly waitCounts: Readonly<Record<CommandUse, WaitCounts>> = {
    wish: { waits: 0, seconds: 0 }, submit: { waits: 0, seconds: 0 }, look: { waits: 0, seconds: 0 }, describe: { waits: 0, seconds: 0 },
  };
  /** Commands that were begun in the last minute, oldest first. */
  #begun: { at: number; use: CommandUse }[] = [];
  #waiting: Waiter[] = [];
  #timer: NodeJS.Timeout | null = null;
  #isSuspended = false;

  constructor(commandsPerMinute: number) {
    this.commandsPerMinute = commandsPerMinute;
  }

  /** Resolves when the command may be sent, and counts it. Rejects with NotTriedError when nobody is to wait any longer. */
  take(use: CommandUse): Promise<void> {
    const now = performance.now();
    this.#forget(now);
    // Nobody waits of whom this one would take the turn.
    if (!this.#waiting.some((waiter) => waiter.use === use) && this.#hasRoom(use)) {
      this.#begun.push({ at: now, use });
      return Promise.resolve();
    }
    if (this.#isSuspended) return Promise.reject(stopped());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ use, since: now, admit: resolve, refuse: reject });
      this.#setTimer(now);
    });
  }

  /** Whoever waits is refused, and whoever would have to from now on: the loops of the cluster are to end. */
  suspend(): void {
    this.#isSuspended = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    for (const waiter of this.#waiting.splice(0)) waiter.refuse(stopped());
  }

  resume(): void {
    this.#isSuspended = false;
  }

  #forget(now: number): void {
    this.#begun = this.#begun.filter(({ at }) => now - at < WINDOW_MS);
  }

  #hasRoom(use: CommandUse): boolean {
    const usedBy = (of: CommandUse): number => this.#begun.filter((command) => command.use === of).length;
    const keptForOthers = use === 'wish' ? 0 : COMMAND_USES.filter((other) => other !== use)
      .reduce((sum, other) => sum + Math.max(0, Math.ceil(SHARES[other] * this.commandsPerMinute) - usedBy(other)), 0);
    return this.#begun.length + keptForOthers < this.commandsPerMinute;
  }

  #setTimer(now: number): void {
    const oldest = this.#begun[0];
    if (this.#timer !== null || oldest === undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#admitWaiting();
    }, Math.max(1, Math.ceil(oldest.at + WINDOW_MS - now)));
  }

  #admitWaiting(): void {
    const now = performance.now();
    this.#forget(now);
    for (const use of COMMAND_USES) {
      for (const waiter of this.#waiting.filter((each) => each.use === use)) {
        if (!this.#hasRoom(use)) break;
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        this.#begun.push({ at: now, use });
        const counts = this.waitCounts[use];
        counts.waits += 1;
        counts.seconds += (now - waiter.since) / 1000;
        waiter.admit();
      }
    }
    if (this.#waiting.length > 0) this.#setTimer(now);
  }
}

function stopped(): NotTriedError {
  return new NotTriedError('the server is about to stop: the command was not sent');
}
