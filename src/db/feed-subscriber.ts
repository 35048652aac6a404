/** One subscriber of the feed; see feed.ts for the phases. */
import type { EventCondition, LoggedEvent } from '../domain/events.ts';
import { UserError } from '../domain/errors.ts';

/** Live events queued for a consumer that does not take them: above the events of the largest sweep, a few megabytes. */
const MAX_BACKLOG_DEFAULT = 25_000;

export interface SubscribeOptions {
  /** Cursor of the last event already known; absent: only what happens from now on. */
  after?: number;
  filter: (event: LoggedEvent) => boolean;
  /** What every event that passes the filter meets: others are not read from the log. */
  condition?: EventCondition;
  /** Most live events waiting for the consumer before the subscription is ended. */
  maxBacklog?: number;
}

/** What a subscriber needs of the feed. */
export interface FeedSource {
  /** Sequence number up to which live events have been offered. */
  position(): number;
  /** The log after a cursor, a page of what meets the condition. */
  page(after: number): Promise<LoggedEvent[]>;
  /** A page with fewer events is the last. */
  pageSize: number;
  /** Rejects when the cursor has not been given out yet. */
  refuseFuture(after: number): Promise<void>;
  /** The subscriber takes no more. */
  left(): void;
}

export class Subscriber implements AsyncIterableIterator<LoggedEvent> {
  readonly #source: FeedSource;
  readonly #filter: (event: LoggedEvent) => boolean;
  readonly #maxBacklog: number;
  #phase: 'unchecked' | 'backfill' | 'live' | 'ended' = 'live';
  /** The last event that was looked at, whether it passed the filter or not. */
  #cursor: number;
  #queue: LoggedEvent[] = [];
  #failure: unknown = null;
  /** Ends the wait of the `next` in progress. */
  #wake: () => void = () => undefined;
  /** Calls of `next` take turns. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: SubscribeOptions, source: FeedSource) {
    this.#source = source;
    this.#filter = options.filter;
    this.#maxBacklog = options.maxBacklog ?? MAX_BACKLOG_DEFAULT;
    this.#cursor = options.after ?? source.position();
    if (options.after === undefined) return;
    if (!Number.isSafeInteger(options.after) || options.after < 0) {
      throw UserError.of('BAD_USER_INPUT', `${options.after} is not a cursor; use one that an event carried, or 0 for the beginning`, ['after']);
    }
    this.#phase = 'unchecked';
  }

  waiting(): readonly LoggedEvent[] {
    return this.#queue;
  }

  /** Called by the feed with each new page of the log. */
  offer(page: LoggedEvent[]): void {
    if (this.#phase !== 'live') return;
    for (const event of page) {
      // A backfill page may have been ahead of the feed.
      if (event.seq > this.#cursor && this.#filter(event)) this.#queue.push(event);
    }
    const last = page.at(-1)?.seq ?? 0;
    if (this.#queue.length > this.#maxBacklog) this.#failTooSlow();
    else this.#cursor = Math.max(this.#cursor, last);
    this.#wake();
  }

  /** Ends the iteration, at once even for a consumer that is waiting. */
  end(): void {
    if (this.#phase === 'ended') return;
    this.#phase = 'ended';
    this.#queue = [];
    this.#source.left();
    this.#wake();
  }

  next(): Promise<IteratorResult<LoggedEvent>> {
    const taken = this.#turn.then(() => this.#take());
    this.#turn = taken.catch(() => undefined);
    return taken;
  }

  return(): Promise<IteratorResult<LoggedEvent>> {
    this.#failure = null;
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  throw(error: unknown): Promise<IteratorResult<LoggedEvent>> {
    this.#failure = null;
    this.end();
    return Promise.reject(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async #take(): Promise<IteratorResult<LoggedEvent>> {
    for (;;) {
      if (this.#failure !== null) this.#throwFailure();
      if (this.#phase === 'ended') return { done: true, value: undefined };
      const event = this.#queue.shift();
      if (event !== undefined) return { done: false, value: event };
      await this.#waitForMore();
    }
  }

  #throwFailure(): never {
    const failure = this.#failure;
    this.#failure = null;
    this.end();
    throw failure;
  }

  async #waitForMore(): Promise<void> {
    const woken = new Promise<void>((resolve) => { this.#wake = resolve; });
    if (this.#phase === 'live') return woken;
    await Promise.race([this.#catchUp().catch((error: unknown) => { this.#failure = error; }), woken]);
  }

  async #catchUp(): Promise<void> {
    if (this.#phase === 'unchecked') {
      await this.#source.refuseFuture(this.#cursor);
      if (this.#phase === 'unchecked') this.#phase = 'backfill';
    }
    // All that the feed has read by now is there to be read.
    const position = this.#source.position();
    const page = await this.#source.page(this.#cursor);
    if (this.#phase !== 'backfill') return;
    this.#queue = page.filter(this.#filter);
    const isLast = page.length < this.#source.pageSize;
    this.#cursor = Math.max(this.#cursor, page.at(-1)?.seq ?? 0, isLast ? position : 0);
    // No await between the comparison and the change of phase, so no page can be offered in between.
    if (this.#cursor >= this.#source.position()) this.#phase = 'live';
  }

  #failTooSlow(): void {
    const waiting = this.#queue[0];
    const last = waiting === undefined ? this.#cursor : waiting.seq - 1;
    this.#failure = UserError.of('LIMIT_EXCEEDED', `more than ${this.#maxBacklog} events were waiting to be taken; subscribe again with after: "${last}"`, ['after']);
    this.#queue = [];
    this.#phase = 'ended';
    this.#source.left();
  }
}
