/**
 * Keeps the table of orphans in step with what each look at a cluster shows, and carries out what people wish about them. Nothing is
 * cancelled, adopted or given up that nobody asked for. Without orphans this costs one statement when it starts, and one for each
 * unknown token; it writes only what has changed.
 */
import type { Logger } from 'pino';
import type { Cluster, Stranger } from '../cluster/executor.ts';
import { NotTriedError, TransportError } from '../cluster/transport.ts';
import type { Database } from '../db/database.ts';
import { readKnownTokens, readOrphansOfCluster, readWishedOrphans, type OrphanRow } from '../db/read/orphans.ts';
import { transact } from '../db/transaction.ts';
import { applyAttemptChanges } from '../db/write/attempts.ts';
import { appendEvents } from '../db/write/events.ts';
import { deleteOrphans, endOrphanWish, storeOrphanOrigin, storeOrphans, type SeenOrphan } from '../db/write/orphans.ts';
import { MISSING_AFTER_SECONDS } from '../domain/orphan.ts';
import { adoptOrphan, readOrigin } from './adopt.ts';
import type { AbsentAttempt, Observed } from './observe.ts';
import { missingOrphan, unknownOrphans } from './orphan-sightings.ts';

/** Scripts read at a time, and how often: each takes a command on the login node, and another server's jobs may be many. */
const ORIGINS_AT_A_TIME = 3;
const ORIGINS_EVERY_MS = 10_000;
/** A cancel that has shown no effect is sent again after this. */
const CANCEL_AGAIN_AFTER_MS = 30_000;

export interface OrphanDependencies {
  database: Database;
  cluster: Cluster;
  logger: Logger;
  now: () => Date;
}

type Seen = Pick<Observed, 'strangers' | 'absent'>;

export class OrphanKeeper {
  readonly #dependencies: OrphanDependencies;
  /** What the database has, by kind and key; null before it was read. */
  #recorded: Map<string, OrphanRow> | null = null;
  #fresh: Seen | null = null;
  #strangers: Stranger[] = [];
  #absent: AbsentAttempt[] = [];
  /** Tokens in the queue that the database knows: what is odd about those is for the rounds to settle. */
  #knownTokens = new Set<string>();
  readonly #cancelledAt = new Map<string, number>();
  #nextOriginsAt = -Infinity;

  constructor(dependencies: OrphanDependencies) {
    this.#dependencies = dependencies;
  }

  /** Takes in what a look at the cluster showed. Answers whether there is something to do about it. */
  note({ strangers, absent }: Seen): boolean {
    this.#fresh = { strangers: strangers ?? this.#fresh?.strangers ?? null, absent: absent ?? this.#fresh?.absent ?? null };
    return this.#recorded === null || this.#recorded.size > 0 || (strangers?.length ?? 0) > 0 || (absent?.length ?? 0) > 0;
  }

  hasOrphans(): boolean {
    return this.#recorded !== null && this.#recorded.size > 0;
  }

