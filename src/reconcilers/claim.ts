/** What leaves the queue next: the jobs of highest priority among those that the cluster takes now, cut into batches and written down. */
import type { Cluster } from '../cluster/executor.ts';
import type { Database, Transaction } from '../db/database.ts';
import { transact } from '../db/transaction.ts';
import { appendEvents } from '../db/write/events.ts';
import { claimQueuedJobs, countActiveJobs, failQueuedJob, readNextQueued, readQueuedLanes, recordBatch, type QueuedJob } from '../db/write/dispatch.ts';
import type { BatchSpec } from '../domain/batch.ts';
import { planBatches, type BatchBounds } from '../domain/batching.ts';
import { UserError } from '../domain/errors.ts';
import type { NewEvent } from '../domain/events.ts';
import type { QueueWait } from '../domain/queue-wait.ts';
import { renderBatchScript } from '../domain/script/batch-script.ts';
import type { LaneCount } from '../domain/submit-lane.ts';
import { crashPoint } from './crash-point.ts';
import type { SubmitRoom } from './submit-room.ts';

/** Most jobs claimed in one go: bounds the transaction and the memory of the scripts. */
const CLAIM_LIMIT = 2_000;

export interface ClaimDependencies {
  database: Database;
  cluster: Cluster;
  room: SubmitRoom;
  /** Tokens of submissions whose answer this process is waiting for: not to be looked up meanwhile. */
  inFlight: Set<string>;
  /** The cluster's MaxArraySize, or null where there are no arrays. */
  maxArraySize: () => number | null;
}

export interface RecordedBatch {
  batchId: string;
  spec: BatchSpec;
  script: string;
}

export interface Claim {
  batches: RecordedBatch[];
  /** Our jobs on the cluster before these. */
  present: LaneCount[];
  /** Why the jobs that are left have to wait. */
  waits: QueueWait[];
}

export async function claimNext(dependencies: ClaimDependencies): Promise<Claim> {
  const tokens: string[] = [];
  try {
    return await transact(dependencies.database, (transaction) => claimIn(transaction, dependencies, tokens));
  } catch (error) {
    // When only the answer to the commit was lost, they are recorded, and looked up like any batch whose answer was lost.
    for (const token of tokens) dependencies.inFlight.delete(token);
    throw error;
  }
}

async function claimIn(transaction: Transaction, { cluster, room, inFlight, maxArraySize }: ClaimDependencies, tokens: string[]): Promise<Claim> {
  const { settings } = cluster;
  const present = await countActiveJobs(transaction, settings.name);
  const lanes = await readQueuedLanes(transaction, settings.name);
  const now = room.now(present, settings.maxActiveJobs);
  const open = lanes.map((lane) => ({ lane, most: Math.min(CLAIM_LIMIT, now.of(lane)), except: room.aside(lane) })).filter(({ most }) => most > 0);
  const next = await readNextQueued(transaction, settings.name, open);
  const found = new Set(next.map(({ lane }) => lane));
  for (const { lane } of open) if (!found.has(lane)) room.noteNoOther(lane);
  const chosen: string[] = [];
  for (const { jobId, lane } of next) if (chosen.length < CLAIM_LIMIT && now.take(lane)) chosen.push(jobId);
  const claim: Claim = { batches: [], present, waits: now.waits(lanes) };
  const queued = chosen.length === 0 ? [] : await claimQueuedJobs(transaction, settings.name, chosen);
  if (queued.length === 0) return claim;
  const byJob = new Map(queued.map((job) => [job.jobId, job]));
  const events: NewEvent[] = [];
  crashPoint('dispatch-before-record');
  const { batches, unfit } = planScripts(queued, { settings, maxArraySize: maxArraySize() });
  for (const { job, reason } of unfit) events.push(...await failQueuedJob(transaction, job.jobId, reason));
  for (const { spec, script } of batches) {
    const { batchId } = await recordBatch(transaction, settings.name, { token: spec.token, script, tasks: spec.tasks });
    inFlight.add(spec.token);
    room.noteHandedOver(spec.token);
    tokens.push(spec.token);
    claim.batches.push({ batchId, spec, script });
    events.push(...spec.tasks.flatMap((task) => submittingEvents(byJob.get(task.jobId)!)));
  }
  await appendEvents(transaction, events);
  return claim;
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
