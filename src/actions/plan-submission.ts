/** Turns a submission into the jobs it asks for, or into all of its faults. Reads what it needs, writes nothing. */
import { randomInt } from 'node:crypto';
import type { NewJob, SharedJobFields } from '../db/write/submissions.ts';
import type { NewSweep } from '../db/write/experiments.ts';
import type { ClusterSettings } from '../domain/cluster-settings.ts';
import { configTag } from '../domain/config-tag.ts';
import { configLeaves, getDotted, isJsonObject, nestDottedKeys, dottedKeyProblem, validateConfig } from '../domain/config-values.ts';
import { UserError, type UserFault } from '../domain/errors.ts';
import { fingerprint } from '../domain/fingerprint.ts';
import { jobNames } from '../domain/job-name.ts';
import { PRIORITY_DEFAULT, type JobIdentity, type JsonObject, type Objective } from '../domain/job-spec.ts';
import { jobDirectory } from '../domain/layout.ts';
import { priorityFor, priorityProblem, validatePriorityRules } from '../domain/priority-rule.ts';
import { completeRetryPolicy, validateRetryPolicy } from '../domain/retry-policy.ts';
import { mergeResources, validateResources } from '../domain/resources.ts';
import { MAX_SCRIPT_BYTES, taskScriptBytes } from '../domain/script/batch-script.ts';
import { expandSweep, sweepStrategy, withRecordedSeed } from '../domain/sweep.ts';
import { validateSweepSpace } from '../domain/sweep-faults.ts';
import { nearestWords } from '../domain/nearest-words.ts';
import { validateTemplate } from '../domain/template.ts';
import type { ActionContext } from './action-context.ts';
import { badInput, idempotencyKeyFaults, nameFaults, objectiveFaults, tagFaults, throwFaults } from './input-faults.ts';
import { partitionFaults, partitionsOf } from './partition-faults.ts';
import { inStoredOrder } from './stored-order.ts';
import type { JobTemplateInput, OnDuplicate, SubmitJobInput, SubmitSweepInput } from './submission.ts';

/** Random draws without a seed get one from this range, which is recorded. */
const MAX_FRESH_SEED = 2 ** 32;

export interface SubmissionPlan {
  project: string;
  experiment: string;
  objective: Objective | null;
  settings: ClusterSettings;
  shared: Omit<SharedJobFields, 'experimentId' | 'sweepId'>;
  sweep: Omit<NewSweep, 'experimentId'> | null;
  onDuplicate: OnDuplicate;
  jobs: NewJob[];
}

/** A job before it has a place. */
interface Draft {
  name: string;
  config: JsonObject;
  tags: string[];
  priority: number;
}

/** Makes the id of the job at a place in the submission. */
export type MakeJobId = (index: number) => string;

/** Throws UserError with every fault of the input. */
export async function planJob(context: ActionContext, input: SubmitJobInput, makeJobId: MakeJobId): Promise<SubmissionPlan> {
  const target = await checkTemplate(context, input);
  const configFaults = validateConfig(input.config, ['config'], context.limits);
  const faults = [...target.faults, ...configFaults];
  if (typeof input.name === 'string') faults.push(...nameFaults(input.name, ['name']));
  if (configFaults.length > 0) throwFaults(faults);
  const config = inStoredOrder(nestDottedKeys(input.config));
  const [madeName = input.experiment] = jobNames([{ axes: configLeaves(config) }], input.experiment);
  const draft = { name: input.name ?? madeName, config, tags: unique(input.tags ?? []), priority: input.priority ?? PRIORITY_DEFAULT };
  return makePlan(input, target, faults, [draft], null, makeJobId);
}

/** Throws UserError with every fault of the input; a space that is too large is refused before it is expanded. */
export async function planSweep(context: ActionContext, input: SubmitSweepInput, makeJobId: MakeJobId): Promise<SubmissionPlan> {
  const target = await checkTemplate(context, input);
  const spaceFaults = validateSweepSpace(input.space, context.limits);
  const rules = input.priorityRules ?? [];
  const faults = [
    ...target.faults, ...nameFaults(input.name, ['name']), ...spaceFaults, ...validatePriorityRules(rules, context.limits),
    ...(input.tagKeys ?? []).flatMap((key, index) => problemFaults(dottedKeyProblem(key), ['tagKeys', String(index)])),
  ];
  if (spaceFaults.length > 0) throwFaults(faults);
  const space = withRecordedSeed(input.space, randomInt(MAX_FRESH_SEED));
  const expanded = expandSweep(space);
  const names = jobNames(expanded, input.name);
  const drafts = expanded.map((job, index): Draft => {
    const config = inStoredOrder(job.config);
    return {
      name: names[index] ?? input.name, config, tags: unique([...(input.tags ?? []), ...keyTags(config, input.tagKeys ?? [])]),
      priority: priorityFor(config, rules, input.priority ?? PRIORITY_DEFAULT),
    };
  });
  const jobFaults = [
    ...unusedKeys(drafts, input.tagKeys ?? [], (index) => ['tagKeys', String(index)]),
    ...unusedKeys(drafts, rules.map((rule) => rule.key), (index) => ['priorityRules', String(index), 'key']),
    ...drafts.flatMap((draft) => tagFaults(draft.tags, ['tags'])),
  ];
  const sweep = { name: input.name, space: plainJson(space), strategy: sweepStrategy(space) };
  return makePlan(input, target, [...faults, ...jobFaults], drafts, sweep, makeJobId);
}

