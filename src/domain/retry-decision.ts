/** Whether and how a failed job is tried again: the decision, as a pure function of the job, its failure and the policy. */
import { tagsAfterChange } from './config-tag.ts';
import { configLeaves, getDotted, setDotted, blockedAt } from './config-values.ts';
import type { FailureClass } from './diagnosis/failure-class.ts';
import { canonicalJson } from './fingerprint.ts';
import { PRIORITY_MAX, PRIORITY_MIN, type Json, type JsonObject, type Resources } from './job-spec.ts';
import { MAX_BACKOFF_SECONDS, type ConfigChange, type RetryPolicy, type RetryRule } from './retry-policy.ts';

/** How many automatic retries a job and those it came from have behind them, by class. */
export type RetryCounts = Partial<Record<FailureClass, number>>;

export interface FailedJob {
  config: JsonObject;
  resources: Resources;
  priority: number;
  tags: readonly string[];
  retryCounts: RetryCounts;
  /** Where the failed attempt ran, as SLURM writes it. */
  nodeList: string | null;
  /** There is a complete checkpoint from which a new attempt goes on. */
  hasCheckpoint: boolean;
}

/** What the cluster allows at most; null where it sets no limit or has not said. */
export interface RetryLimits {
  timeLimitMinutes: number | null;
  memoryMiB: number | null;
  /** Whether single nodes can be excluded. */
  canExcludeNodes: boolean;
}

export interface RetryCircumstances {
  limits: RetryLimits;
  now: Date;
  /** From 0 to 1: spreads the retries of jobs that failed together. */
  jitter: number;
}

interface Retry {
  resources: Resources;
  notBefore: Date;
  tags: string[];
  priority: number;
  retryCounts: RetryCounts;
  /** Such as `NODE_FAILURE, retry 1 of 2`. */
  note: string;
}

export type RetryDecision =
  /** `reason` is null where the policy does not speak of such a failure. */
  | { kind: 'NONE'; reason: string | null }
  | ({ kind: 'NEW_ATTEMPT' } & Retry)
  | ({ kind: 'NEW_JOB'; config: JsonObject } & Retry);

export const RETRY_TAG = 'retry';
/** By this much of it a wait is at most longer than its rule says. */
const JITTER_SHARE = 0.25;
/** What sbatch takes as one name; anything else is a list, of which nobody knows which node failed. */
const ONE_NODE = /^[A-Za-z0-9_.-]+$/;
const MAX_EXCLUDE_LENGTH = 1024;

export function decideRetry(job: FailedJob, failureClass: FailureClass, policy: RetryPolicy, { limits, now, jitter }: RetryCircumstances): RetryDecision {
  const rule = policy.find((candidate) => candidate.failureClass === failureClass);
  if (rule === undefined || rule.maxRetries === 0) return { kind: 'NONE', reason: null };
  const retries = job.retryCounts[failureClass] ?? 0;
  if (retries >= rule.maxRetries) return none(`it was tried again ${retries} times for ${failureClass} already, as often as its policy allows`);
  const config = changedConfig(job.config, rule.configChanges);
  if (typeof config === 'string') return none(config);
  const resources = changedResources(job, rule, limits);
  if (typeof resources === 'string') return none(resources);
  const waitSeconds = Math.min(rule.backoffSeconds * 2 ** retries, MAX_BACKOFF_SECONDS) * (1 + jitter * JITTER_SHARE);
  const retry: Retry = {
    resources, notBefore: new Date(now.getTime() + waitSeconds * 1000),
    tags: [...new Set([...(config === null ? job.tags : tagsAfterChange(job.tags, job.config, config)), RETRY_TAG, failureClass])],
    priority: Math.min(PRIORITY_MAX, Math.max(PRIORITY_MIN, job.priority + rule.priorityBoost)),
    retryCounts: { ...job.retryCounts, [failureClass]: retries + 1 },
    note: `${failureClass}, retry ${retries + 1} of ${rule.maxRetries}`,
  };
  return config === null ? { kind: 'NEW_ATTEMPT', ...retry } : { kind: 'NEW_JOB', config, ...retry };
}

function none(reason: string): RetryDecision {
  return { kind: 'NONE', reason };
}

/** The changed configuration, null where nothing is to change, or why it cannot be changed. */
function changedConfig(config: JsonObject, changes: readonly ConfigChange[]): JsonObject | null | string {
  if (changes.length === 0) return null;
  let changed = config;
  for (const change of changes) {
    const current = getDotted(config, change.key);
    if (current === undefined && change.optional === true) continue;
    if (blockedAt(changed, change.key) !== null) return `"${change.key}" cannot be set in its configuration`;
    if (change.multiply === undefined) {
      changed = setDotted(changed, change.key, change.set ?? null);
      continue;
    }
    const product = multiplied(change, current);
    if (typeof product === 'string') return product;
    changed = setDotted(changed, change.key, product);
  }
  if (canonicalJson(changed) !== canonicalJson(config)) return changed;
  return `its configuration has none of the values that its policy changes: ${changes.map(({ key }) => key).join(', ')}`;
}

