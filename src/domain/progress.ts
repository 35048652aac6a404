import type { JobTable, TableNeeds } from './job-table.ts';
import { leastOf } from './least-of.ts';
import type { JobState } from './states.ts';
import { JOB_STATES, isTerminalJobState } from './states.ts';

/** How many of the jobs that ended last the rate is taken over: enough to be steady, few enough to follow a change. */
export const RECENT_FINISHED_COUNT = 50;

const MS_PER_HOUR = 3_600_000;

export interface ProgressFacts {
  /** Absent states count 0. */
  countsByState: Partial<Record<JobState, number>>;
  /** When the first of the jobs started, or null. */
  firstStartedAt: Date | null;
  /** Ends of the jobs that ran and ended last, at most RECENT_FINISHED_COUNT, in any order. */
  finishedTimes: readonly Date[];
  now: Date;
}

export interface Progress {
  total: number;
  /** Jobs in a terminal state, whatever it is. */
  done: number;
  countsByState: Record<JobState, number>;
  /** 0 to 100; 0 where there are no jobs. */
  percentDone: number;
  /** Null while no job has ended. */
  jobsPerHour: number | null;
  /** Seconds until the jobs that are not held are done; null where nothing is known, 0 when all is done. */
  etaSeconds: number | null;
}

/**
 * jobsPerHour = jobs that ended / hours they took. While fewer than RECENT_FINISHED_COUNT have ended, those are all of
 * them, since the first start; after that the newest ones count, since the oldest of them. The span runs to now while
 * jobs remain that are not held, so that a standstill shows. etaSeconds = jobs that remain and are not held / jobsPerHour.
 */
export function summariseProgress({ countsByState, firstStartedAt, finishedTimes, now }: ProgressFacts): Progress {
  const counts = Object.fromEntries(JOB_STATES.map((state) => [state, countsByState[state] ?? 0])) as Record<JobState, number>;
  const sum = (states: readonly JobState[]): number => states.reduce((total, state) => total + counts[state], 0);
  const total = sum(JOB_STATES);
  const done = sum(JOB_STATES.filter(isTerminalJobState));
  const remaining = total - done - counts.HELD;
  const jobsPerHour = rateOf(finishedTimes, firstStartedAt, remaining > 0 ? now : null);
  return {
    total,
    done,
    countsByState: counts,
    percentDone: total === 0 ? 0 : (100 * done) / total,
    jobsPerHour,
    etaSeconds: etaOf(remaining, total > 0 && total === done, jobsPerHour),
  };
}

/** What a table in memory must hold for the progress of its jobs. */
export const PROGRESS_NEEDS: TableNeeds = { columns: ['state', 'startedAt', 'finishedAt'], metrics: [] };

/** The facts of all jobs of a table. */
export function progressFactsOf(table: JobTable): Omit<ProgressFacts, 'now'> {
  const { codes, values } = table.column('state');
  const [startedAt, finishedAt] = [table.numbers('startedAt'), table.numbers('finishedAt')];
  const counts = values.map(() => 0);
  const finished: number[] = [];
  let first = Infinity;
  for (let row = 0; row < codes.length; row += 1) {
    counts[codes[row]!]! += 1;
    if (startedAt[row]! < first) first = startedAt[row]!;
    if (!Number.isNaN(startedAt[row]) && !Number.isNaN(finishedAt[row])) finished.push(row);
  }
  const newest = leastOf(finished, RECENT_FINISHED_COUNT, (a, b) => finishedAt[b]! - finishedAt[a]!);
  return {
    countsByState: Object.fromEntries(values.flatMap((state, code) => (state === undefined ? [] : [[state as JobState, counts[code]!]]))),
    firstStartedAt: first === Infinity ? null : new Date(first / 1000),
    finishedTimes: newest.map((row) => new Date(finishedAt[row]! / 1000)),
  };
}

function rateOf(finishedTimes: readonly Date[], firstStartedAt: Date | null, until: Date | null): number | null {
  const times = finishedTimes.map((time) => time.getTime()).sort((a, b) => b - a).slice(0, RECENT_FINISHED_COUNT);
  const newest = times[0];
  const oldest = times.at(-1);
  if (newest === undefined || oldest === undefined) return null;
  const knowsAll = times.length < RECENT_FINISHED_COUNT && firstStartedAt !== null;
  const since = knowsAll ? firstStartedAt.getTime() : oldest;
  const ended = knowsAll ? times.length : times.length - 1;
  const hours = (Math.max(newest, until?.getTime() ?? newest) - since) / MS_PER_HOUR;
  return ended > 0 && hours > 0 ? ended / hours : null;
}

function etaOf(remaining: number, allDone: boolean, jobsPerHour: number | null): number | null {
  if (allDone) return 0;
  if (remaining === 0 || jobsPerHour === null) return null;
  return Math.round((remaining / jobsPerHour) * 3600);
}
