/**
 * Looks again at the checkpoints of jobs that have ended: no job writes them any more, but people remove and unpack them. A tour over all such
 * jobs, some at a time, by listings of their directories; SLURM is not asked.
 */
import type { Cluster } from '../cluster/executor.ts';
import type { Database } from '../db/database.ts';
import { readDatabaseTime } from '../db/read/database-time.ts';
import { readEndedJobs, type EndedJob } from '../db/read/ended-jobs.ts';
import { readHarvestState } from '../db/read/harvest-state.ts';
import { transact } from '../db/transaction.ts';
import { lockJobsUnlessActive } from '../db/write/checkpoint-requests.ts';
import { upsertCheckpoints } from '../db/write/checkpoints.ts';
import { appendEvents } from '../db/write/events.ts';
import { LIST_DEPTH, LIST_MAX_ENTRIES } from './harvest.ts';
import { checkpointChanges, lookForCheckpoints } from './harvest-checkpoints.ts';
import { listJobs } from './harvest-list.ts';

/** Jobs that are looked at in one step. */
const STEP_JOBS = 100;
const STEP_MS = 60_000;
/** Between the beginnings of two tours: no job is looked at more often. */
const TOUR_MS = 3_600_000;

export interface EndedCheckpointsDependencies {
  database: Database;
  cluster: Cluster;
  now: () => Date;
}

export class EndedCheckpoints {
  readonly #dependencies: EndedCheckpointsDependencies;
  #afterId: string | null = null;
  #tourBeganAt: number;

  constructor(dependencies: EndedCheckpointsDependencies) {
    this.#dependencies = dependencies;
    // The first tour is a step after the start, when there is more to do.
    this.#tourBeganAt = dependencies.now().getTime() - TOUR_MS + STEP_MS;
  }

  /** Milliseconds until the next step is due. */
  untilNextMs(): number {
    return this.#afterId !== null ? STEP_MS : Math.max(STEP_MS, this.#tourBeganAt + TOUR_MS - this.#dependencies.now().getTime());
  }

  /** One step; the first of a tour where that is due. */
  async run(): Promise<void> {
    const { database, cluster: { settings, breaker }, now } = this.#dependencies;
    // Others find out whether the cluster answers again.
    if (breaker.status().state !== 'CLOSED') return;
    if (this.#afterId === null) {
      if (now().getTime() < this.#tourBeganAt + TOUR_MS) return;
      this.#tourBeganAt = now().getTime();
    }
    const jobs = await readEndedJobs(database, settings.name, { afterId: this.#afterId, limit: STEP_JOBS });
    // First, so that a look which fails keeps nobody from the jobs after these.
    this.#afterId = jobs.length < STEP_JOBS ? null : jobs.at(-1)?.jobId ?? null;
    if (jobs.length > 0) await this.#look(jobs);
  }

  async #look(jobs: EndedJob[]): Promise<void> {
    const { database, cluster: { transport, settings }, now } = this.#dependencies;
    // Before the look: what changes while it is taken is then known to be newer than it.
    const lookedAt = await readDatabaseTime(database);
    const state = await readHarvestState(database, jobs.map(({ jobId }) => jobId));
    const { entries, leftOut, unreadable } = await listJobs(transport, { jobs: jobs.map(({ jobDirectory }) => jobDirectory), others: [] }, { maxDepth: LIST_DEPTH, maxEntries: LIST_MAX_ENTRIES });
    const isEmpty = jobs.some(({ jobDirectory }) => (entries.get(jobDirectory)?.length ?? 0) === 0);
    // A file system that is not mounted holds nothing, and nothing of it is gone.
    if (isEmpty && (await transport.list({ directories: [settings.rootDirectory], maxDepth: 1, maxEntries: 1 })).entries.length === 0) return;
    const found = await lookForCheckpoints(transport, jobs.map(({ jobId, jobDirectory }) => ({
      jobId, jobDirectory, entries: entries.get(jobDirectory) ?? [], known: state.checkpoints.get(jobId) ?? [], mayHaveArchives: state.mayHaveArchives, logged: [],
    })), now());
    const changed = jobs.flatMap((job) => {
      const attemptOf = new Map((state.checkpoints.get(job.jobId) ?? []).map(({ path, attemptNumber }) => [path, attemptNumber]));
      return checkpointChanges(found.get(job.jobId)!, { jobDirectory: job.jobDirectory, now: now(), jobEnded: true, truncated: leftOut.has(job.jobDirectory) || unreadable.has(job.jobDirectory) })
        .map(({ relativePath: _, ...change }) => ({ job, record: { ...change, lookedAt, jobId: job.jobId, attemptNumber: attemptOf.get(change.path) ?? job.attemptNumber } }));
    });
    if (changed.length > 0) await this.#commit(changed);
  }

  async #commit(changed: { job: EndedJob; record: Parameters<typeof upsertCheckpoints>[1][number] }[]): Promise<void> {
    await transact(this.#dependencies.database, async (transaction) => {
      // What was queued again meanwhile is looked at by others.
      const active = await lockJobsUnlessActive(transaction, [...new Set(changed.map(({ job }) => job.jobId))]);
      const still = changed.filter(({ job }) => !active.has(job.jobId));
      const ids = await upsertCheckpoints(transaction, still.map(({ record }) => record));
      await appendEvents(transaction, still.flatMap(({ job: { experimentId, sweepId, jobId }, record: { attemptNumber, path, state } }, index) => {
        const checkpointId = ids[index] ?? null;
        return checkpointId === null ? [] : [{ kind: 'CHECKPOINT_CHANGED' as const, experimentId, sweepId, jobId, attemptNumber, payload: { checkpointId, path, state } }];
      }));
    });
  }
}
