/** What the circuit breaker of a cluster shows. CLOSED: calls get through. OPEN: nothing is tried. HALF_OPEN: one call tries. */
export const BREAKER_STATES = ['CLOSED', 'OPEN', 'HALF_OPEN'] as const;
export type BreakerState = (typeof BREAKER_STATES)[number];

export interface BreakerStatus {
  state: BreakerState;
  /** What the last failure said; null while calls get through. */
  reason: string | null;
  /** Failures in a row. */
  failureCount: number;
  /** Null while it is closed. */
  openedAt: Date | null;
  nextTryAt: Date | null;
}

export const CLOSED_BREAKER: BreakerStatus = { state: 'CLOSED', reason: null, failureCount: 0, openedAt: null, nextTryAt: null };
