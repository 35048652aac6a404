/**
 * What to do about the jobs that a cluster has, and when. While changes are pushed, the files of a changed job are read at once, and the
 * scheduler is asked seldom: as a backstop, and when only it can tell how a job ended. Without the push everything is polled, fast
 * while things change and slower when idle. Two lanes, so that no push waits for the scheduler's answer: `push` and `run`. Whoever runs a
 * lane must not run it twice at once.
 */
import type { Logger } from 'pino';
import type { Cluster } from '../cluster/executor.ts';
import type { Transport } from '../cluster/transport.ts';
import type { JobChange, Watch } from '../cluster/watch/open-watch.ts';
import type { ChangeKind } from '../cluster/watch/program.ts';
import type { Database } from '../db/database.ts';
import { readTrackedAttempts, type TrackedAttemptRow } from '../db/read/tracked-attempts.ts';
import { LookPace } from './look-pace.ts';
import { newRoundMemory, observeCluster, type HarvestScope, type Observed, type QueueListener } from './observe.ts';
import { observeChanged } from './observe-changed.ts';
import { Turns } from './turns.ts';
import { inWatchOrder } from './watch-order.ts';
import { carryOutWishes } from './wishes.ts';

/** By how much the time between two polls grows while nothing changes. */
const IDLE_GROWTH = 1.5;
/** How often SLURM is asked at the most while changes are pushed and nothing calls for it; `pollSeconds.max` where that is longer. */
const LIVE_LOOK_PERIOD_MS = 30_000;
/**
 * While changes are pushed, the files of all jobs are looked at in this time, a few at a time so that few changes wait for it: logs are not
 * pushed, and a hint may be missed.
 */
const TOUR_MS = 60_000;
const TOUR_STEP_MS = 2_000;
const TOUR_STEP_JOBS = 20;
/** From an exit record, written just before a job ends, or from a command of ours until SLURM can tell what came of it. */
const EFFECT_MS = 1_000;
/** How soon SLURM is asked again about jobs of whose end it has not told yet, as far as its pace allows. */
const ASK_AGAIN_MS = 3_000;
/** Between two rounds over changed files; longer when a round takes long, so that they take four fifths of the time at the most. */
const PUSH_GAP_MS = 25;
const PUSH_GAP_SHARE = 0.25;
/** How long a lane that has nothing to do sleeps unless it is woken. */
const IDLE_MS = 60_000;

export interface RoundsDependencies {
  database: Database;
  cluster: Cluster;
  /** Null: everything is polled. */
  watch: Watch | null;
  /** Tokens of submissions whose answer this process is waiting for. */
  inFlight: ReadonlySet<string>;
  /** Told of all jobs of the user whenever the queue was looked at, and of the tokens under which attempts are tracked. */
  onQueue: QueueListener;
  logger: Logger;
  now: () => Date;
  /** Told what each look at the cluster showed. */
  onLook: (observed: Observed) => void;
}

export class ClusterRounds {
  readonly #dependencies: RoundsDependencies;
  readonly #memory = newRoundMemory();
  readonly #pace = new LookPace();
  readonly #cancelledAt = new Map<string, number>();
  readonly #turns = new Turns();
  #jobIdOf = new Map<string, string>();
  #changes = new Map<string, Set<ChangeKind>>();
  /** Jobs of whose end SLURM is to tell. */
  readonly #ending = new Set<string>();
  #pollSeconds: number;
  #isRefreshDue = true;
  /** Tokens of submissions without an answer that the last look looked for. */
  #sought: ReadonlySet<string> = new Set();
  /** Of whom something may be wished that the cluster has not been told. */
  #wishing: TrackedAttemptRow[] | null = null;
  #lookWantedAt: number | null = null;
  #lastLookAt = -Infinity;
  #nextPushAt = 0;
  /** Jobs whose files are still to be looked at in the present tour. */
  #tour: string[] = [];
  #tourStepJobs = TOUR_STEP_JOBS;
  #nextTourAt = 0;
  #nextStepAt = 0;

  constructor(dependencies: RoundsDependencies) {
    this.#dependencies = dependencies;
    this.#pollSeconds = dependencies.cluster.settings.pollSecondsMin;
  }

  /** Takes in what the watch told, for the next round. */
  noteChanges(changes: readonly JobChange[]): void {
    for (const { jobDirectory, what } of changes) {
      const jobId = this.#jobIdOf.get(jobDirectory);
      if (jobId !== undefined) this.#noteChange(jobId, what);
    }
  }

