/**
 * Decides what the evidence about one attempt changes. Evidence is what the scheduler says (`seen`) and the exit record that
 * the job's own script wrote. A terminal state needs one of the two; absence is never evidence, only a reason to call an
 * attempt LOST after a stated time, which later evidence overrules.
 */
import { advanceAttempt, isTerminalAttemptState, type AttemptState } from './states.ts';

/** What the database knows of an attempt. */
export interface KnownAttempt {
  state: AttemptState;
  reason: string | null;
  slurmJobId: string | null;
  nodeList: string | null;
  estimatedStartAt: Date | null;
  startedAt: Date | null;
  timeLimitMinutes: number | null;
  cancelRequested: boolean;
}

/** What the scheduler said of it. */
export interface SeenAttempt {
  slurmJobId: string;
  state: AttemptState;
  reason: string | null;
  nodeList: string | null;
  exitCode: number | null;
  signal: number | null;
  /** While it waits: the scheduler's forecast. */
  estimatedStartAt: Date | null;
  startedAt: Date | null;
  finishedAt: Date | null;
  elapsedSeconds: number | null;
  maxRssBytes: number | null;
}

/** What the job's script wrote when its command ended. */
export interface ExitRecord {
  attempt: number;
  exitCode: number | null;
  signal: number | null;
  startedAt: Date | null;
  finishedAt: Date | null;
  host: string | null;
}

/** The values an attempt has after the change. */
export interface AttemptChange {
  state: AttemptState;
  reason: string | null;
  slurmJobId: string | null;
  nodeList: string | null;
  exitCode: number | null;
  signal: number | null;
  estimatedStartAt: Date | null;
  startedAt: Date | null;
  finishedAt: Date | null;
  elapsedSeconds: number | null;
  maxRssBytes: number | null;
}

/** How long an attempt may be neither in the queue, nor in accounting, nor leave an exit record, before it counts as LOST. */
export const LOST_AFTER_SECONDS = 600;

/** By how much a forecast of the start must move to count as news. */
const ESTIMATE_TOLERANCE_MS = 10 * 60 * 1000;

/** Reads an exit record; null when the text is not one (half written, another program's file). */
export function parseExitRecord(text: string): ExitRecord | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const record = value as Record<string, unknown>;
  if (typeof record['attempt'] !== 'number') return null;
  const whole = (field: unknown): number | null => (typeof field === 'number' && Number.isInteger(field) ? field : null);
  return {
    attempt: record['attempt'],
    exitCode: whole(record['exitCode']),
    signal: whole(record['signal']),
    startedAt: parseMoment(record['startedAt']),
    finishedAt: parseMoment(record['finishedAt']),
    host: typeof record['host'] === 'string' ? record['host'] : null,
  };
}

function parseMoment(value: unknown): Date | null {
  if (typeof value !== 'string') return null;
  const moment = new Date(value);
  return Number.isNaN(moment.getTime()) ? null : moment;
}

/**
 * What `seen` and `exitRecord` change about `known`; null when nothing.
 * `absentSeconds` says for how long the scheduler has not mentioned the attempt (0 when it did).
 */
export function decideAttemptChange(
  known: KnownAttempt, seen: SeenAttempt | null, exitRecord: ExitRecord | null, absentSeconds: number,
): AttemptChange | null {
  const evidence = seen ?? (exitRecord === null ? null : seenFromExitRecord(known, exitRecord));
  if (evidence === null) {
    if (absentSeconds < LOST_AFTER_SECONDS || known.state === 'SUBMITTING') return null;
    return lost(known, absentSeconds);
  }
  const state = advanceAttempt(known.state, evidence.state);
  const ended = isTerminalAttemptState(state);
  const startedAt = evidence.startedAt ?? exitRecord?.startedAt ?? known.startedAt;
  const finishedAt = ended ? evidence.finishedAt ?? exitRecord?.finishedAt ?? null : null;
  const change: AttemptChange = {
    state,
    reason: state === evidence.state ? describeReason(state, { ...evidence, ...exitOf(exitRecord) }, known) : known.reason,
    slurmJobId: evidence.slurmJobId,
    nodeList: evidence.nodeList ?? known.nodeList ?? exitRecord?.host ?? null,
    // The record first: accounting takes 128 off an exit code above it and shows the rest as a signal.
    exitCode: ended ? exitRecord?.exitCode ?? evidence.exitCode : null,
    signal: ended ? exitRecord?.signal ?? evidence.signal : null,
    estimatedStartAt: state === 'PENDING' ? settledEstimate(known.estimatedStartAt, evidence.estimatedStartAt) : null,
    startedAt: state === 'PENDING' ? known.startedAt : startedAt,
    finishedAt,
    elapsedSeconds: ended ? evidence.elapsedSeconds ?? secondsBetween(startedAt, finishedAt) : null,
    maxRssBytes: evidence.maxRssBytes,
  };
  return isSame(known, change) ? null : change;
}

