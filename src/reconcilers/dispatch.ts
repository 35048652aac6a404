/** Queue to cluster: claims jobs by priority, writes batches down, submits them, writes down what came of it. */
import type { Logger } from 'pino';
import { SubmitError, type Cluster, type Submitted } from '../cluster/executor.ts';
import { TransportError } from '../cluster/transport.ts';
import type { Transaction } from '../db/database.ts';
import { transact } from '../db/transaction.ts';
import { appendEvents } from '../db/write/events.ts';
import { markBatchRefused, markBatchSubmitted, returnBatchToQueue, type SubmittedTask } from '../db/write/dispatch.ts';
import type { BatchSpec } from '../domain/batch.ts';
import type { NewEvent } from '../domain/events.ts';
import { attemptLogPaths } from '../domain/layout.ts';
import type { QueueWait } from '../domain/queue-wait.ts';
import { laneKey, type LaneCount } from '../domain/submit-lane.ts';
import { claimNext, type Claim, type ClaimDependencies, type RecordedBatch } from './claim.ts';
import { loggedError } from './logged-error.ts';
import { crashPoint } from './crash-point.ts';

export interface DispatchDependencies extends ClaimDependencies {
  /** Whether nothing more is to be sent: the process ends, or another one may be the cluster's reconciler now. */
  isStopping: () => boolean;
  /** Told of each batch that was handed over: its jobs may start before the next one is. */
  onTaken?: () => void;
  logger: Logger;
}

export interface Dispatched {
  /** Jobs that were handed over. */
  count: number;
  /** Why the rest of the queue has to wait. */
  waits: QueueWait[];
}

/** Submits what fits. Throws when submissions do not get through to the cluster; what it does not take for now waits in the queue. */
export async function dispatchQueue(dependencies: DispatchDependencies): Promise<Dispatched> {
  const dispatched: Dispatched = { count: 0, waits: [] };
  while (!dependencies.isStopping()) {
    const claim = await claimNext(dependencies);
    dispatched.waits = claim.waits;
    if (claim.batches.length === 0) break;
    try {
      dispatched.count += await submitAll(dependencies, claim);
    } finally {
      // Also of the batches that were not reached: whatever is still SUBMITTING is looked up from now on.
      for (const { spec } of claim.batches) dependencies.inFlight.delete(spec.token);
    }
  }
  return dispatched;
}

/**
 * One after the other, in priority order. After a batch that the cluster would not take now, the others of its lane are not even tried and
 * wait for the next claim; after one that did not get through, none is.
 */
async function submitAll(dependencies: DispatchDependencies, { batches, present }: Claim): Promise<number> {
  let submittedTasks = 0;
  let setback: Error | null = null;
  const there = [...present];
  const turnedAway = new Map<string, string>();
  for (const batch of batches) {
    const lane = laneKey(batch.spec.resources);
    const why: string | null = setback?.message ?? turnedAway.get(lane) ?? (dependencies.isStopping() ? 'the server was stopped' : null);
    if (why !== null) {
      await store(dependencies, (transaction) => returnBatchToQueue(transaction, batch.batchId, why, null));
    } else {
      const outcome = await submitOne(dependencies, batch, there);
      if (outcome.kind === 'turned away') turnedAway.set(lane, outcome.why);
      if (outcome.kind === 'setback') setback = outcome.error;
      if (outcome.kind === 'taken') submittedTasks += batch.spec.tasks.length;
    }
    dependencies.inFlight.delete(batch.spec.token);
  }
  if (setback !== null) throw setback;
  return submittedTasks;
}

/** `turned away`: the cluster itself takes none of this lane now. `setback`: nobody knows whether it takes any. */
type Outcome = { kind: 'taken' | 'refused' } | { kind: 'turned away'; why: string } | { kind: 'setback'; error: Error };

