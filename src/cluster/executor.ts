/** The executor: the small, batched door to whatever runs jobs. SLURM and the local machine stand behind the same methods. */
import type { SeenAttempt } from '../domain/attempt-change.ts';
import type { BatchSpec } from '../domain/batch.ts';
import type { ClusterSettings } from '../domain/cluster-settings.ts';
import type { Partition } from '../domain/partition.ts';
import type { AttemptState } from '../domain/states.ts';
import type { LaneCount } from '../domain/submit-lane.ts';
import type { AccountingLimits } from '../domain/submit-limits.ts';
import type { Breaker } from './breaker.ts';
import type { CommandBudget } from './command-budget.ts';
import type { Transport } from './transport.ts';

/** The answer to a submission that is known to have been taken. */
export interface Submitted {
  /** `123`: id of the array or of the single job; null on the local executor, where each task has its own. */
  slurmJobId: string | null;
  /** Per task, in order: `123_0`, ... or `123`. */
  taskSlurmJobIds: string[];
  /** What the command printed, kept as the submission record. */
  answer: string;
}

/**
 * - `refused`: the cluster said no; nothing runs; trying the same again gives the same answer
 * - `limit`: the cluster said that there are too many jobs; nothing runs; it may be taken when some have ended, or when it is smaller
 * - `transient`: the cluster said not now; nothing runs; try again later
 * - `ambiguous`: the answer was lost, garbled or a time-out: the batch may run; look its token up before doing anything
 */
export type SubmitFailure = 'refused' | 'limit' | 'transient' | 'ambiguous';

export class SubmitError extends Error {
  readonly failure: SubmitFailure;
  /** What the command printed, if anything. */
  readonly answer: string | null;
  constructor(failure: SubmitFailure, message: string, answer: string | null = null, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SubmitError';
    this.failure = failure;
    this.answer = answer;
  }
}

/** An attempt whose state is wanted. */
export interface TrackedAttempt {
  token: string;
  taskIndex: number;
  taskCount: number;
  /** Null while the answer to the submission is not known: found by token. */
  slurmJobId: string | null;
  jobDirectory: string;
  attemptNumber: number;
  submittedAt: Date;
  timeLimitMinutes: number | null;
  /** When this run was first seen to have started, or null. */
  startedAt: Date | null;
  /** How often its job was requeued before this run. */
  restart: number;
}

/** How a run ended before the scheduler put its job back into the queue. */
export type EarlierRun = Omit<Observation, 'token' | 'taskIndex' | 'slurmJobId' | 'estimatedStartAt' | 'earlierRuns'>;

/** What was seen of one attempt. Absence is not an observation. */
export interface Observation extends SeenAttempt {
  token: string;
  taskIndex: number;
  /** Runs of the same job before a requeue, oldest first; what is observed is the run after them. */
  earlierRuns: EarlierRun[];
}

/**
 * What waits or runs in the queue under a token of ours, but is none of the attempts that were asked about: its token is another one, or
 * the same under another id or another task index. Also what had ended, and has run and ended once more since.
 */
export interface Stranger {
  token: string;
  /** Id of the array or of the single job, without a task index. */
  slurmJobId: string;
  /** The array indexes meant; null for a job that is no array. */
  taskIndexes: number[] | null;
  state: AttemptState;
  /** When it was submitted or, after a requeue, put back into the queue. */
  submittedAt: Date | null;
  nodeList: string | null;
}

/** Jobs of the user that wait or run, array tasks singly, by what they ask for. */
export interface QueueCount extends LaneCount {
  /** The job name, where it has the form of our tokens; null for jobs submitted by hand. */
  token: string | null;
}

export interface ObservationReport {
  observations: Observation[];
  /** All of the user's jobs in the same listing; null where nothing is listed. */
  queueCounts: QueueCount[] | null;
  /** From the same listing of the queue as the observations; none where nothing is listed. */
  strangers: Stranger[];
  /** Rows that could not be understood (an unknown state word, ...), to be logged and shown, never guessed at. */
  problems: string[];
  /** Not all who could know of an attempt could be asked: that one is not mentioned then means nothing. */
  isIncomplete?: boolean;
  /** False on a site that keeps no accounts: how a job ended that has left the queue is then told by its exit record alone. */
  hasAccounting?: boolean;
}

export interface ClusterDescription {
  partitions: Partition[];
  /** Jobs of anybody (array tasks counted singly). */
  pendingJobCount: number;
  runningJobCount: number;
  /** SLURM's MaxArraySize: array indexes are 0 to this less 1. Null where there are no arrays to cut. */
  maxArraySize: number | null;
  /** SLURM's MaxJobCount: so many jobs of anybody, and those that ended in the last minutes, the controller keeps at once. Null where it does not say. */
  maxJobCount: number | null;
  schedulerVersion: string | null;
  /** Whether it keeps accounts of the jobs that have ended; null where it does not say, or there is no scheduler. */
  hasAccounting: boolean | null;
  /** For each of our jobs that waits for jobs of higher priority, by id: how many of its partition are before it. Empty where that cannot be known. */
  jobsAhead: ReadonlyMap<string, number>;
}

export interface Executor {
  /** Submits one batch with the script that was rendered and recorded for it. Throws SubmitError. */
  submit(batch: SubmittedBatch, script: string): Promise<Submitted>;
  /** The state of many attempts in O(1) commands; none are needed to see strangers. Throws TransportError when the cluster could not be asked. */
  observe(attempts: TrackedAttempt[]): Promise<ObservationReport>;
  /** Asks for an end; the state that follows is observed, not assumed. Unknown and ended ids are no error. */
  cancel(slurmJobIds: string[]): Promise<void>;
  /** The same for those that still wait when the cluster takes the order: what has started meanwhile goes on. */
  cancelWaiting(slurmJobIds: string[]): Promise<void>;
  /** Holds (or releases) pending jobs in the cluster's own queue. Ids that are no longer pending are no error. */
  setHeld(slurmJobIds: string[], held: boolean): Promise<void>;
  /** The newest job in the queue that goes by this name, also when it ended in the last minutes; null where there is none. */
  findByName(name: string): Promise<NamedJob | null>;
  /** The script of a submission, by the id of its array or single job, as the cluster keeps it; else why it cannot be had, in words. */
  readScript(slurmJobId: string): Promise<{ script: string } | { problem: string }>;
  /** Partitions and counts, asked live, and what the configuration of the cluster says, which is asked seldom. */
  describe(): Promise<ClusterDescription>;
  /** How many jobs the user may have, by accounting; null where there is none or it does not answer. */
  limits(): Promise<AccountingLimits | null>;
}

/** What an executor must know of a batch to submit it with the script that was made for it. */
export type SubmittedBatch = Pick<BatchSpec, 'token' | 'rootDirectory' | 'resources'> & { tasks: readonly object[] };

/** A job of the scheduler that runs none of our attempts, found by its name. */
export interface NamedJob {
  slurmJobId: string;
  state: AttemptState;
}

/** A named executor + transport + limits + paths. */
export interface Cluster {
  settings: ClusterSettings;
  executor: Executor;
  transport: Transport;
  /** How often each command of the scheduler (`squeue`, ...) was run since the cluster was opened. */
  commandCounts: ReadonlyMap<string, number>;
  /** Whether it is tried at all; its executor and its transport keep to it. */
  breaker: Breaker;
  /** How many commands of the scheduler are sent; its executor keeps to it. */
  budget: CommandBudget;
  close(): Promise<void>;
}
