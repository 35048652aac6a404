/** Queue to cluster: claims jobs by priority, writes batches down, submits them, writes down what came of it. */
import type { Logger } from 'pino';
import { SubmitError, type Cluster, type Submitted } from '../cluster/executor.ts';
import { TransportError } from '../cluster/transport.ts';
import type { Database, Transaction } from '../db/database.ts';
import { transact } from '../db/transaction.ts';
import { appendEvents } from '../db/write/events.ts';
import {
  claimQueuedJobs, countActiveJobs, failQueuedJob, markBatchRefused, markBatchSubmitted, recordBatch, returnBatchToQueue, type QueuedJob, type SubmittedTask,
} from '../db/write/dispatch.ts';
import type { BatchSpec } from '../domain/batch.ts';
import { planBatches, type BatchBounds } from '../domain/batching.ts';
import { UserError } from '../domain/errors.ts';
import type { NewEvent } from '../domain/events.ts';
import { attemptLogPaths } from '../domain/layout.ts';
import { renderBatchScript } from '../domain/script/batch-script.ts';
import { loggedError } from './logged-error.ts';
import { crashPoint } from './crash-point.ts';

/** Most jobs claimed in one go: bounds the transaction and the memory of the scripts. */
const CLAIM_LIMIT = 2_000;

export interface DispatchDependencies {
  database: Database;
  cluster: Cluster;
  /** Tokens of submissions whose answer this process is waiting for: not to be looked up meanwhile. */
  inFlight: Set<string>;
  /** The cluster's MaxArraySize, or null where there are no arrays. */
  maxArraySize: () => number | null;
  /** Whether nothing more is to be sent: the process ends, or another one may be the cluster's reconciler now. */
  isStopping: () => boolean;
  logger: Logger;
}

interface RecordedBatch {
  batchId: string;
  spec: BatchSpec;
  script: string;
}

/** Submits what fits. Answers the number of jobs handed over. Throws when the cluster could not take them now. */
export async function dispatchQueue(dependencies: DispatchDependencies): Promise<number> {
  let total = 0;
  while (!dependencies.isStopping()) {
    const recorded = await claim(dependencies);
    if (recorded.length === 0) break;
    try {
      total += await submitAll(dependencies, recorded);
    } finally {
      // Also of the batches that were not reached: whatever is still SUBMITTING is looked up from now on.
      for (const { spec } of recorded) dependencies.inFlight.delete(spec.token);
    }
  }
  return total;
}

async function claim(dependencies: DispatchDependencies): Promise<RecordedBatch[]> {
  const tokens: string[] = [];
  try {
    return await transact(dependencies.database, (transaction) => claimIn(transaction, dependencies, tokens));
  } catch (error) {
    // When only the answer to the commit was lost, they are recorded, and looked up like any batch whose answer was lost.
    for (const token of tokens) dependencies.inFlight.delete(token);
    throw error;
  }
}

async function claimIn(transaction: Transaction, { cluster, inFlight, maxArraySize }: DispatchDependencies, tokens: string[]): Promise<RecordedBatch[]> {
  const { settings } = cluster;
  const free = settings.maxActiveJobs - await countActiveJobs(transaction, settings.name);
  if (free <= 0) return [];
  const queued = await claimQueuedJobs(transaction, settings.name, Math.min(free, CLAIM_LIMIT));
  if (queued.length === 0) return [];
  const byJob = new Map(queued.map((job) => [job.jobId, job]));
  const recorded: RecordedBatch[] = [];
  const events: NewEvent[] = [];
  crashPoint('dispatch-before-record');
  const { batches, unfit } = planScripts(queued, { settings, maxArraySize: maxArraySize() });
  for (const { job, reason } of unfit) events.push(...await failQueuedJob(transaction, job.jobId, reason));
  for (const { spec, script } of batches) {
    const { batchId } = await recordBatch(transaction, settings.name, { token: spec.token, script, tasks: spec.tasks });
    inFlight.add(spec.token);
    tokens.push(spec.token);
    recorded.push({ batchId, spec, script });
    events.push(...spec.tasks.flatMap((task) => submittingEvents(byJob.get(task.jobId)!)));
  }
  await appendEvents(transaction, events);
  return recorded;
}

