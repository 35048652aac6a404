/**
 * The feed: the log as it grows. One connection LISTENs; whatever wakes it, it reads the rows after the last one it saw,
 * so a notification that is lost delays an event but never loses it. A subscriber passes through three phases:
 *
 *   backfill  pages of the log after its cursor, without what an index can leave out, read when it asks for more
 *   cut-over  the moment its cursor has caught up with what the feed has read; checked and done in one go
 *   live      events as the feed reads them, queued up to a bound
 */
import type pg from 'pg';
import type { LoggedEvent } from '../domain/events.ts';
import { UserError } from '../domain/errors.ts';
import type { Connection } from './connect.ts';
import type { Database } from './database.ts';
import { asDatabaseError } from './errors.ts';
import { Subscriber, type SubscribeOptions } from './feed-subscriber.ts';
import type { DatabaseLog } from './log.ts';
import { readEventsAfter, readNewestSeq } from './read/events.ts';
import { EVENTS_CHANNEL } from './write/events.ts';

/** Events read in one statement. */
const PAGE_SIZE = 1_000;
/** In case a notification was lost without the connection noticing. */
const SAFETY_POLL_MS = 5_000;
const RECONNECT_MS_MIN = 100;
/** A server that is back is listened to again this soon. */
const RECONNECT_MS_MAX = 2_000;

export type EventsListener = (events: LoggedEvent[]) => void;

/** Events as they come. */
export interface EventSubscription extends AsyncIterableIterator<LoggedEvent> {
  /** Those that were not taken yet, in order, as far as they are known: they have happened. */
  waiting(): readonly LoggedEvent[];
}

export interface Feed {
  /**
   * Events that pass the filter, each once and in order: those after `after`, or from now on when it is absent.
   * Throws (or rejects its first `next`) with UserError BAD_USER_INPUT when `after` is no cursor or lies in the future,
   * and ends with LIMIT_EXCEEDED, naming the cursor to go on from, when the consumer is too slow.
   */
  subscribe(options: SubscribeOptions): EventSubscription;
  /** Calls the listener with every batch of new events. Answers how to stop that. */
  onEvents(listener: EventsListener): () => void;
  /** Ends every subscription and gives the connection back. */
  close(): Promise<void>;
}

/** Starts listening. Throws when the database cannot be reached now; later losses are mended in the background. */
export async function openFeed(connection: Pick<Connection, 'database' | 'pool'>, log: DatabaseLog): Promise<Feed> {
  const feed = new ListeningFeed(connection, log);
  await feed.start();
  return feed;
}