interface Target {
  settings: ClusterSettings | null;
  resources: SharedJobFields['resources'];
  submittedBy: string;
  faults: UserFault[];
}

async function checkTemplate(context: ActionContext, input: JobTemplateInput): Promise<Target> {
  const name = input.cluster ?? context.defaultCluster;
  const settings = context.clusters.get(name) ?? null;
  const resources = mergeResources(input.resources ?? {}, settings?.defaultResources ?? {});
  const resourceFaults = validateResources(resources);
  const faults = [
    ...nameFaults(input.project, ['project']),
    ...nameFaults(input.experiment, ['experiment']),
    ...(settings === null ? [badInput(['cluster'], `there is no cluster "${name}"; there are ${[...context.clusters.keys()].join(', ')}`)] : []),
    ...resourceFaults,
    ...(resourceFaults.length === 0 && settings !== null ? partitionFaults(resources, await partitionsOf(context, name)) : []),
    ...tagFaults(input.tags ?? [], ['tags']),
    ...problemFaults(priorityProblem(input.priority ?? PRIORITY_DEFAULT), ['priority']),
    ...objectiveFaults(input.objective, ['objective']),
    ...validateRetryPolicy(input.retryPolicy ?? [], ['retryPolicy']),
    ...idempotencyKeyFaults(input.idempotencyKey),
  ];
  return { settings, resources, submittedBy: context.tokenName, faults };
}

function makePlan(
  input: JobTemplateInput, target: Target, faults: UserFault[], drafts: Draft[], sweep: SubmissionPlan['sweep'], makeJobId: MakeJobId,
): SubmissionPlan {
  const shared = {
    cluster: target.settings?.name ?? '', state: input.held === true ? 'HELD' as const : 'QUEUED' as const, command: input.command,
    environment: input.environment ?? {}, workingDirectory: input.workingDirectory ?? null, codeVersion: input.codeVersion ?? null,
    resources: target.resources, retryPolicy: input.retryPolicy ? completeRetryPolicy(input.retryPolicy) : null, submittedBy: target.submittedBy,
  };
  const { settings } = target;
  const templateFaults = drafts.flatMap((draft) => validateTemplate(identityOf(shared, draft.config)));
  throwFaults([...faults, ...templateFaults]);
  if (settings === null) throw new Error('a missing cluster is a fault');
  const jobs = drafts.map((draft, index): NewJob => {
    const jobId = makeJobId(index);
    return {
      jobId, ...draft, fingerprint: fingerprint(identityOf(shared, draft.config)),
      storagePath: jobDirectory(settings.rootDirectory, input.project, input.experiment, jobId),
    };
  });
  const plan = {
    project: input.project, experiment: input.experiment, objective: input.objective ?? null, settings, shared, sweep,
    onDuplicate: input.onDuplicate ?? 'SKIP' as const, jobs,
  };
  throwFaults(jobs.flatMap((job) => scriptFaults(plan, job)));
  return plan;
}

/** What makes a job of this plan the run it is. */
function identityOf(shared: SubmissionPlan['shared'], config: JsonObject): JobIdentity {
  const { command, environment, workingDirectory, codeVersion } = shared;
  return { command, config, environment, workingDirectory, codeVersion };
}

/** A job of this plan as the queue will hand it out the first time. */
export function firstTask(plan: SubmissionPlan, job: NewJob) {
  return {
    jobId: job.jobId, attemptNumber: 1, jobName: job.name, project: plan.project, experiment: plan.experiment, jobDirectory: job.storagePath,
    identity: identityOf(plan.shared, job.config), resumeCheckpointPath: null, resources: plan.shared.resources,
    tags: job.tags, priority: job.priority,
  };
}

function scriptFaults(plan: SubmissionPlan, job: NewJob): UserFault[] {
  try {
    const bytes = taskScriptBytes(firstTask(plan, job));
    if (bytes <= MAX_SCRIPT_BYTES) return [];
    const message = `a job comes to ${bytes} bytes of script; the limit is ${MAX_SCRIPT_BYTES}. Put large values in a file and its path here`;
    return [{ field: [plan.sweep === null ? 'config' : 'space'], message, code: 'LIMIT_EXCEEDED' }];
  } catch (error) {
    if (error instanceof UserError) return error.faults;
    throw error;
  }
}

function keyTags(config: JsonObject, keys: readonly string[]): string[] {
  return keys.flatMap((key) => {
    const value = getDotted(config, key);
    return value === undefined ? [] : [configTag(key, value)];
  });
}

/** Keys that no job has, which would do nothing. */
function unusedKeys(drafts: readonly Draft[], keys: readonly string[], fieldOf: (index: number) => string[]): UserFault[] {
  const known = configLeaves(drafts[0]?.config ?? {}).map((leaf) => leaf.key);
  return keys.flatMap((key, index) => {
    if (drafts.some((draft) => getDotted(draft.config, key) !== undefined)) return [];
    const near = nearestWords(key, known);
    return [badInput(fieldOf(index), `no job has a config value "${key}"; ${near.length > 0 ? `did you mean ${near.join(' or ')}?` : `there are ${known.join(', ')}`}`)];
  });
}


function problemFaults(problem: string | null, field: string[]): UserFault[] {
  return problem === null ? [] : [badInput(field, problem)];
}

function unique(tags: readonly string[]): string[] {
  return [...new Set(tags)];
}

/** The space as it is stored: without what is absent. */
function plainJson(space: SubmitSweepInput['space']): JsonObject {
  const value: unknown = JSON.parse(JSON.stringify(space));
  if (!isJsonObject(value)) throw new Error('a space is an object');
  return value;
}
