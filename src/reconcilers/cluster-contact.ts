/** What the last word from a cluster was: whether it can be reached, what it says about itself, and how much it takes. */
import type { Logger } from 'pino';
import type { Cluster } from '../cluster/executor.ts';
import { NotTriedError, TransportError } from '../cluster/transport.ts';
import type { Database } from '../db/database.ts';
import { recordJobsAhead } from '../db/write/attempts.ts';
import { recordClusterReport, recordClusterUnreachable } from '../db/write/clusters.ts';
import { countActiveJobs } from '../db/write/dispatch.ts';
import type { SubmitRoom } from './submit-room.ts';

/** How often accounting is asked for limits, and how soon again after a submission went over one. */
const LIMITS_PERIOD_MS = { usually: 10 * 60_000, afterRefusal: 60_000 };

export interface ContactDependencies {
  database: Database;
  cluster: Cluster;
  room: SubmitRoom;
  logger: Logger;
}

export class ClusterContact {
  readonly #dependencies: ContactDependencies;
  #isReachable = false;
  #maxArraySize: number | null = null;
  #hasAccounting: boolean | null = null;
  #limitsAskedAt = -Infinity;

  constructor(dependencies: ContactDependencies) {
    this.#dependencies = dependencies;
  }

  /** Nothing is handed over before the cluster has said how large an array may be, nor while it cannot be reached. */
  isReachable(): boolean {
    return this.#isReachable;
  }

  maxArraySize(): number | null {
    return this.#maxArraySize;
  }

  /** Whether accounting should be asked for limits before the usual time: a submission went over one. */
  wantsLimits(): boolean {
    return this.#dependencies.room.wasRefused() && Date.now() - this.#limitsAskedAt > LIMITS_PERIOD_MS.afterRefusal;
  }

  /** Asks the cluster about itself and, from time to time, for the limits of the user. Answers whether it had been out of reach. */
  async describe(): Promise<boolean> {
    const { database, cluster, room, logger } = this.#dependencies;
    const { name, kind } = cluster.settings;
    const description = await cluster.executor.describe();
    const { partitions, pendingJobCount, runningJobCount, maxArraySize, schedulerVersion, hasAccounting, jobsAhead } = description;
    await recordClusterReport(database, name, kind, { partitions, pendingJobCount, runningJobCount, maxArraySize, schedulerVersion, hasAccounting });
    await recordJobsAhead(database, name, jobsAhead);
    if (hasAccounting === false && this.#hasAccounting !== false) {
      logger.info({ cluster: name }, 'the cluster keeps no accounts of jobs: their ends are told by its queue and by what they write themselves');
    }
    this.#hasAccounting = hasAccounting;
    room.noteCluster(description, await countActiveJobs(database, name));
    if (this.wantsLimits() || Date.now() - this.#limitsAskedAt > LIMITS_PERIOD_MS.usually) await this.#askForLimits();
    const isBack = !this.#isReachable;
    this.#maxArraySize = maxArraySize;
    this.#isReachable = true;
    return isBack;
  }

  async #askForLimits(): Promise<void> {
    const { cluster, room } = this.#dependencies;
    this.#limitsAskedAt = Date.now();
    const limits = await cluster.executor.limits();
    if (limits !== null) room.noteLimits(limits);
  }

  /**
   * What could not be asked is shown as unreachable, with the words of the failure, until it answers again. Once the breaker is open that is
   * shown and logged by itself: what it keeps back, and what it tries in vain, is nothing new.
   */
  async within(run: () => Promise<void>): Promise<void> {
    const { database, cluster: { settings, breaker } } = this.#dependencies;
    try {
      await run();
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      this.#isReachable = false;
      if (error instanceof NotTriedError) return;
      await recordClusterUnreachable(database, settings.name, settings.kind, error.message);
      if (breaker.status().state === 'CLOSED') throw error;
    }
  }
}
