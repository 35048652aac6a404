/**
 * Decides what the evidence about one attempt changes. Evidence is what the scheduler says (`seen`) and the exit record that
 * the job's own script wrote. A terminal state needs one of the two; absence is never evidence, only a reason to call an
 * attempt LOST after a stated time, which later evidence overrules.
 *
 * An exit record is there before the scheduler knows of the end. Exit code 0 of a command that nobody told to end is COMPLETED at
 * once. Any other end waits for the scheduler, which alone can say TIMEOUT, CANCELLED, OUT_OF_MEMORY or PREEMPTED: while it lists the
 * job, and for a stated time after (src/reconcilers/verdicts.ts), because accounting lags. While an ended job
 * settles, the scheduler is asked once more: its word fills in what the record lacks and, where the two differ (memory ran out in
 * a child of a command that ended well; the node failed before the job was over), it stands. So the order in which the
 * two arrive makes no difference to how a job ends.
 */
import { describeReason } from './attempt-reason.ts';
import { parseMetricTime } from './metric-time.ts';
import { advanceAttempt, isTerminalAttemptState, type AttemptState } from './states.ts';
import { parseStorableObject } from './storable-json.ts';

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

/** An attempt that has ended, and what is known of its end. */
export interface EndedAttempt extends KnownAttempt {
  maxRssBytes: number | null;
}

/** What the scheduler said of it. */
export interface SeenAttempt {
  slurmJobId: string;
  state: AttemptState;
  /** SLURM's reason word (`Resources`, `JobHeldUser`, ...) or what ended it, or null. */
  reason: string | null;
  nodeList: string | null;
  exitCode: number | null;
  signal: number | null;
  /** While it waits: the scheduler's forecast of its start; null where it gives none. */
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
  /** The job was told to end (TERM) before its command ended. */
  terminated: boolean;
  /** It had the warning signal that it had asked for, which comes before the time limit. */
  warned: boolean;
  startedAt: Date | null;
  finishedAt: Date | null;
  host: string | null;
}

/** What shows that a job's script has begun to run: its own start guard. */
export interface StartRecord {
  startedAt: Date;
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

/** Exit codes and signals are far below it; a job may have written anything in the place of its record, and what cannot be stored would keep back others. */
const MAX_CODE = 65_535;

/** With these a job is ended by whoever ends it: TERM, and KILL for what does not obey. */
const ENDING_SIGNALS: readonly (number | null)[] = [15, 9];

/** Whether a command ended of its own accord, rather than because its job was ended or was about to be: by a requeue, too. */
export function endedByItself({ terminated, warned, signal }: ExitRecord): boolean {
  return !terminated && !warned && !ENDING_SIGNALS.includes(signal);
}

/** Reads an exit record; null when the text is not one (half written, another program's file). */
export function parseExitRecord(text: string): ExitRecord | null {
  const record = parseStorableObject(text);
  if (record === null || typeof record['attempt'] !== 'number') return null;
  const code = (field: unknown): number | null => (typeof field === 'number' && Number.isInteger(field) && field >= 0 && field <= MAX_CODE ? field : null);
  const moment = (field: unknown): Date | null => (typeof field === 'string' ? parseMetricTime(field) : null);
  return {
    attempt: record['attempt'],
    exitCode: code(record['exitCode']),
    signal: code(record['signal']),
    terminated: record['terminated'] === true,
    warned: record['warned'] === true,
    startedAt: moment(record['startedAt']),
    finishedAt: moment(record['finishedAt']),
    host: typeof record['host'] === 'string' ? record['host'] : null,
  };
}

/**
 * What the evidence changes about `known`; null when nothing.
 * `absentSeconds` says for how long the scheduler has not mentioned the attempt (0 when it did); null when it was not asked.
 */
export function decideAttemptChange(
  known: KnownAttempt, seen: SeenAttempt | null, exitRecord: ExitRecord | null, absentSeconds: number | null, start: StartRecord | null = null,
): AttemptChange | null {
  const evidence = strongest(known, seen, exitRecord, absentSeconds !== null, start);
  if (evidence === null) {
    if (absentSeconds === null || absentSeconds < LOST_AFTER_SECONDS || known.state === 'SUBMITTING') return null;
    return lost(known, absentSeconds);
  }
  const change = changeTo(advanceAttempt(known.state, evidence.state), known, evidence, exitRecord);
  return isSame(known, change) ? null : change;
}

/**
 * What the scheduler's word changes about an attempt that has ended already; null when nothing, or when the scheduler does not
 * know of the end.
 */
export function confirmEnd(known: EndedAttempt, seen: SeenAttempt, exitRecord: ExitRecord | null): AttemptChange | null {
  if (!isTerminalAttemptState(seen.state)) return null;
  const change = changeTo(seen.state, known, seen, exitRecord);
  return isSame(known, change) && known.maxRssBytes === change.maxRssBytes ? null : change;
}

function strongest(known: KnownAttempt, seen: SeenAttempt | null, record: ExitRecord | null, isAsked: boolean, start: StartRecord | null): SeenAttempt | null {
  if (seen !== null && isTerminalAttemptState(seen.state)) return seen;
  if (record !== null && (isPlainSuccess(known, record) || (seen === null && isAsked))) return seenFromExitRecord(known, record);
  return start !== null && isWaiting(known.state) && (seen === null || isWaiting(seen.state)) ? seenFromStart(known, start) : seen;
}

function isWaiting(state: AttemptState): boolean {
  return state === 'PENDING' || state === 'CONFIGURING';
}

/** Whether the record tells the end by itself: a command ended well that nobody told to end. */
export function isPlainSuccess({ cancelRequested }: Pick<KnownAttempt, 'cancelRequested'>, record: ExitRecord): boolean {
  return record.exitCode === 0 && !record.terminated && !cancelRequested;
}

function changeTo(state: AttemptState, known: KnownAttempt, evidence: SeenAttempt, exitRecord: ExitRecord | null): AttemptChange {
  const ended = isTerminalAttemptState(state);
  const startedAt = evidence.startedAt ?? exitRecord?.startedAt ?? known.startedAt;
  const finishedAt = ended ? evidence.finishedAt ?? exitRecord?.finishedAt ?? null : null;
  return {
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
}

function exitOf(record: ExitRecord | null): Partial<Pick<ExitRecord, 'exitCode' | 'signal' | 'warned'>> {
  return record === null ? {} : { exitCode: record.exitCode, signal: record.signal, warned: record.warned };
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

function seenFromStart(known: KnownAttempt, { startedAt, host }: StartRecord): SeenAttempt {
  return {
    slurmJobId: known.slurmJobId ?? '', state: 'RUNNING', reason: null, nodeList: host, exitCode: null, signal: null,
    startedAt, estimatedStartAt: null, finishedAt: null, elapsedSeconds: null, maxRssBytes: null,
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