  /** Answers whether anything was adopted, which the rounds are then to follow. */
  async run(): Promise<boolean> {
    const { database, cluster } = this.#dependencies;
    this.#recorded ??= new Map((await readOrphansOfCluster(database, cluster.settings.name)).map((row) => [keyOf(row), row]));
    this.#strangers = this.#fresh?.strangers ?? this.#strangers;
    this.#absent = this.#fresh?.absent ?? this.#absent;
    // Wishes first: a job that has ended since it was to be adopted is no orphan any more, but its script is still to be had.
    const hasAdopted = this.#recorded.size > 0 && await this.#carryOutWishes(this.#recorded);
    if (this.#fresh !== null) await this.#record(this.#recorded, this.#fresh);
    await this.#readOrigins(this.#recorded);
    return hasAdopted;
  }

  async #record(recorded: Map<string, OrphanRow>, fresh: Seen): Promise<void> {
    const { database, cluster, logger, now } = this.#dependencies;
    const wanted: SeenOrphan[] = [];
    if (fresh.strangers !== null) wanted.push(...unknownOrphans(await this.#unknown(fresh.strangers), now()));
    if (fresh.absent !== null) wanted.push(...this.#missing(recorded, fresh.absent));
    const changed = wanted.filter((orphan) => !isSame(recorded.get(keyOf(orphan)), orphan));
    const present = new Set(wanted.map(keyOf));
    const gone = [...recorded].filter(([key, { kind }]) => !present.has(key) && (kind === 'UNKNOWN_JOB' ? fresh.strangers : fresh.absent) !== null);
    const rows = changed.length + gone.length === 0 ? [] : await transact(database, async (transaction) => {
      await deleteOrphans(transaction, gone.map(([, { id }]) => id));
      return storeOrphans(transaction, cluster.settings.name, changed);
    });
    const found = rows.filter((row) => !recorded.has(keyOf(row)));
    if (found.length > 0) logger.warn({ orphans: found.slice(0, 20).map(({ kind, token, slurmJobId }) => ({ kind, batch: token, slurmJobId })), count: found.length }, 'orphans found');
    if (gone.length > 0) logger.info({ count: gone.length }, 'orphans gone');
    for (const row of rows) recorded.set(keyOf(row), row);
    for (const [key] of gone) recorded.delete(key);
    // Only once it is written down; what was seen meanwhile waits for the next run.
    if (this.#fresh === fresh) this.#fresh = null;
  }

  async #unknown(strangers: Stranger[]): Promise<Stranger[]> {
    const tokens = [...new Set(strangers.map(({ token }) => token))];
    const recorded = new Set([...this.#recorded?.values() ?? []].map(({ token }) => token));
    const unasked = tokens.filter((token) => !this.#knownTokens.has(token) && !recorded.has(token));
    const found = unasked.length === 0 ? [] : await readKnownTokens(this.#dependencies.database, unasked);
    this.#knownTokens = new Set([...tokens.filter((token) => this.#knownTokens.has(token)), ...found]);
    return strangers.filter(({ token }) => !this.#knownTokens.has(token));
  }

  #missing(recorded: Map<string, OrphanRow>, absent: AbsentAttempt[]): SeenOrphan[] {
    const time = this.#dependencies.now().getTime();
    return absent.flatMap((each) => {
      const orphan = missingOrphan(each);
      const isShown = recorded.has(keyOf(orphan)) || time - each.since >= MISSING_AFTER_SECONDS * 1000;
      return isShown ? [orphan] : [];
    });
  }

  async #readOrigins(recorded: Map<string, OrphanRow>): Promise<void> {
    const { database, cluster, now } = this.#dependencies;
    const time = now().getTime();
    if (time < this.#nextOriginsAt) return;
    const unread = [...recorded.values()].filter(({ kind, project, originProblem }) => kind === 'UNKNOWN_JOB' && project === null && originProblem === null);
    if (unread.length > 0) this.#nextOriginsAt = time + ORIGINS_EVERY_MS;
    for (const row of unread.slice(0, ORIGINS_AT_A_TIME)) {
      const read = await readOrigin(cluster, row.slurmJobId ?? '');
      const origin = 'problem' in read ? { originProblem: read.problem } : { project: read.manifest.project, experiment: read.manifest.experiment };
      await storeOrphanOrigin(database, row.id, origin);
      recorded.set(keyOf(row), { ...row, ...origin });
    }
  }

  async #carryOutWishes(recorded: Map<string, OrphanRow>): Promise<boolean> {
    const { database, cluster } = this.#dependencies;
    let hasAdopted = false;
    for (const row of await readWishedOrphans(database, cluster.settings.name)) {
      switch (row.wish) {
        case 'ADOPT': hasAdopted = await this.#adopt(recorded, row) || hasAdopted; break;
        case 'CANCEL': await this.#cancel(row); break;
        case 'MARK_LOST': await this.#markLost(row); break;
        case null: break;
      }
    }
    return hasAdopted;
  }

  async #adopt(recorded: Map<string, OrphanRow>, row: OrphanRow): Promise<boolean> {
    const { database, logger } = this.#dependencies;
    const problem = await adoptOrphan(this.#dependencies, row);
    const about = { batch: row.token, slurmJobId: row.slurmJobId, by: row.wishedBy };
    if (problem !== null) {
      logger.warn({ ...about, problem }, 'orphan not adopted');
      await endOrphanWish(database, row, problem);
      return false;
    }
    logger.info(about, 'orphan adopted');
    recorded.delete(keyOf(row));
    this.#knownTokens.add(row.token);
    return true;
  }

  /** Only what the last look still showed under the same token: SLURM gives ids out again. */
  async #cancel(row: OrphanRow): Promise<void> {
    const { cluster, logger, now } = this.#dependencies;
    const time = now().getTime();
    for (const [id, at] of this.#cancelledAt) if (time - at > CANCEL_AGAIN_AFTER_MS) this.#cancelledAt.delete(id);
    const isThere = this.#strangers.some(({ token, slurmJobId }) => token === row.token && slurmJobId === row.slurmJobId);
    if (!isThere || row.slurmJobId === null || this.#cancelledAt.has(row.id)) return;
    const about = { batch: row.token, slurmJobId: row.slurmJobId, by: row.wishedBy };
    try {
      await cluster.executor.cancel([row.slurmJobId]);
      logger.info(about, 'orphan cancelled');
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      if (error instanceof NotTriedError) return;
      logger.warn({ ...about, reason: error.message }, 'orphan not cancelled');
    }
    this.#cancelledAt.set(row.id, time);
  }

  async #markLost(row: OrphanRow): Promise<void> {
    const { database } = this.#dependencies;
    const missing = this.#absent.find((each) => keyOf(missingOrphan(each)) === keyOf(row))?.row;
    if (missing === undefined) return;
    const reason = `marked as lost by ${row.wishedBy}: neither the queue, nor accounting, nor an exit record knows of it`;
    const { slurmJobId, nodeList, startedAt } = missing;
    const change = {
      state: 'LOST' as const, reason, slurmJobId, nodeList, startedAt, exitCode: null, signal: null, estimatedStartAt: null, finishedAt: null, elapsedSeconds: null, maxRssBytes: null,
    };
    await transact(database, async (transaction) => appendEvents(transaction, await applyAttemptChanges(transaction, [{ ...missing, from: missing.state, change }])));
    await endOrphanWish(database, row, null);
  }
}

function keyOf({ kind, key }: Pick<SeenOrphan, 'kind' | 'key'>): string {
  return `${kind} ${key}`;
}

function isSame(recorded: OrphanRow | undefined, seen: SeenOrphan): boolean {
  return recorded !== undefined && recorded.token === seen.token && recorded.state === seen.state && recorded.taskCount === seen.taskCount && recorded.nodeList === seen.nodeList;
}
