/**
 * Never more than so many commands of the scheduler in any minute, whatever happens: who comes when they are spent waits for a turn. Nobody
 * waits for ever, since each use keeps a share that the others cannot take; what people ask for goes first and may take all of it.
 * Looks at the jobs, which are wanted all the time, take half of the whole at the most. Half of that they get at once; the rest is spread over
 * the minute, so that no burst of looks, nor one of submissions, is paid for with a long time in which nobody looks.
 */
import { NotTriedError } from './transport.ts';

/** In the order in which they get their turn: what people asked for, submissions, looks at the jobs, descriptions of the cluster. */
export const COMMAND_USES = ['wish', 'submit', 'look', 'describe'] as const;
export type CommandUse = (typeof COMMAND_USES)[number];

const WINDOW_MS = 60_000;
/** Of the whole; what they leave over is for whoever comes first. */
const SHARES: Record<CommandUse, number> = { wish: 0.1, submit: 0.25, look: 0.25, describe: 0.05 };
/** Of the whole, also where nobody asks for anything else: it may come at any time. */
const MOST_LOOKS = 0.5;

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
    if (!this.#waiting.some((waiter) => waiter.use === use) && this.#dueAt(use, now) <= now) {
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

  /** When the next command of this use may begin unless something changes; Infinity: not before others are a minute ago. */
  #dueAt(use: CommandUse, now: number): number {
    const room = this.#roomFor(use, now);
    if (room <= 0) return Infinity;
    const begun = this.#begunOf(use);
    const last = begun.at(-1);
    if (use !== 'look' || last === undefined) return now;
    // What people wait for goes first: then looks keep to their share.
    const share = this.#waiting.some((waiter) => waiter.use === 'submit') ? SHARES.look * this.commandsPerMinute : Infinity;
    if (begun.length < Math.min(room, share / 2)) return now;
    // Until each of those that were begun is a minute ago: what there is by then is spread evenly.
    return last + Math.max(WINDOW_MS / share, ...begun.map((at, index) => (at + WINDOW_MS - last) / (room + index + 1)));
  }

  /** How many more may begin now if all of them are of this use. */
  #roomFor(use: CommandUse, now: number): number {
    const others = use === 'wish' ? [] : COMMAND_USES.filter((other) => other !== use);
    const room = others.reduce((left, other) => left - this.#keptFor(other, now), this.commandsPerMinute - this.#begun.length);
    return use === 'look' ? Math.min(room, Math.floor(MOST_LOOKS * this.commandsPerMinute) - this.#begunOf(use).length) : room;
  }

  /** How many of the next commands the others leave for this use. */
  #keptFor(use: CommandUse, now: number): number {
    const share = SHARES[use] * this.commandsPerMinute;
    const begun = this.#begunOf(use);
    const left = Math.max(0, Math.ceil(share) - begun.length);
    if (use !== 'look') return left;
    // Also after a burst of looks there is to be one whenever its share says so, though not out of the shares of others.
    const gap = WINDOW_MS / share;
    const since = Math.max(begun.at(-1) ?? now, now - gap);
    const wanted = Math.max(...begun.map((at, index) => Math.floor((at + WINDOW_MS - since) / gap) - index));
    return Math.max(left, Math.min(wanted, this.#roomFor(use, now)));
  }

  /** When those of the last minute were begun, oldest first. */
  #begunOf(use: CommandUse): number[] {
    return this.#begun.filter((command) => command.use === use).map(({ at }) => at);
  }

  #setTimer(now: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    const changesAt = (this.#begun[0]?.at ?? now) + WINDOW_MS;
    const waiting = COMMAND_USES.filter((use) => this.#waiting.some((waiter) => waiter.use === use));
    const dueAt = Math.min(changesAt, ...waiting.map((use) => this.#dueAt(use, now)));
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#admitWaiting();
    }, Math.max(1, Math.ceil(dueAt - now)));
  }

  #admitWaiting(): void {
    const now = performance.now();
    this.#forget(now);
    for (const use of COMMAND_USES) {
      for (const waiter of this.#waiting.filter((each) => each.use === use)) {
        if (this.#dueAt(use, now) > now) break;
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