function exitOf(record: ExitRecord | null): Partial<Pick<SeenAttempt, 'exitCode' | 'signal'>> {
  return record === null ? {} : { exitCode: record.exitCode, signal: record.signal };
}

function isSame(known: KnownAttempt, change: AttemptChange): boolean {
  return known.state === change.state
    && known.reason === change.reason
    && known.slurmJobId === change.slurmJobId
    && known.nodeList === change.nodeList
    && known.estimatedStartAt?.getTime() === change.estimatedStartAt?.getTime()
    && known.startedAt?.getTime() === change.startedAt?.getTime();
}

/** Forecasts drift with every look of the scheduler; only one that moved by much is worth writing down. */
function settledEstimate(known: Date | null, seen: Date | null): Date | null {
  if (known === null || seen === null) return seen;
  return Math.abs(seen.getTime() - known.getTime()) < ESTIMATE_TOLERANCE_MS ? known : seen;
}

function secondsBetween(from: Date | null, to: Date | null): number | null {
  return from === null || to === null ? null : Math.max(0, (to.getTime() - from.getTime()) / 1000);
}

function seenFromExitRecord(known: KnownAttempt, record: ExitRecord): SeenAttempt {
  const state = record.exitCode === 0 ? 'COMPLETED' : known.cancelRequested && record.signal !== null ? 'CANCELLED' : 'FAILED';
  return {
    slurmJobId: known.slurmJobId ?? '',
    state,
    reason: null,
    nodeList: record.host,
    exitCode: record.exitCode,
    signal: record.signal,
    estimatedStartAt: null,
    startedAt: record.startedAt,
    finishedAt: record.finishedAt,
    elapsedSeconds: secondsBetween(record.startedAt, record.finishedAt),
    maxRssBytes: null,
  };
}

function lost(known: KnownAttempt, absentSeconds: number): AttemptChange | null {
  if (known.state === 'LOST') return null;
  return {
    state: 'LOST',
    reason: `neither the queue, nor accounting, nor an exit record has known of it for ${Math.round(absentSeconds / 60)} minutes`,
    slurmJobId: known.slurmJobId,
    nodeList: known.nodeList,
    exitCode: null,
    signal: null,
    estimatedStartAt: null,
    startedAt: known.startedAt,
    finishedAt: null,
    elapsedSeconds: null,
    maxRssBytes: null,
  };
}

/** Why an attempt is in its state, in words a person can act on; null when there is nothing to say. */
export function describeReason(state: AttemptState, seen: SeenAttempt, known: Pick<KnownAttempt, 'timeLimitMinutes'>): string | null {
  const word = seen.reason === null || seen.reason === 'None' || seen.reason === '' ? null : seen.reason;
  const node = seen.nodeList ?? 'unknown';
  switch (state) {
    case 'SUBMITTING':
    case 'RUNNING':
    case 'COMPLETING':
    case 'COMPLETED': return null;
    case 'PENDING':
    case 'CONFIGURING':
    case 'SUSPENDED': return word;
    case 'FAILED': return describeFailure(seen, word);
    case 'CANCELLED': return word === null ? 'cancelled' : word === 'requeued' ? word : `cancelled: ${word}`;
    case 'TIMEOUT': return known.timeLimitMinutes === null ? 'the time limit was reached' : `the time limit of ${known.timeLimitMinutes} min was reached`;
    case 'OUT_OF_MEMORY': return 'the memory limit of the job was exceeded';
    case 'NODE_FAIL': return `node ${node} failed`;
    case 'PREEMPTED': return 'preempted by a job of higher priority';
    case 'DEADLINE': return 'its deadline passed before it could run to the end';
    case 'BOOT_FAIL': return `node ${node} did not boot`;
    case 'REVOKED': return 'revoked: it runs on a sibling cluster';
    case 'LOST': return word;
  }
}

function describeFailure(seen: SeenAttempt, word: string | null): string {
  const how = seen.signal ? `killed by signal ${seen.signal}` : seen.exitCode === null ? 'failed' : `exit code ${seen.exitCode}`;
  return word === null || word === 'NonZeroExitCode' ? how : `${how} (${word})`;
}
