/** Writes a submission down: the experiment, the sweep, the jobs that are new, and the events that tell of them. */
import { jobsByFingerprint, type ExistingJob } from '../db/read/fingerprints.ts';
import type { Transaction } from '../db/database.ts';
import { deleteEmptySweep, insertExperiment, insertSweep, joinExperiment, setSweepJobCount } from '../db/write/experiments.ts';
import { insertNewJobs, insertRepeatedJobs, type NewJob } from '../db/write/submissions.ts';
import type { NewEvent } from '../domain/events.ts';
import { refuseOtherObjective } from './input-faults.ts';
import { duplicateOf, refuseDuplicates, splitRepeats } from './duplicates.ts';
import type { SubmissionPlan } from './plan-submission.ts';
import type { DuplicateJob, PlannedJob, SubmissionAnswer } from './submission.ts';

/** What was written, and the events that still have to be appended, as the transaction's last statement. */
export interface CarriedOut {
  answer: SubmissionAnswer;
  events: NewEvent[];
}

export async function carryOutPlan(transaction: Transaction, plan: SubmissionPlan): Promise<CarriedOut> {
  const { experimentId, created } = await findOrMakeExperiment(transaction, plan);
  const newSweepId = plan.sweep === null ? null : await insertSweep(transaction, { experimentId, ...plan.sweep });
  const { inserted, duplicates, existing } = await insertPlannedJobs(transaction, plan, experimentId, newSweepId);
  if (plan.onDuplicate === 'ERROR') refuseDuplicates(duplicates, plan.sweep === null ? 'config' : 'space');
  const sweepId = await settleSweep(transaction, newSweepId, inserted.length, existing);
  const about = { experimentId, sweepId, jobId: null, attemptNumber: null };
  const events: NewEvent[] = [];
  if (created) events.push({ ...about, sweepId: null, kind: 'EXPERIMENT_CREATED', payload: {} });
  if (newSweepId !== null && inserted.length > 0) events.push({ ...about, kind: 'SWEEP_CREATED', payload: { jobCount: inserted.length } });
  for (const { jobId } of inserted) {
    events.push({ ...about, jobId, kind: 'JOB_STATE_CHANGED', payload: { from: null, to: plan.shared.state, reason: null } });
  }
  return { answer: { experimentId, sweepId, jobs: inserted.map(plannedJob), duplicates, scripts: [], dryRun: false }, events };
}

export function plannedJob({ jobId, name, config, tags, priority, fingerprint, storagePath }: NewJob): PlannedJob {
  return { jobId, name, config, tags, priority, fingerprint, storagePath };
}

async function findOrMakeExperiment(transaction: Transaction, plan: SubmissionPlan): Promise<{ experimentId: string; created: boolean }> {
  const { project, experiment: name, objective } = plan;
  const made = await insertExperiment(transaction, { project, name, description: null, tags: [], objective });
  if (made !== null) return { experimentId: made, created: true };
  const { experimentId, had } = await joinExperiment(transaction, project, name, objective);
  refuseOtherObjective(had, objective);
  return { experimentId, created: false };
}

async function insertPlannedJobs(
  transaction: Transaction, plan: SubmissionPlan, experimentId: string, sweepId: string | null,
): Promise<{ inserted: NewJob[]; duplicates: DuplicateJob[]; existing: ExistingJob[] }> {
  const shared = { ...plan.shared, experimentId, sweepId };
  if (plan.onDuplicate === 'RUN_AGAIN') {
    await insertRepeatedJobs(transaction, shared, plan.jobs);
    return { inserted: plan.jobs, duplicates: [], existing: [] };
  }
  const { firsts, repeats } = splitRepeats(plan.jobs);
  const ids = await insertNewJobs(transaction, shared, firsts);
  const inserted = firsts.filter((job) => ids.has(job.jobId));
  const known = firsts.filter((job) => !ids.has(job.jobId));
  const existing = await jobsByFingerprint(transaction, experimentId, known.map((job) => job.fingerprint));
  const duplicates = [...known, ...repeats].map((job) => duplicateOf(job, existing.get(job.fingerprint)));
  return { inserted, duplicates, existing: [...existing.values()] };
}

/**
 * A sweep without new jobs is not kept: the same sweep again leads to the one it repeats. Answers the sweep to speak of.
 */
async function settleSweep(transaction: Transaction, newSweepId: string | null, jobCount: number, existing: ExistingJob[]): Promise<string | null> {
  if (newSweepId === null) return null;
  if (jobCount > 0) {
    await setSweepJobCount(transaction, newSweepId, jobCount);
    return newSweepId;
  }
  await deleteEmptySweep(transaction, newSweepId);
  const [first, ...others] = new Set(existing.map((job) => job.sweepId));
  return others.length === 0 ? first ?? null : null;
}