/** The innermost message: an outer one would hold the SQL. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? reasonOf(error.cause) : error.message;
}

class ListeningFeed implements Feed {
  readonly #database: Database;
  readonly #pool: pg.Pool;
  readonly #log: DatabaseLog;
  readonly #subscribers = new Set<Subscriber>();
  readonly #listeners = new Set<EventsListener>();
  /** Everything up to here has been given to live subscribers and listeners. */
  #seq = 0;
  #client: pg.PoolClient | null = null;
  #reading: Promise<void> | null = null;
  #readAgain = false;
  #closed = false;
  #reconnectTimer: NodeJS.Timeout | undefined;
  #pollTimer: NodeJS.Timeout | undefined;

  constructor(connection: Pick<Connection, 'database' | 'pool'>, log: DatabaseLog) {
    this.#database = connection.database;
    this.#pool = connection.pool;
    this.#log = log;
  }

  async start(): Promise<void> {
    await this.#listen();
    this.#seq = await readNewestSeq(this.#database);
    this.#pollTimer = setInterval(() => this.#read(), SAFETY_POLL_MS).unref();
  }

  subscribe(options: SubscribeOptions): EventSubscription {
    const subscriber: Subscriber = new Subscriber(options, {
      position: () => this.#seq,
      page: (after) => readEventsAfter(this.#database, after, PAGE_SIZE, options.condition).catch(this.#rethrow),
      pageSize: PAGE_SIZE,
      refuseFuture: (after) => this.#refuseFuture(after).catch(this.#rethrow),
      left: () => this.#subscribers.delete(subscriber),
    });
    if (this.#closed) subscriber.end();
    else this.#subscribers.add(subscriber);
    return subscriber;
  }

  onEvents(listener: EventsListener): () => void {
    this.#listeners.add(listener);
    return () => { this.#listeners.delete(listener); };
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#pollTimer);
    clearTimeout(this.#reconnectTimer);
    for (const subscriber of this.#subscribers) subscriber.end();
    this.#client?.release(true);
    this.#client = null;
    await this.#reading;
  }

  #rethrow = (error: unknown): never => {
    throw asDatabaseError(error) ?? error;
  };

  async #refuseFuture(after: number): Promise<void> {
    if (after <= this.#seq) return;
    const newest = await readNewestSeq(this.#database);
    if (after > newest) {
      throw UserError.of('BAD_USER_INPUT', `the cursor ${after} has not been given out yet; the newest is ${newest}`, ['after']);
    }
  }

  async #listen(): Promise<void> {
    const client = await this.#pool.connect();
    // A lost connection announces itself by either event, or both.
    const lost = (error?: Error): void => this.#reconnect(client, error?.message ?? 'the server closed the connection');
    client.on('error', lost);
    client.on('end', lost);
    client.on('notification', (message) => {
      if (Number(message.payload) > this.#seq) this.#read();
    });
    try {
      await client.query(`listen ${EVENTS_CHANNEL}`);
    } catch (error) {
      client.release(true);
      throw error;
    }
    if (this.#closed) return client.release(true);
    this.#client = client;
  }

  #reconnect(client: pg.PoolClient, reason: string): void {
    if (this.#client !== client || this.#closed) return;
    this.#client = null;
    client.release(true);
    this.#log.warn({ reason }, 'the connection that listens for events was lost');
    this.#retryListen(RECONNECT_MS_MIN);
  }

  #retryListen(delayMs: number): void {
    if (this.#closed) return;
    const jitter = delayMs * (0.5 + Math.random() / 2);
    this.#reconnectTimer = setTimeout(() => void this.#listenAgain(delayMs), jitter).unref();
  }

  async #listenAgain(delayMs: number): Promise<void> {
    try {
      await this.#listen();
    } catch (error) {
      this.#log.warn({ reason: reasonOf(error) }, 'cannot listen for events yet');
      return this.#retryListen(Math.min(delayMs * 2, RECONNECT_MS_MAX));
    }
    this.#log.info({}, 'listening for events again');
    this.#read();
  }

  /** Reads to the end of the log, one reader at a time; a call while one runs makes it look once more. */
  #read(): void {
    if (this.#closed) return;
    if (this.#reading !== null) {
      this.#readAgain = true;
      return;
    }
    this.#reading = this.#readToEnd().catch((error: unknown) => {
      this.#log.warn({ reason: reasonOf(error) }, 'cannot read events');
    }).finally(() => { this.#reading = null; });
  }

  async #readToEnd(): Promise<void> {
    for (;;) {
      this.#readAgain = false;
      const page = await readEventsAfter(this.#database, this.#seq, PAGE_SIZE);
      if (this.#closed) return;
      if (page.length > 0) this.#deliver(page);
      if (page.length < PAGE_SIZE && !this.#readAgain) return;
    }
  }

  /** Without an await: a subscriber that cuts over sees either none of the page or all of it behind it. */
  #deliver(page: LoggedEvent[]): void {
    this.#seq = page.at(-1)?.seq ?? this.#seq;
    for (const subscriber of this.#subscribers) subscriber.offer(page);
    for (const listener of this.#listeners) {
      try {
        listener(page);
      } catch (error) {
        this.#log.error({ reason: reasonOf(error) }, 'a listener for events failed');
      }
    }
  }
}
