/**
 * How many jobs of each lane a cluster takes now: from the limits that its accounting tells, from what it refused before, and from all
 * jobs of the user that are there, also those that were submitted by hand. What this knows is lost when the process ends, and learnt anew.
 */
import type { ClusterDescription, QueueCount } from '../cluster/executor.ts';
import { afterAcceptance, afterRefusal, learntRoom, type LearntLimit } from '../domain/learnt-limit.ts';
import { activeJobsWait, learntLimitWait, limitWait, notNowWait, type QueueWait } from '../domain/queue-wait.ts';
import { laneKey, parseLaneKey, type LaneCount, type SubmitLane } from '../domain/submit-lane.ts';
import { countUnder, limitsOn, type AccountingLimits, type SubmitLimit } from '../domain/submit-limits.ts';
import type { Resources } from '../domain/job-spec.ts';
import { RefusedKinds } from './refused-kinds.ts';

/** A lane that was told "not now" is tried again after a pause that doubles from the first to the longest. */
const NOT_NOW_MS = { first: 10_000, most: 300_000 };
/** Room is looked at again at least so often while jobs wait for it. */
const LOOK_AGAIN_MS = 60_000;
/** For how long a token counts as ours after it was handed over: until a look at the queue tells of it by itself. */
const HANDED_OVER_MS = 10 * 60_000;

/** Words of a limit on the number of jobs, rather than on what one job may ask for. */
const NAMES_A_NUMBER = /submitjob|maxjobcount|create job record|job queue full/i;

interface ShutLane {
  words: string;
  tryAt: number;
  refusals: number;
}

/** A limit with what is left of it, shared by all lanes whose jobs it counts. */
interface Bound {
  left: number;
  wait: (lane: string) => QueueWait;
}

/** What may be handed over in one go. */
export interface RoomNow {
  /** How many jobs of the lane, if none of another lane are taken. */
  of(lane: string): number;
  /** Takes the place of one job; false when there is none. */
  take(lane: string): boolean;
  /** Why jobs of these lanes have to wait. */
  waits(lanes: readonly string[]): QueueWait[];
}

export class SubmitRoom {
  readonly #learnt = new Map<string, LearntLimit>();
  readonly #shut = new Map<string, ShutLane>();
  readonly #kinds = new RefusedKinds();
  readonly #handedOver = new Map<string, number>();
  readonly #random: () => number;
  #limits: AccountingLimits | null = null;
  #maxJobCount: number | null = null;
  #wasRefused = false;
  #defaultPartition: string | null = null;
  /** Jobs of others when the cluster was last described, as far as it shows them. */
  #ofOthers = 0;
  #byHand: LaneCount[] | null = null;

  /** @param random from 0 to 1, for the jitter of pauses */
  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** Whether the queue was looked at: before, nobody knows what is there. */
  isKnown(): boolean {
    return this.#byHand !== null;
  }