/** @param there our jobs on the cluster; those that are taken are added */
async function submitOne(dependencies: DispatchDependencies, batch: RecordedBatch, there: LaneCount[]): Promise<Outcome> {
  const { cluster, room, logger } = dependencies;
  const { batchId, spec, script } = batch;
  const { partition, account, qos } = spec.resources;
  const about = { batch: spec.token, tasks: spec.tasks.length };
  try {
    crashPoint('dispatch-after-record');
    const submitted = await cluster.executor.submit(spec, script);
    crashPoint('dispatch-after-sbatch');
    await store(dependencies, (transaction) => markBatchSubmitted(
      transaction, batchId, submitted.slurmJobId, submitted.answer, submittedTasks(cluster, spec, submitted)));
    crashPoint('dispatch-after-commit');
    logger.info({ ...about, slurmJobId: submitted.slurmJobId }, 'batch submitted');
    there.push({ partition, account, qos, count: spec.tasks.length });
    room.noteTaken(spec.resources, there);
    dependencies.onTaken?.();
    return { kind: 'taken' };
  } catch (error) {
    const failure = failureOf(error);
    if (failure === null) throw error;
    logger.warn({ ...about, failure, ...loggedError(error) }, 'batch not submitted');
    return settle(dependencies, batch, there, { failure, error: error as Error });
  }
}

/** What becomes of a batch that was not taken. One whose answer was lost is left as it is, to be looked up. */
async function settle(
  dependencies: DispatchDependencies, { batchId, spec }: RecordedBatch, there: LaneCount[], { failure, error }: { failure: SubmitError['failure']; error: Error },
): Promise<Outcome> {
  const { room } = dependencies;
  const lane = laneKey(spec.resources);
  const { message } = error;
  const answer = error instanceof SubmitError ? error.answer : null;
  const isTooMany = failure === 'limit' && room.noteTooMany(spec.resources, there, { asked: spec.tasks.length, words: message });
  if (failure === 'refused' || (failure === 'limit' && !isTooMany)) {
    await store(dependencies, (transaction) => markBatchRefused(transaction, batchId, message, answer));
    return { kind: 'refused' };
  }
  if (failure === 'ambiguous') return { kind: 'setback', error };
  await store(dependencies, (transaction) => returnBatchToQueue(transaction, batchId, message, answer));
  if (isTooMany) return { kind: 'turned away', why: message };
  // The cluster itself said "not now", which may hold for a partition or an account only.
  if (!isSetback(dependencies, error)) {
    room.noteNotNow(lane, message);
    return { kind: 'turned away', why: message };
  }
  return { kind: 'setback', error };
}

/** Whether the failure is one of reaching the cluster or its controller, which is the breaker's to judge. */
function isSetback({ cluster }: DispatchDependencies, error: Error): boolean {
  return !(error instanceof SubmitError) || error.cause instanceof TransportError || cluster.breaker.status().failureCount > 0;
}

function failureOf(error: unknown): SubmitError['failure'] | null {
  if (error instanceof SubmitError) return error.failure;
  if (error instanceof TransportError) return error.failure === 'interrupted' ? 'ambiguous' : 'transient';
  return null;
}

function submittedTasks(cluster: Cluster, spec: BatchSpec, submitted: Submitted): SubmittedTask[] {
  return submitted.taskSlurmJobIds.map((slurmJobId, taskIndex) => submittedTask(cluster, spec.token, slurmJobId, taskIndex));
}

/** A task as the cluster knows it, with the paths of its log files. */
export function submittedTask({ settings }: Cluster, token: string, slurmJobId: string, taskIndex: number): SubmittedTask {
  const { stdout, stderr } = attemptLogPaths(settings.rootDirectory, token, slurmJobId, taskIndex);
  return { taskIndex, slurmJobId, stdoutPath: stdout, stderrPath: stderr };
}

type Store = (transaction: Transaction) => Promise<NewEvent[]>;

async function store({ database }: DispatchDependencies, write: Store): Promise<void> {
  await transact(database, async (transaction) => appendEvents(transaction, await write(transaction)));
}