  #noteChange(jobId: string, what: Iterable<ChangeKind>): void {
    this.#changes.set(jobId, new Set([...this.#changes.get(jobId) ?? [], ...what]));
  }

  /** Jobs were handed over, something is wished of some, or the watch came or went: the next round begins with a look at the database. */
  prompt(): void {
    this.#pollSeconds = this.#dependencies.cluster.settings.pollSecondsMin;
    this.#isRefreshDue = true;
    if (!this.#isLive()) this.#lastLookAt = -Infinity;
  }

  /** Milliseconds until there is something to push. */
  untilPushMs(): number {
    if (!this.#isLive()) return IDLE_MS;
    if (this.#isRefreshDue) return 0;
    return this.#changes.size === 0 ? IDLE_MS : Math.max(0, this.#nextPushAt - Date.now());
  }

  /** Milliseconds until the scheduler or the files of all jobs are to be looked at, or somebody's wish is to be carried out. */
  untilNextMs(): number {
    const stepAt = !this.#isLive() ? Infinity : this.#tour.length > 0 ? this.#nextStepAt : this.#nextTourAt;
    return this.#wishing !== null ? 0 : Math.max(0, Math.min(stepAt, this.#lookDueAt(), Date.now() + IDLE_MS) - Date.now());
  }

  /** Looks at what the watch said has changed. Answers whether there was any: the other lane may then have something to do sooner. */
  async push(): Promise<boolean> {
    const isRefreshDue = this.#isRefreshDue && this.#isLive();
    if (isRefreshDue) {
      this.#wishing = await this.#refresh();
      if (this.#isAnyUnsought(this.#unanswered(this.#wishing))) this.#wantLook(0);
    }
    const isPushDue = this.#changes.size > 0 && this.#isLive() && Date.now() >= this.#nextPushAt;
    if (isPushDue) await this.#push();
    return isRefreshDue || isPushDue;
  }

  /** Does what else is due. There may then be something to push. */
  async run(): Promise<void> {
    const wishing = this.#wishing;
    this.#wishing = null;
    if (wishing !== null) await this.#carryOut(wishing);
    if (Date.now() >= this.#lookDueAt()) await this.#look();
    else if (this.#isLive()) await this.#goOnTour();
  }

  #isLive(): boolean {
    return this.#dependencies.watch?.status().state === 'LIVE';
  }

  #lookDueAt(): number {
    const { settings } = this.#dependencies.cluster;
    // Processes of this machine are looked at without any command, and must be: nobody else sees to their time limits.
    if (!this.#isLive() || settings.kind === 'LOCAL') return this.#lastLookAt + this.#pollSeconds * 1000;
    const backstopAt = this.#lastLookAt + Math.max(LIVE_LOOK_PERIOD_MS, settings.pollSecondsMax * 1000);
    return Math.max(this.#pace.earliest(), Math.min(this.#lookWantedAt ?? Infinity, backstopAt));
  }

  #wantLook(afterMs: number): void {
    this.#lookWantedAt = Math.min(this.#lookWantedAt ?? Infinity, Date.now() + afterMs);
  }

  async #refresh(): Promise<TrackedAttemptRow[]> {
    const { database, cluster, watch } = this.#dependencies;
    this.#isRefreshDue = false;
    try {
      const tracked = await readTrackedAttempts(database, cluster.settings.name);
      // Without an id on the cluster a start cannot be told from that of a second submission: such wait for their id.
      const watched = tracked.filter((row) => row.slurmJobId !== null && row.state !== 'SUBMITTING');
      this.#jobIdOf = new Map(watched.map((row) => [row.jobDirectory, row.jobId]));
      watch?.setJobs(inWatchOrder(watched));
      return tracked;
    } catch (error) {
      this.#isRefreshDue = true;
      throw error;
    }
  }

  async #carryOut(tracked: TrackedAttemptRow[]): Promise<void> {
    const { database, cluster, logger, now } = this.#dependencies;
    if (await carryOutWishes({ database, cluster, cancelledAt: this.#cancelledAt, logger, now }, tracked)) this.#wantLook(EFFECT_MS);
  }

  async #push(): Promise<void> {
    const changes = this.#takeChanges();
    const begunAt = Date.now();
    try {
      await this.#readFiles(changes, false);
    } finally {
      this.#nextPushAt = Date.now() + Math.max(PUSH_GAP_MS, (Date.now() - begunAt) * PUSH_GAP_SHARE);
    }
  }

  /** Changes of jobs whose files the other lane is reading are left for the next time, unless there are no others. */
  #takeChanges(): Map<string, Set<ChangeKind>> {
    const free = new Map([...this.#changes].filter(([jobId]) => !this.#turns.isTaken(jobId)));
    const taken = free.size > 0 ? free : new Map(this.#changes);
    for (const jobId of taken.keys()) this.#changes.delete(jobId);
    return taken;
  }

  async #goOnTour(): Promise<void> {
    const time = Date.now();
    if (this.#tour.length === 0 && time >= this.#nextTourAt) {
      this.#tour = [...this.#jobIdOf.values()];
      this.#tourStepJobs = Math.max(TOUR_STEP_JOBS, Math.ceil((this.#tour.length * TOUR_STEP_MS) / TOUR_MS));
      this.#nextTourAt = time + TOUR_MS;
    }
    if (this.#tour.length === 0 || time < this.#nextStepAt) return;
    try {
      await this.#readFiles(new Map(this.#tour.splice(0, this.#tourStepJobs).map((jobId) => [jobId, new Set()])), true);
    } finally {
      // Counted from the end: where all is slow, what is pushed goes first.
      this.#nextStepAt = Date.now() + TOUR_STEP_MS;
    }
  }

  async #readFiles(changes: Map<string, Set<ChangeKind>>, withAllLogs: boolean): Promise<void> {
    const { database, cluster, logger, now } = this.#dependencies;
    try {
      const { unfinished, ending } = await this.#turns.take(changes.keys(), () => observeChanged({ database, cluster, files: this.#files(), rests: this.#memory.rests, logger, now }, changes, { withAllLogs }));
      for (const jobId of unfinished) this.#noteChange(jobId, changes.get(jobId) ?? []);
      for (const jobId of ending) this.#ending.add(jobId);
      if (ending.length > 0) this.#wantLook(EFFECT_MS);
    } catch (error) {
      for (const [jobId, what] of changes) this.#noteChange(jobId, what);
      throw error;
    }
  }

  #files(): Pick<Transport, 'list' | 'read'> {
    const { cluster, watch } = this.#dependencies;
    return watch?.files ?? cluster.transport;
  }

  /** Submissions whose answer was lost. */
  #unanswered(tracked: TrackedAttemptRow[]): Set<string> {
    const { inFlight } = this.#dependencies;
    return new Set(tracked.filter((row) => row.state === 'SUBMITTING' && !inFlight.has(row.token)).map(({ token }) => token));
  }

  #isAnyUnsought(unanswered: ReadonlySet<string>): boolean {
    return [...unanswered].some((token) => !this.#sought.has(token));
  }

  /** One that was submitted may show a moment later; one that was given up may come late, beside the one in its place. */
  #seekAgain(unanswered: ReadonlySet<string>): void {
    if (unanswered.size === 0) return;
    this.#wantLook(this.#isAnyUnsought(unanswered) ? ASK_AGAIN_MS : this.#dependencies.cluster.settings.submitGraceSeconds * 1000);
  }

  async #look(): Promise<void> {
    const isLive = this.#isLive();
    if (!isLive) this.#changes.clear();
    this.#lookWantedAt = null;
    try {
      const tracked = await this.#refresh();
      await this.#carryOut(tracked);
      const unanswered = this.#unanswered(tracked);
      await this.#observe(tracked, isLive ? 'ended' : 'all');
      this.#seekAgain(unanswered);
      this.#sought = unanswered;
      // One may have been adopted, or a requeue have opened an attempt: those are to be watched.
      this.#isRefreshDue = true;
    } catch (error) {
      this.#wantLook(0);
      throw error;
    } finally {
      this.#lastLookAt = Date.now();
    }
  }

  async #observe(tracked: TrackedAttemptRow[], scope: HarvestScope): Promise<void> {
    const { database, cluster, inFlight, onQueue, logger, now, onLook } = this.#dependencies;
    const { settings, commandCounts } = cluster;
    const sacctCount = (): number => commandCounts.get('sacct') ?? 0;
    const sacctBefore = sacctCount();
    try {
      const observed = await observeCluster({
        database, cluster, files: scope === 'all' ? cluster.transport : this.#files(), inFlight, memory: this.#memory, turns: this.#turns, onQueue, logger, now,
      }, tracked, scope);
      this.#noteEnds(tracked, observed);
      onLook(observed);
      if (observed.isUnsettled) this.#wantLook(ASK_AGAIN_MS);
      this.#pollSeconds = observed.newsCount > 0 ? settings.pollSecondsMin : Math.min(settings.pollSecondsMax, this.#pollSeconds * IDLE_GROWTH);
    } finally {
      this.#pace.note(Date.now(), sacctCount() - sacctBefore);
    }
  }

  #noteEnds(tracked: TrackedAttemptRow[], { ended, ending }: Observed): void {
    for (const jobId of ending) this.#ending.add(jobId);
    const trackedIds = new Set(tracked.map((row) => row.jobId));
    const endedIds = new Set(ended);
    for (const jobId of this.#ending) if (!trackedIds.has(jobId) || endedIds.has(jobId)) this.#ending.delete(jobId);
    if (this.#ending.size > 0) this.#wantLook(ASK_AGAIN_MS);
  }
}
