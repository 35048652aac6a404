/** Reads the listings of squeue and sacct. Pure; a row that cannot be understood becomes a problem, never a guess. */
import type { SeenAttempt } from '../../domain/attempt-change.ts';
import { isBatchToken } from '../../domain/batching.ts';
import { isTerminalAttemptState, type AttemptState } from '../../domain/states.ts';
import type { QueueCount } from '../executor.ts';
import { parseListedId } from './job-ids.ts';
import { attemptStateOf } from './states.ts';
import { parseBytes, parseExitCode, parseMoment, parseSeconds, parseWord } from './values.ts';

/** What a listing says of one job or of some tasks of one array. */
export interface JobRow extends Omit<SeenAttempt, 'slurmJobId'> {
  baseId: string;
  /** Null for a job that is no array. */
  taskIndexes: number[] | null;
  jobName: string;
  /** When it was submitted or, after a requeue, put back into the queue. */
  submittedAt: Date | null;
  /** Accounting's rows of the runs before a requeue, oldest first. */
  earlierRuns: JobRow[];
}

export interface Listing {
  rows: JobRow[];
  problems: string[];
}

/** Why a run ended that was put back into the queue, where SLURM gives no other reason (NODE_FAIL, PREEMPTED). */
export const REQUEUED_REASON = 'requeued';
/** States before the start: squeue's start time is then a forecast. */
const WAITING: readonly AttemptState[] = ['PENDING', 'CONFIGURING'];

/** The queue of one user: the jobs that matter, and how many there are in all. */
export interface QueueListing extends Listing {
  counts: QueueCount[];
}

/** Reads squeue's answer to QUEUE_FORMAT. Rows of job names that are not wanted are counted only: they are somebody else's business. */
export function parseQueue(text: string, isWanted: (jobName: string) => boolean): QueueListing {
  const listing: Listing = { rows: [], problems: [] };
  const counts = new Map<string, number>();
  for (const line of lines(text)) {
    const [id = '', stateWord = '', reason = '', nodes = '', start = '', submit = '', lane = '', used = '', ...name] = line.split('|');
    if (name.length === 0) {
      listing.problems.push(`squeue: cannot read the row ${JSON.stringify(line)}`);
      continue;
    }
    const jobName = name.join('|');
    const state = attemptStateOf(stateWord);
    if (state === null || !isTerminalAttemptState(state)) {
      const key = `${lane}|${isBatchToken(jobName) ? jobName : ''}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    if (!isWanted(jobName)) continue;
    const listed = parseListedId(id);
    if (listed === null || state === null) {
      listing.problems.push(unknown('squeue', listed === null ? 'id' : 'state', listed === null ? id : stateWord, line));
      continue;
    }
    const nodeList = parseWord(nodes);
    listing.rows.push({
      ...listed, jobName, state, reason: parseWord(reason), nodeList, exitCode: null, signal: null,
      estimatedStartAt: state === 'PENDING' ? parseMoment(start) : null,
      // A job that never had a node never started, though a moment may be given.
      startedAt: WAITING.includes(state) || nodeList === null ? null : parseMoment(start),
      finishedAt: null, elapsedSeconds: isTerminalAttemptState(state) ? parseSeconds(used) : null, maxRssBytes: null, submittedAt: parseMoment(submit), earlierRuns: [],
    });
  }
  return { ...listing, counts: [...counts].map(([key, count]) => queueCountOf(key, count)) };
}

function queueCountOf(key: string, count: number): QueueCount {
  const [lane = '', token = ''] = key.split('|');
  const [partition, account, qos] = lane.split(' ').map(parseWord);
  return { partition: partition ?? null, account: account ?? null, qos: qos ?? null, token: token || null, count };
}

/**
 * Reads sacct's answer to ACCOUNTING_FIELDS. A job that was requeued has a row for each run: the newest one stands, with those
 * before it. The rows of its steps follow a run's own row and say how much memory it took.
 */
export function parseAccounting(text: string, isWanted: (jobName: string) => boolean): Listing {
  const problems: string[] = [];
  const runsById = new Map<string, JobRow[]>();
  let run: JobRow | null = null;
  for (const line of lines(text)) {
    const fields = line.split('|');
    const [id = '', jobName = ''] = fields;
    if (fields.length < 12) {
      problems.push(`sacct: cannot read the row ${JSON.stringify(line)}`);
    } else if (id.includes('.')) {
      if (run !== null && id.startsWith(`${idOf(run)}.`)) run.maxRssBytes = larger(run.maxRssBytes, parseBytes(fields[10] ?? ''));
    } else {
      run = isWanted(jobName) ? readRun(fields, line, problems) : null;
      if (run !== null) runsById.set(id, [...runsById.get(id) ?? [], run]);
    }
  }
  return { rows: [...runsById.values()].map(newestRun), problems };
}

function newestRun(runs: JobRow[]): JobRow {
  const inOrder = [...runs].sort((a, b) => (a.submittedAt?.getTime() ?? 0) - (b.submittedAt?.getTime() ?? 0));
  const newest = inOrder.at(-1)!;
  // It waits again, of which accounting has no row before it starts.
  if (newest.reason === REQUEUED_REASON) return { ...newest, state: 'PENDING', reason: null, nodeList: null, startedAt: null, finishedAt: null, elapsedSeconds: null, maxRssBytes: null, earlierRuns: inOrder };
  return { ...newest, earlierRuns: inOrder.slice(0, -1) };
}

function readRun(fields: string[], line: string, problems: string[]): JobRow | null {
  const [id = '', jobName = '', stateWord = '', exit = '', , reason = '', nodes = '', start = '', end = '', elapsed = '', , submit = ''] = fields;
  const listed = parseListedId(id);
  // Of a run that is over: the job itself is not.
  const wasRequeued = /^REQUEUED\b/.test(stateWord) && parseMoment(end) !== null;
  const state = wasRequeued ? 'CANCELLED' : attemptStateOf(stateWord);
  if (listed === null || state === null) {
    problems.push(unknown('sacct', listed === null ? 'id' : 'state', listed === null ? id : stateWord, line));
    return null;
  }
  const nodeList = parseWord(nodes);
  const ended = isTerminalAttemptState(state);
  return {
    ...listed, jobName, state, reason: wasRequeued ? REQUEUED_REASON : cancelledBy(stateWord) ?? parseWord(reason), nodeList,
    ...(ended && !wasRequeued ? parseExitCode(exit) : { exitCode: null, signal: null }),
    estimatedStartAt: null,
    startedAt: nodeList === null ? null : parseMoment(start),
    finishedAt: ended ? parseMoment(end) : null,
    elapsedSeconds: ended && /^\d+$/.test(elapsed) ? Number(elapsed) : null,
    maxRssBytes: null, submittedAt: parseMoment(submit), earlierRuns: [],
  };
}

function idOf({ baseId, taskIndexes }: JobRow): string {
  return taskIndexes === null ? baseId : `${baseId}_${taskIndexes.join(',')}`;
}

/** `CANCELLED by 1000`. */
function cancelledBy(stateWord: string): string | null {
  const uid = /^CANCELLED by (\d+)$/.exec(stateWord)?.[1];
  return uid === undefined ? null : `by user id ${uid}`;
}

function larger(a: number | null, b: number | null): number | null {
  return a === null || (b !== null && b > a) ? b : a;
}

function unknown(command: string, what: string, word: string, line: string): string {
  return `${command}: unknown ${what} ${JSON.stringify(word)} in the row ${JSON.stringify(line)}`;
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}