  /**
   * Takes in a look at the queue. Answers whether it shows other jobs of the user than before.
   * @param ownTokens tokens under which jobs of ours are known to be there
   */
  noteQueue(counts: readonly QueueCount[], ownTokens: ReadonlySet<string>): boolean {
    const now = Date.now();
    for (const [token, at] of this.#handedOver) if (now - at > HANDED_OVER_MS) this.#handedOver.delete(token);
    const before = JSON.stringify(this.#byHand);
    this.#byHand = counts.filter(({ token }) => token === null || !(ownTokens.has(token) || this.#handedOver.has(token)))
      .map(({ partition, account, qos, count }) => ({ partition, account, qos, count }));
    return JSON.stringify(this.#byHand) !== before;
  }

  /** @param present our jobs on the cluster, by lane */
  noteCluster({ partitions, pendingJobCount, runningJobCount, maxJobCount }: ClusterDescription, present: readonly LaneCount[]): void {
    this.#defaultPartition = partitions.find(({ isDefault }) => isDefault)?.name ?? null;
    this.#ofOthers = Math.max(0, pendingJobCount + runningJobCount - sumOf(present) - sumOf(this.#byHand ?? []));
    this.#maxJobCount = maxJobCount;
  }

  noteLimits(limits: AccountingLimits): void {
    this.#limits = limits;
    this.#wasRefused = false;
  }

  /** Whether a submission was over a limit since the limits were told. */
  wasRefused(): boolean {
    return this.#wasRefused;
  }

  /** @param present our jobs on the cluster, by lane */
  now(present: readonly LaneCount[], maxActiveJobs: number): RoomNow {
    const own: Bound = { left: maxActiveJobs - sumOf(present), wait: () => activeJobsWait(maxActiveJobs) };
    const shared = new Map<string, Bound>();
    const boundsByLane = new Map<string, Bound[]>();
    const boundsOf = (lane: string): Bound[] => {
      const known = boundsByLane.get(lane) ?? [own, ...this.#boundsOf(lane, present, shared)];
      boundsByLane.set(lane, known);
      return known;
    };
    return {
      of: (lane) => Math.max(0, Math.min(...boundsOf(lane).map(({ left }) => left))),
      take: (lane) => {
        const bounds = boundsOf(lane);
        if (bounds.some(({ left }) => left <= 0)) return false;
        for (const bound of bounds) bound.left -= 1;
        return true;
      },
      waits: (lanes) => lanes.flatMap((lane) => boundsOf(lane).find(({ left }) => left <= 0)?.wait(lane) ?? []),
    };
  }

  #boundsOf(lane: string, present: readonly LaneCount[], shared: Map<string, Bound>): Bound[] {
    const now = Date.now();
    const bounds: Bound[] = [];
    const shut = this.#shut.get(lane);
    if (shut !== undefined && shut.tryAt > now) bounds.push({ left: 0, wait: (key) => notNowWait(key, shut.words, new Date(shut.tryAt)) });
    const asked = this.#resolved(parseLaneKey(lane));
    for (const limit of this.#limitsOn(asked)) {
      const key = JSON.stringify(limit);
      const { own, byHand } = this.#countsUnder(limit, present);
      const bound = shared.get(key) ?? { left: limit.most - own - byHand, wait: (waiting) => limitWait(waiting, { ...limit, present: own + byHand, byHand }) };
      shared.set(key, bound);
      bounds.push(bound);
    }
    const learnt = this.#learnt.get(lane);
    if (learnt !== undefined) {
      const { own, byHand } = this.#countsUnder(this.#scopeOf(lane, learnt.words), present);
      // Whether it is the number that was too large shows when single jobs of other kinds are sent right away.
      bounds.push({ left: this.#kinds.wantsAnother(lane) ? 1 : learntRoom(learnt, own + byHand, now), wait: (key) => learntLimitWait(key, { words: learnt.words, present: own + byHand, byHand }) });
    }
    return bounds;
  }

  #limitsOn(lane: SubmitLane): SubmitLimit[] {
    const limits = this.#limits === null ? [] : limitsOn(lane, this.#limits);
    if (this.#maxJobCount === null) return limits;
    const most = Math.max(0, this.#maxJobCount - this.#ofOthers);
    return [...limits, { partition: null, account: null, qos: null, most, source: 'what MaxJobCount leaves beside the jobs of others' }];
  }

  /**
   * The jobs that count under a limit which is not told: those of the account or, where the cluster's words name a QOS, of the partition. The
   * limits of a job's own QOS are told; those of a QOS that stands behind a partition are not.
   */
  #scopeOf(lane: string, words: string): SubmitLane {
    const { account, partition } = this.#resolved(parseLaneKey(lane));
    return /\bqos(?:max|grp)/i.test(words) ? { partition, account: null, qos: null } : { partition: null, account, qos: null };
  }

  #countsUnder(scope: SubmitLane, present: readonly LaneCount[]): { own: number; byHand: number } {
    const resolved = present.map(({ count, ...lane }) => ({ ...this.#resolved(lane), count }));
    return { own: countUnder(scope, resolved), byHand: countUnder(scope, this.#byHand ?? []) };
  }

  /** What SLURM takes where a job names nothing, as far as it is known. */
  #resolved({ partition, account, qos }: SubmitLane): SubmitLane {
    const associations = this.#limits?.associations ?? [];
    const resolvedAccount = account ?? associations.find((each) => each.isDefaultAccount)?.account ?? null;
    const association = associations.find((each) => each.account === resolvedAccount);
    return { partition: partition ?? this.#defaultPartition, account: resolvedAccount, qos: qos ?? association?.defaultQos ?? null };
  }

  noteHandedOver(token: string): void {
    this.#handedOver.set(token, Date.now());
  }

  /** The kinds of jobs of a lane, by what they ask for, that are to let others go first now. */
  aside(lane: string): Resources[] {
    return this.#kinds.aside(lane, Date.now());
  }

  /** There was room, but the lane holds no other kinds than those that step aside. */
  noteNoOther(lane: string): void {
    this.#kinds.noteNoOther(lane);
  }

  /** @param present our jobs on the cluster, with those just taken */
  noteTaken(resources: Resources, present: readonly LaneCount[]): void {
    const lane = laneKey(resources);
    this.#shut.delete(lane);
    this.#kinds.noteTaken(lane, resources, Date.now());
    const known = this.#learnt.get(lane);
    if (known !== undefined) this.#learnt.set(lane, afterAcceptance(known, this.#presentUnder(lane, known.words, present), Date.now()));
  }

  /**
   * The cluster says that there are too many. Answers false where that cannot be the reason: one job was too many, and none is there, or
   * others were taken each time after one of the kind was refused.
   * @param present our jobs on the cluster, without those just refused
   */
  noteTooMany(resources: Resources, present: readonly LaneCount[], { asked, words }: { asked: number; words: string }): boolean {
    const lane = laneKey(resources);
    const there = this.#presentUnder(lane, words, present);
    const namesNumber = NAMES_A_NUMBER.test(words);
    if (!namesNumber && this.#kinds.isTooLarge(lane, resources)) {
      // What was learnt from its refusals is no limit; if there is one besides, it is learnt again.
      this.#learnt.delete(lane);
      return false;
    }
    if (!namesNumber && asked === 1 && there === 0) return false;
    const isOther = this.#kinds.wantsAnother(lane);
    if (asked === 1 && (isOther || !namesNumber)) this.#kinds.noteRefused(lane, resources);
    // The one before it has set the limit already.
    if (isOther) return true;
    this.#wasRefused = true;
    this.#learnt.set(lane, afterRefusal(this.#learnt.get(lane) ?? null, { present: there, asked, words, now: Date.now(), jitter: this.#random() }));
    return true;
  }

  #presentUnder(lane: string, words: string, present: readonly LaneCount[]): number {
    const { own, byHand } = this.#countsUnder(this.#scopeOf(lane, words), present);
    return own + byHand;
  }

  noteNotNow(lane: string, words: string): void {
    const refusals = (this.#shut.get(lane)?.refusals ?? 0) + 1;
    const pause = Math.min(NOT_NOW_MS.most, NOT_NOW_MS.first * 2 ** (refusals - 1)) * (0.75 + this.#random() / 2);
    this.#shut.set(lane, { words, refusals, tryAt: Date.now() + pause });
  }

  /** Milliseconds until a lane that is shut may be tried again; null when none is. */
  untilNextMs(): number | null {
    const now = Date.now();
    const moments = [...this.#shut.values(), ...this.#learnt.values()].map(({ tryAt }) => tryAt).filter((at) => at > now);
    return moments.length === 0 ? null : Math.min(LOOK_AGAIN_MS, Math.min(...moments) - now);
  }
}

function sumOf(counts: readonly LaneCount[]): number {
  return counts.reduce((sum, { count }) => sum + count, 0);
}