/** The product, or why there is none. */
function multiplied({ key, multiply = 1, integer = false }: ConfigChange, current: Json | undefined): number | string {
  if (typeof current !== 'number') return `its configuration has no number "${key}" to change`;
  const product = current * multiply;
  const value = integer ? Math.max(1, Math.floor(product)) : product;
  if (value === current && multiply !== 1) return `"${key}" is ${current} and cannot be changed further`;
  return Number.isFinite(value) ? value : `"${key}" would leave the range of numbers`;
}

/** The resources of the next try, or why they would not be enough. */
function changedResources({ resources, nodeList, hasCheckpoint }: FailedJob, rule: RetryRule, limits: RetryLimits): Resources | string {
  const changed = { ...resources, sbatchOptions: { ...resources.sbatchOptions } };
  if (rule.memoryFactor !== null) {
    const memoryMiB = raised(resources.memoryMiB, rule.memoryFactor, limits.memoryMiB);
    if (memoryMiB === null) {
      return resources.memoryMiB === null ? 'it names no memory (memoryMiB) that could be raised' : `its partition has no more memory than ${resources.memoryMiB} MiB a node`;
    }
    changed.memoryMiB = memoryMiB;
  }
  if (rule.timeLimitFactor !== null) {
    const timeLimitMinutes = raised(resources.timeLimitMinutes, rule.timeLimitFactor, limits.timeLimitMinutes);
    if (timeLimitMinutes === null && !hasCheckpoint) {
      const why = resources.timeLimitMinutes === null ? 'it names no time limit that could be raised' : `its partition allows no more than ${resources.timeLimitMinutes} minutes`;
      return `${why}, and it left no complete checkpoint to go on from`;
    }
    changed.timeLimitMinutes = timeLimitMinutes ?? resources.timeLimitMinutes;
  }
  if (rule.excludeFailedNode && limits.canExcludeNodes && nodeList !== null && ONE_NODE.test(nodeList)) {
    const exclude = [...new Set([...(resources.sbatchOptions['exclude'] ?? '').split(/,(?![^[]*\])/).filter((name) => name !== ''), nodeList])].join(',');
    if (exclude.length <= MAX_EXCLUDE_LENGTH) changed.sbatchOptions['exclude'] = exclude;
  }
  return changed;
}

/** Null when it cannot be raised. */
function raised(current: number | null, factor: number, limit: number | null): number | null {
  if (current === null) return null;
  const value = Math.min(Math.ceil(current * factor), limit ?? Number.POSITIVE_INFINITY);
  return value > current ? value : null;
}

/** What a partition says of its limits. */
interface PartitionLimits {
  name: string;
  isDefault: boolean;
  timeLimitMinutes: number | null;
  memoryMiBPerNode: number | null;
}

/** The tightest limits of the partitions that a job may run in. */
export function limitsOf(resources: Resources, partitions: readonly PartitionLimits[] | null): Pick<RetryLimits, 'timeLimitMinutes' | 'memoryMiB'> {
  const names = resources.partition?.split(',') ?? null;
  const possible = (partitions ?? []).filter(({ name, isDefault }) => (names === null ? isDefault : names.includes(name)));
  const least = (values: (number | null)[]): number | null => {
    const known = values.filter((value) => value !== null);
    return known.length === 0 ? null : Math.min(...known);
  };
  return { timeLimitMinutes: least(possible.map((each) => each.timeLimitMinutes)), memoryMiB: least(possible.map((each) => each.memoryMiBPerNode)) };
}

const MAX_NAME_LENGTH = 200;
const NAME_MARK = ' > ';

/** The name of a job that was made from another by changing its configuration: the old name and what is different. */
export function retriedName(name: string, from: JsonObject, to: JsonObject): string {
  const before = new Map(configLeaves(from).map(({ key, value }) => [key, canonicalJson(value)]));
  const changes = configLeaves(to).filter(({ key, value }) => before.get(key) !== canonicalJson(value))
    .map(({ key, value }) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`.replaceAll(/\p{Cc}/gu, ' '));
  const suffix = cut(`${NAME_MARK}${changes.join(' ')}`, MAX_NAME_LENGTH / 2);
  return `${cut(name.split(NAME_MARK)[0] ?? name, MAX_NAME_LENGTH / 2)}${suffix}`;
}

/** In whole characters: half of one is no text. */
function cut(text: string, length: number): string {
  return text.length <= length ? text : Array.from(text).slice(0, length).join('');
}
