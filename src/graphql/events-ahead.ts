/**
 * What the events of a subscription refer to, read for many of them at once. They are resolved one after the other, so that in a burst each
 * would else wait for statements of its own behind all those before it.
 */
import type DataLoader from 'dataloader';
import type { EventSubscription } from '../db/feed.ts';
import type { LoggedEvent } from '../domain/events.ts';
import type { Loaders } from './loaders.ts';

/** Events whose rows are read together; and a consumer that is slow to take them is shown no older rows than this. */
const STRETCH = { events: 100, milliseconds: 1_000 };

export class EventsAhead {
  #source: Pick<EventSubscription, 'waiting'> | null = null;
  #loaders: Loaders | null = null;
  /** Those that had happened when the rows were read; in order. */
  #events: LoggedEvent[] = [];
  #readAt = -Infinity;
  /** Of which all rows of the stretch were asked for. */
  #asked = new Set<unknown>();

  /** Looks from now on at what waits there. */
  follow<Source extends EventSubscription>(source: Source): Source {
    this.#source = source;
    return source;
  }

  /**
   * The event is next.
   * @param fresh loaders that have read nothing yet
   */
  begin(event: LoggedEvent, fresh: Loaders): void {
    const isRead = event.seq <= (this.#events.at(-1)?.seq ?? -1) && performance.now() - this.#readAt < STRETCH.milliseconds;
    if (!isRead) this.#read(fresh, [event, ...this.#source?.waiting().slice(0, STRETCH.events - 1) ?? []]);
  }

  /** The row that the event, which was begun, refers to: as it was when the event happened, or later. Null when it refers to none. */
  row<Key, Row>(event: LoggedEvent, loaderOf: (loaders: Loaders) => DataLoader<Key, Row, string>, keyOf: (event: LoggedEvent) => Key | null): Promise<Row> | null {
    if (this.#loaders === null) throw new Error('rows are read for events that were begun');
    const loader = loaderOf(this.#loaders);
    const key = keyOf(event);
    if (!this.#asked.has(loader)) {
      this.#asked.add(loader);
      const keys = this.#events.map(keyOf).filter((each) => each !== null);
      // Who asks for a row is told that it could not be read; the event after that reads anew.
      for (const each of keys) loader.load(each).catch(() => { this.#events = []; });
    }
    return key === null ? null : loader.load(key);
  }

  #read(loaders: Loaders, events: LoggedEvent[]): void {
    this.#loaders = loaders;
    this.#events = events;
    this.#asked = new Set();
    this.#readAt = performance.now();
  }
}
