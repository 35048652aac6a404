/** Writes down how a cluster is watched and tried and why its queue waits, so that every process can show it. */
import type { Logger } from 'pino';
import type { WatchStatus } from '../cluster/watch/open-watch.ts';
import type { Database } from '../db/database.ts';
import { recordClusterBreaker, recordClusterWatch, recordQueueWaits } from '../db/write/clusters.ts';
import type { BreakerStatus } from '../domain/breaker-status.ts';
import type { ClusterSettings } from '../domain/cluster-settings.ts';
import type { QueueWait } from '../domain/queue-wait.ts';
import { loggedError } from './logged-error.ts';

export class StatusWriter {
  readonly #database: Database;
  readonly #settings: ClusterSettings;
  readonly #logger: Logger;
  /** One after the other: the last word is to stand. */
  #written = Promise.resolve();
  #waits: string | null = null;

  constructor(database: Database, settings: ClusterSettings, logger: Logger) {
    this.#database = database;
    this.#settings = settings;
    this.#logger = logger;
  }

  watch({ state, reason }: WatchStatus): Promise<void> {
    const { name, kind } = this.#settings;
    return this.#write('the state of the watch', () => recordClusterWatch(this.#database, name, kind, state, reason));
  }

  breaker(status: BreakerStatus): Promise<void> {
    const { name, kind } = this.#settings;
    return this.#write('the state of the breaker', () => recordClusterBreaker(this.#database, name, kind, status));
  }

  /** Writes only what differs from what was written last. */
  waits(waits: QueueWait[]): Promise<void> {
    const { name, kind } = this.#settings;
    const text = JSON.stringify(waits);
    if (text === this.#waits) return this.#written;
    return this.#write('why the queue waits', async () => {
      await recordQueueWaits(this.#database, name, kind, waits);
      this.#waits = text;
    });
  }

  #write(what: string, write: () => Promise<void>): Promise<void> {
    this.#written = this.#written.then(write).catch((error: unknown) => this.#logger.warn(loggedError(error), `${what} could not be written down`));
    return this.#written;
  }
}
