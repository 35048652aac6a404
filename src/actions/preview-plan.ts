/** What a submission would do, without doing it. */
import { experimentIdByName, jobsByFingerprint } from '../db/read/fingerprints.ts';
import { experimentsById } from '../db/read/experiments.ts';
import { planBatches } from '../domain/batching.ts';
import { renderBatchScript } from '../domain/script/batch-script.ts';
import type { ActionContext } from './action-context.ts';
import { plannedJob } from './carry-out-plan.ts';
import { duplicateOf, refuseDuplicates, splitRepeats } from './duplicates.ts';
import { refuseOtherObjective } from './input-faults.ts';
import { firstTask, type SubmissionPlan } from './plan-submission.ts';
import type { RenderedScript, SubmissionAnswer } from './submission.ts';

/** A job id for a job that has none, as long as a real one: scripts then have the size they will have. */
export function placeholderJobId(index: number): string {
  return `00000000-0000-7000-8000-${String(index).padStart(12, '0')}`;
}

/** Expects a plan whose jobs have placeholder ids. Throws UserError like the submission would. */
export async function previewPlan(context: ActionContext, plan: SubmissionPlan): Promise<SubmissionAnswer> {
  const experimentId = await experimentIdByName(context.database, plan.project, plan.experiment);
  const [experiment = null] = experimentId === null ? [] : await experimentsById(context.database, [experimentId]);
  if (experiment?.objectiveMetric && experiment.objectiveGoal) refuseOtherObjective({ metric: experiment.objectiveMetric, goal: experiment.objectiveGoal }, plan.objective);
  const { firsts, repeats } = splitRepeats(plan.jobs);
  const again = plan.onDuplicate === 'RUN_AGAIN';
  const existing = again || experimentId === null ? new Map<string, never>()
    : await jobsByFingerprint(context.database, experimentId, firsts.map((job) => job.fingerprint));
  const known = firsts.filter((job) => existing.has(job.fingerprint));
  const duplicates = again ? [] : [...known, ...repeats].map((job) => duplicateOf(job, existing.get(job.fingerprint)));
  if (plan.onDuplicate === 'ERROR') refuseDuplicates(duplicates, plan.sweep === null ? 'config' : 'space');
  const jobs = again ? plan.jobs : firsts.filter((job) => !existing.has(job.fingerprint));
  const scripts = await renderScripts(context, { ...plan, jobs });
  return { experimentId, sweepId: null, jobs: jobs.map((job) => ({ ...plannedJob(job), jobId: null })), duplicates, scripts, dryRun: true };
}

/** The scripts in the order in which they would be submitted to a cluster with nothing else in its queue. */
async function renderScripts(context: ActionContext, plan: SubmissionPlan): Promise<RenderedScript[]> {
  const queue = [...plan.jobs].sort((a, b) => b.priority - a.priority).map((job) => firstTask(plan, job));
  const maxArraySize = await context.maxArraySizeOf(plan.settings.name);
  return planBatches(queue, { settings: plan.settings, maxArraySize }).map((batch, index) => {
    const token = batch.token.replace(/^eg-[^-]+/, `eg-dryrun${String(index + 1).padStart(4, '0')}`);
    return { cluster: plan.settings.name, script: renderBatchScript({ ...batch, token }), taskCount: batch.tasks.length };
  });
}
