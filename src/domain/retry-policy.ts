/** How often and with which changes a failed job is tried again, by class of failure. Without a policy nothing is. */
import { dottedKeyProblem, validateJson } from './config-values.ts';
import { FAILURE_CLASSES, type FailureClass } from './diagnosis/failure-class.ts';
import type { UserFault } from './errors.ts';
import { PRIORITY_MAX, type Json } from './job-spec.ts';

/** A job that was ended on purpose stays ended; one that is LOST may still run, so only a person may try it again. */
export type RetryableClass = Exclude<FailureClass, 'CANCELLED' | 'LOST'>;
export const RETRYABLE_CLASSES: readonly RetryableClass[] = FAILURE_CLASSES.filter((name) => name !== 'CANCELLED' && name !== 'LOST');

/** One change of the configuration; exactly one of `multiply` and `set`. */
export interface ConfigChange {
  /** Dotted. */
  key: string;
  multiply?: number;
  set?: Json;
  /** With `multiply`: the product is rounded down to a whole number, at least 1. */
  integer?: boolean;
  /** The change is left out where the configuration has no such key; otherwise there is then no retry. */
  optional?: boolean;
}

export interface RetryRule {
  failureClass: RetryableClass;
  /** How often a job is tried again for this class; 0 for never. */
  maxRetries: number;
  /** Wait before the first retry; it doubles with each. */
  backoffSeconds: number;
  /** The node that it ran on is excluded, where there was one only. */
  excludeFailedNode: boolean;
  /** Factors on what the job asked for, up to what its partition has; null leaves it. */
  memoryFactor: number | null;
  timeLimitFactor: number | null;
  /** Not empty: the retry is a new job with this configuration. */
  configChanges: ConfigChange[];
  priorityBoost: number;
}

/** At most one rule a class. */
export type RetryPolicy = readonly RetryRule[];

/** A rule as people write it: what is left out comes from the preset of its class. */
export type RetryRuleInput = Pick<RetryRule, 'failureClass'> & { [Name in Exclude<keyof RetryRule, 'failureClass'>]?: RetryRule[Name] | null };

export const RETRY_PRIORITY_BOOST = 50;
export const MAX_BACKOFF_SECONDS = 24 * 60 * 60;
/** Beyond this a person should look. */
const MAX_RETRIES = 20;
const MAX_FACTOR = 10;
const MAX_CONFIG_CHANGES = 20;
const MAX_VALUE_BYTES = 64 * 1024;

const PLAIN: Omit<RetryRule, 'failureClass'> = {
  maxRetries: 2, backoffSeconds: 60, excludeFailedNode: false, memoryFactor: null, timeLimitFactor: null, configChanges: [], priorityBoost: RETRY_PRIORITY_BOOST,
};

/** What a rule does that says no more than its class. */
const PRESETS: Partial<Record<RetryableClass, Partial<RetryRule>>> = {
  CUDA_OUT_OF_MEMORY: {
    backoffSeconds: 0,
    configChanges: [{ key: 'batch_size', multiply: 0.5, integer: true }, { key: 'gradient_accumulation', multiply: 2, integer: true, optional: true }],
  },
  NAN_LOSS: {
    backoffSeconds: 0,
    configChanges: [{ key: 'grad_clip_norm', set: 1, optional: true }, { key: 'optim.lr', multiply: 0.5, optional: true }],
  },
  HOST_OUT_OF_MEMORY: { backoffSeconds: 0, memoryFactor: 1.5 },
  TIME_LIMIT: { backoffSeconds: 0, timeLimitFactor: 1.5 },
  NODE_FAILURE: { excludeFailedNode: true },
};

/** Expects rules without faults. */
export function completeRetryPolicy(rules: readonly RetryRuleInput[]): RetryRule[] {
  return rules.map((rule) => {
    const given = Object.fromEntries(Object.entries(rule).filter(([, value]) => value !== null && value !== undefined)) as Partial<RetryRule>;
    return { ...PLAIN, ...PRESETS[rule.failureClass], ...given, failureClass: rule.failureClass };
  });
}

/** Faults of the rules as they were written: numbers out of range, classes twice or not known, changes that say nothing. */
export function validateRetryPolicy(rules: readonly RetryRuleInput[], field: string[]): UserFault[] {
  const faults: UserFault[] = [];
  const seen = new Set<string>();
  for (const [index, rule] of rules.entries()) {
    const report = (path: string[], message: string): void => { faults.push({ field: [...field, String(index), ...path], message, code: 'BAD_USER_INPUT' }); };
    if (!RETRYABLE_CLASSES.includes(rule.failureClass)) report(['failureClass'], `must be one of ${RETRYABLE_CLASSES.join(', ')}, not ${JSON.stringify(rule.failureClass)}`);
    if (seen.has(rule.failureClass)) report(['failureClass'], `${rule.failureClass} has a rule already; give one a class`);
    seen.add(rule.failureClass);
    if (!isWhole(rule.maxRetries, 0, MAX_RETRIES)) report(['maxRetries'], `must be a whole number from 0 to ${MAX_RETRIES}`);
    if (!isBetween(rule.backoffSeconds, 0, MAX_BACKOFF_SECONDS)) report(['backoffSeconds'], `must be from 0 to ${MAX_BACKOFF_SECONDS} seconds`);
    if (!isWhole(rule.priorityBoost, -PRIORITY_MAX, PRIORITY_MAX)) report(['priorityBoost'], `must be a whole number from -${PRIORITY_MAX} to ${PRIORITY_MAX}`);
    for (const name of ['memoryFactor', 'timeLimitFactor'] as const) {
      if (!isBetween(rule[name], 1, MAX_FACTOR)) report([name], `must be a factor from 1 to ${MAX_FACTOR}`);
    }
    const changes = rule.configChanges ?? [];
    if (changes.length > MAX_CONFIG_CHANGES) report(['configChanges'], `has ${changes.length} changes; the limit is ${MAX_CONFIG_CHANGES}`);
    for (const [at, change] of changes.slice(0, MAX_CONFIG_CHANGES).entries()) {
      for (const fault of changeFaults(change)) report(['configChanges', String(at), ...fault.field], fault.message);
    }
  }
  return faults;
}

function changeFaults(change: ConfigChange): Pick<UserFault, 'field' | 'message'>[] {
  const keyProblem = dottedKeyProblem(change.key);
  const { multiply = null } = change;
  const hasValue = change.set !== undefined;
  return [
    ...(keyProblem === null ? [] : [{ field: ['key'], message: keyProblem }]),
    ...(hasValue === (multiply !== null) ? [{ field: [], message: 'give exactly one of multiply and set' }] : []),
    ...(multiply === null || (Number.isFinite(multiply) && multiply > 0) ? [] : [{ field: ['multiply'], message: 'must be a number above 0' }]),
    ...(hasValue ? validateJson(change.set, ['set'], { maxConfigBytes: MAX_VALUE_BYTES }) : []),
  ];
}

function isWhole(value: number | null | undefined, min: number, max: number): boolean {
  return isBetween(value, min, max) && (value === null || value === undefined || Number.isInteger(value));
}

function isBetween(value: number | null | undefined, min: number, max: number): boolean {
  return value === null || value === undefined || (value >= min && value <= max);
}
