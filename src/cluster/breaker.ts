/**
 * The circuit breaker of a cluster, shared by all that go there: after some failures in a row nothing is tried for a while, then one call
 * is let through. While the machine cannot be reached nothing passes; while only SLURM's controller does not answer, files still do.
 *
 *   CLOSED --(failures in a row)--> OPEN --(the pause is over: one call tries)--> HALF_OPEN --(it gets through)--> CLOSED
 *                                     ^------------------(it fails: a longer pause)---|
 */
import type { BreakerState, BreakerStatus } from '../domain/breaker-status.ts';
import { NoChannelError, NotTriedError, TransportError } from './transport.ts';

/** What a call needs: the machine alone, or SLURM's controller behind it. */
export type CallScope = 'machine' | 'scheduler';
type FaultKind = 'unreachable' | 'login' | 'scheduler';

/** Told of every change of the status; `isRecovery` when calls get through again after at least one that did not. */
export type BreakerListener = (status: BreakerStatus, isRecovery: boolean) => void;

/** A login that was not accepted will not be a second later, and sites lock out who keeps trying. */
const FAILURES_TO_OPEN: Record<FaultKind, number> = { unreachable: 5, scheduler: 5, login: 1 };
/** Pauses double from the first to the longest; the one after a refused login stays clear of five tries in ten minutes. */
const PAUSE_MS: Record<FaultKind, { first: number; most: number }> = {
  unreachable: { first: 5_000, most: 60_000 }, scheduler: { first: 5_000, most: 60_000 }, login: { first: 60_000, most: 300_000 },
};

interface Fault {
  kind: FaultKind;
  words: string;
}

export class Breaker {
  readonly #random: () => number;
  readonly #listeners = new Set<BreakerListener>();
  #state: BreakerState = 'CLOSED';
  #fault: Fault | null = null;
  #failureCount = 0;
  #openedAt: number | null = null;
  #nextTryAt = 0;
  #pauseCount = 0;
  #openedCount = 0;
  #lastFaultAt = -Infinity;
  #trial: Promise<void> | null = null;

  /** @param random from 0 to 1, for the jitter of the pauses */
  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  status(): BreakerStatus {
    const isClosed = this.#state === 'CLOSED';
    return {
      state: this.#state, reason: this.#fault?.words ?? null, failureCount: this.#failureCount,
      openedAt: this.#openedAt === null ? null : new Date(this.#openedAt), nextTryAt: isClosed ? null : new Date(this.#nextTryAt),
    };
  }

  /** How often it opened. */
  openedCount(): number {
    return this.#openedCount;
  }

  /** Answers the function that ends the telling. */
  onChange(listener: BreakerListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Milliseconds until a call of this scope may be tried; 0 when it may be now. */
  untilTryMs(scope: CallScope): number {
    return this.#isBarred(scope) ? Math.max(0, this.#nextTryAt - Date.now()) : 0;
  }

  /** Throws NotTriedError when a call of this scope would not be tried now. */
  check(scope: CallScope): void {
    if (this.#trial === null && this.untilTryMs(scope) > 0) throw new NotTriedError(this.#words());
  }

  /** It is known from elsewhere that the machine can be reached. */
  noteReached(): void {
    this.#noteSuccess('machine');
  }

  /**
   * Does the work, unless the breaker is open: then rejects with NotTriedError. Calls that come while one tries wait for what it comes to.
   * @param faultIn why an answer shows that the scheduler could not be reached; null when it could
   */
  async run<Answer>(scope: CallScope, work: () => Promise<Answer>, faultIn: (answer: Answer) => string | null): Promise<Answer> {
    if (this.#isBarred(scope) && this.#trial !== null) await this.#trial;
    if (!this.#isBarred(scope)) return this.#attempt(scope, work, faultIn, false);
    if (this.#trial !== null || this.untilTryMs(scope) > 0) throw new NotTriedError(this.#words());
    let settle = (): void => undefined;
    this.#trial = new Promise((resolve) => { settle = resolve; });
    this.#state = 'HALF_OPEN';
    this.#tell();
    try {
      return await this.#attempt(scope, work, faultIn, true);
    } finally {
      this.#trial = null;
      settle();
    }
  }

  async #attempt<Answer>(scope: CallScope, work: () => Promise<Answer>, faultIn: (answer: Answer) => string | null, isTrial: boolean): Promise<Answer> {
    const begunAt = Date.now();
    try {
      const answer = await work();
      const words = scope === 'scheduler' ? faultIn(answer) : null;
      if (words === null) this.#noteSuccess(scope);
      else this.#noteFault({ kind: 'scheduler', words }, begunAt, isTrial);
      return answer;
    } catch (error) {
      const fault = faultOf(error);
      if (fault !== null) this.#noteFault(fault, begunAt, isTrial);
      // The machine answered, though not as it should.
      else this.#noteSuccess('machine', isTrial);
      throw error;
    }
  }

  #isBarred(scope: CallScope): boolean {
    return this.#state !== 'CLOSED' && (scope === 'scheduler' || this.#fault?.kind !== 'scheduler');
  }

  #noteSuccess(scope: CallScope, isTrial = false): void {
    if (this.#fault === null) return;
    // Files can be read while the controller is down: that is no news of the controller.
    if (this.#fault.kind === 'scheduler' && scope === 'machine' && !isTrial) return;
    this.#state = 'CLOSED';
    this.#fault = null;
    this.#failureCount = 0;
    this.#pauseCount = 0;
    this.#openedAt = null;
    this.#tell(true);
  }

  #noteFault(fault: Fault, begunAt: number, isTrial: boolean): void {
    // All that was under way when a connection broke fails at once: that is one failure.
    if (!isTrial && begunAt < this.#lastFaultAt) return;
    this.#lastFaultAt = Date.now();
    this.#fault = fault;
    this.#failureCount += 1;
    if (isTrial || (this.#state === 'CLOSED' && this.#failureCount >= FAILURES_TO_OPEN[fault.kind])) this.#open(fault.kind);
    this.#tell();
  }

  #open(kind: FaultKind): void {
    const { first, most } = PAUSE_MS[kind];
    this.#state = 'OPEN';
    if (this.#openedAt === null) this.#openedCount += 1;
    this.#openedAt ??= Date.now();
    this.#nextTryAt = Date.now() + Math.min(most, first * 2 ** this.#pauseCount) * (0.75 + this.#random() / 2);
    this.#pauseCount += 1;
  }

  #words(): string {
    return `not tried again before ${new Date(this.#nextTryAt).toISOString()}, after ${this.#failureCount} failures in a row: ${this.#fault?.words ?? 'unknown'}`;
  }

  #tell(isRecovery = false): void {
    const status = this.status();
    for (const listener of this.#listeners) listener(status, isRecovery);
  }
}

/** Null for what says nothing about whether the machine can be reached. */
function faultOf(error: unknown): Fault | null {
  if (!(error instanceof TransportError) || error instanceof NoChannelError || error.failure === 'output-limit') return null;
  const isLogin = error.failure === 'authentication' || error.failure === 'host-key';
  return { kind: isLogin ? 'login' : 'unreachable', words: error.message };
}