/** A job that no script can carry (the configuration may have changed since it was accepted) must not hold up the others. */
function planScripts(queued: QueuedJob[], bounds: BatchBounds): { batches: { spec: BatchSpec; script: string }[]; unfit: { job: QueuedJob; reason: string }[] } {
  const render = (jobs: QueuedJob[]) => planBatches(jobs, bounds).map((spec) => ({ spec, script: renderBatchScript(spec) }));
  try {
    return { batches: render(queued), unfit: [] };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
  }
  const unfit = queued.flatMap((job) => {
    try {
      render([job]);
      return [];
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      return [{ job, reason: error.message }];
    }
  });
  const unfitIds = new Set(unfit.map(({ job }) => job.jobId));
  return { batches: render(queued.filter((job) => !unfitIds.has(job.jobId))), unfit };
}

function submittingEvents(job: QueuedJob): NewEvent[] {
  const about = { experimentId: job.experimentId, sweepId: job.sweepId, jobId: job.jobId, attemptNumber: job.attemptNumber };
  return [
    { ...about, kind: 'ATTEMPT_STATE_CHANGED', payload: { from: null, to: 'SUBMITTING', reason: null, slurmJobId: null } },
    { ...about, kind: 'JOB_STATE_CHANGED', payload: { from: 'QUEUED', to: 'SUBMITTING', reason: null } },
  ];
}

/**
 * One after the other, in priority order. After a batch that the cluster would not take now, those that ask for the same
 * partition, account and qos are not even tried; after one that did not get through, none is.
 */
async function submitAll(dependencies: DispatchDependencies, recorded: RecordedBatch[]): Promise<number> {
  let submittedTasks = 0;
  let setback: Error | null = null;
  const turnedAway = new Map<string, Error>();
  for (const batch of recorded) {
    const { partition, account, qos } = batch.spec.resources;
    const door = JSON.stringify([partition, account, qos]);
    const why: string | null = (setback ?? turnedAway.get(door))?.message ?? (dependencies.isStopping() ? 'the server was stopped' : null);
    const failure: Error | null = why === null ? await submitOne(dependencies, batch) : null;
    if (why !== null) await store(dependencies, (transaction) => returnBatchToQueue(transaction, batch.batchId, why, null));
    else if (failure === null) submittedTasks += batch.spec.tasks.length;
    else if (isAnswer(failure)) turnedAway.set(door, failure);
    else setback = failure;
    dependencies.inFlight.delete(batch.spec.token);
  }
  for (const failure of [setback, ...turnedAway.values()]) if (failure !== null) throw failure;
  return submittedTasks;
}

/** Whether the cluster itself said "not now", which may hold for a partition or an account only. */
function isAnswer(failure: Error): boolean {
  return failure instanceof SubmitError && failure.failure === 'transient' && !(failure.cause instanceof TransportError);
}

/** Answers the error that tells to stop submitting for now, or null to go on. */
async function submitOne(dependencies: DispatchDependencies, { batchId, spec, script }: RecordedBatch): Promise<Error | null> {
  const { cluster, logger } = dependencies;
  const about = { batch: spec.token, tasks: spec.tasks.length };
  try {
    crashPoint('dispatch-after-record');
    const submitted = await cluster.executor.submit(spec, script);
    crashPoint('dispatch-after-sbatch');
    await store(dependencies, (transaction) => markBatchSubmitted(
      transaction, batchId, submitted.slurmJobId, submitted.answer, submittedTasks(cluster, spec, submitted)));
    crashPoint('dispatch-after-commit');
    logger.info({ ...about, slurmJobId: submitted.slurmJobId }, 'batch submitted');
    return null;
  } catch (error) {
    const failure = failureOf(error);
    if (failure === null) throw error;
    const { message } = error as Error;
    logger.warn({ ...about, failure, ...loggedError(error) }, 'batch not submitted');
    const answer = error instanceof SubmitError ? error.answer : null;
    if (failure === 'refused') {
      await store(dependencies, (transaction) => markBatchRefused(transaction, batchId, message, answer));
      return null;
    }
    if (failure === 'transient') await store(dependencies, (transaction) => returnBatchToQueue(transaction, batchId, message, answer));
    return error as Error;
  }
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
