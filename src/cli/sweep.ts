/** The demo's sweep: submitting it and watching it to its end. */
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { GraphqlClient } from './graphql-client.ts';
import type { ProgressDisplay, SweepProgress } from './progress-display.ts';

export const TRAINER = join(import.meta.dirname, '..', '..', 'examples', 'train.py');
export const EXPERIMENT = { project: 'demo', name: 'three-rings' };
export const METRIC = 'val/loss';
/** Jobs that are alike in these differ in their seed only. */
export const GROUP_BY = ['optim.lr', 'model.hidden'];

/** A running job is sent a signal at the next look at the cluster, a second or two later. */
const CANCEL_TIMEOUT_MS = 10_000;

const SPACE = {
  base: { train: { epochs: 12 } },
  grid: [{ key: 'optim.lr', values: [0.003, 0.03, 0.3, 3] }, { key: 'model.hidden', values: [4, 16] }],
  seeds: { values: [0, 1, 2] },
};

const SUBMIT = `mutation SubmitSweep($input: SubmitSweepInput!) {
  submitSweep(input: $input) { sweep { id } jobs { jobId } userErrors { field message code } }
}`;

const CANCEL = `mutation CancelJobs($input: CancelJobsInput!) { cancelJobs(input: $input) { userErrors { message } } }`;

const PROGRESS = `subscription SweepProgress($sweepId: ID!) {
  sweepProgress(sweepId: $sweepId) { total done states { state count } jobsPerHour etaSeconds }
}`;

const EVENTS = `subscription JobEvents($filter: JobEventFilter) { jobEvents(filter: $filter) { toState reason job { name } } }`;

interface JobEvent {
  toState: string;
  reason: string | null;
  job: { name: string } | null;
}

/** Submits the sweep; the most promising learning rate goes first. */
export async function submitSweep(client: GraphqlClient): Promise<{ sweepId: string; jobCount: number }> {
  const input = {
    project: EXPERIMENT.project, experiment: EXPERIMENT.name, name: 'learning rate x size',
    command: ['python3', TRAINER, '{overrides}'],
    space: SPACE,
    tagKeys: ['model.hidden'],
    priorityRules: [{ key: 'optim.lr', equals: 0.03, priority: 200 }, { key: 'optim.lr', gt: 1, priority: 50 }],
    objective: { metric: METRIC, goal: 'MIN' },
  };
  type Payload = { sweep: { id: string } | null; jobs: unknown[]; userErrors: { field: string[]; message: string }[] };
  const { submitSweep: { sweep, jobs, userErrors } } = await client.request<{ submitSweep: Payload }>(SUBMIT, { input });
  if (sweep === null) throw new Error(`the sweep was refused: ${userErrors.map(({ field, message }) => `${field.join('.')}: ${message}`).join('; ')}`);
  return { sweepId: sweep.id, jobCount: jobs.length };
}

/** Cancels what has not ended and waits, for a bounded time, until the server has seen it end. */
export async function cancelSweep(client: GraphqlClient, sweepId: string): Promise<void> {
  await client.request(CANCEL, { input: { filter: { sweepIds: [sweepId] } } });
  await Promise.race([lastProgress(client, sweepId, () => {}), setTimeout(CANCEL_TIMEOUT_MS, undefined, { ref: false })]);
}

/** Shows progress and events, as the subscriptions tell them, until every job has ended. Answers the last progress. */
export async function watchSweep(client: GraphqlClient, sweepId: string, display: ProgressDisplay): Promise<SweepProgress> {
  const failingEvents = noteEvents(client, sweepId, display).then(() => { throw new Error('the events ended before the sweep did'); });
  return Promise.race([lastProgress(client, sweepId, (progress) => display.update(progress)), failingEvents]);
}

async function lastProgress(client: GraphqlClient, sweepId: string, show: (progress: SweepProgress) => void): Promise<SweepProgress> {
  for await (const { sweepProgress } of client.subscribe<{ sweepProgress: SweepProgress }>(PROGRESS, { sweepId })) {
    show(sweepProgress);
    if (sweepProgress.done === sweepProgress.total) return sweepProgress;
  }
  throw new Error('the progress ended before the sweep did');
}

async function noteEvents(client: GraphqlClient, sweepId: string, display: ProgressDisplay): Promise<void> {
  const filter = { sweepIds: [sweepId], kinds: ['JOB_STATE_CHANGED'] };
  for await (const { jobEvents: { toState, reason, job } } of client.subscribe<{ jobEvents: JobEvent }>(EVENTS, { filter })) {
    display.note(`${job?.name} ${toState}${reason === null ? '' : ` (${reason})`}`);
  }
}
