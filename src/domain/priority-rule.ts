import { dottedKeyProblem, getDotted, validateJson } from './config-values.ts';
import type { UserFault } from './errors.ts';
import { canonicalJson } from './fingerprint.ts';
import type { Json, JsonObject } from './job-spec.ts';
import { PRIORITY_MAX, PRIORITY_MIN } from './job-spec.ts';

/** A priority for the configurations in which every given comparison holds. lt, lte, gt and gte hold for numbers only. */
export interface PriorityRule {
  /** Dotted config key. */
  key: string;
  equals?: Json;
  lt?: number;
  lte?: number;
  gt?: number;
  gte?: number;
  priority: number;
}

const NUMBER_COMPARISONS = ['lt', 'lte', 'gt', 'gte'] as const;

/** What is wrong with a priority, or null. */
export function priorityProblem(priority: number): string | null {
  return Number.isInteger(priority) && priority >= PRIORITY_MIN && priority <= PRIORITY_MAX
    ? null : `must be a whole number from ${PRIORITY_MIN} to ${PRIORITY_MAX} (higher runs first), not ${priority}`;
}

/** The priority of the first rule that matches, else `base`. A rule does not match a configuration without its key. */
export function priorityFor(config: JsonObject, rules: readonly PriorityRule[], base: number): number {
  return rules.find((rule) => matches(rule, getDotted(config, rule.key)))?.priority ?? base;
}

export function validatePriorityRules(
  rules: readonly PriorityRule[], limits: { maxConfigBytes: number }, field: string[] = ['priorityRules'],
): UserFault[] {
  return rules.flatMap((rule, index) => {
    const path = [...field, String(index)];
    const faults: UserFault[] = [];
    const report = (name: string, message: string | null): void => {
      if (message !== null) faults.push({ field: [...path, name], message, code: 'BAD_USER_INPUT' });
    };
    report('key', dottedKeyProblem(rule.key));
    report('priority', priorityProblem(rule.priority));
    for (const name of NUMBER_COMPARISONS) {
      if (Number.isNaN(rule[name])) report(name, 'must be a number');
    }
    if (rule.equals !== undefined) faults.push(...validateJson(rule.equals, [...path, 'equals'], limits));
    else if (NUMBER_COMPARISONS.every((name) => rule[name] === undefined)) {
      faults.push({ field: path, message: 'compares nothing; give at least one of equals, lt, lte, gt, gte', code: 'BAD_USER_INPUT' });
    }
    return faults;
  });
}

function matches(rule: PriorityRule, value: Json | undefined): boolean {
  if (value === undefined) return false;
  if (rule.equals !== undefined && canonicalJson(value) !== canonicalJson(rule.equals)) return false;
  return NUMBER_COMPARISONS.every((name) => {
    const bound = rule[name];
    if (bound === undefined) return true;
    if (typeof value !== 'number') return false;
    switch (name) {
      case 'lt': return value < bound;
      case 'lte': return value <= bound;
      case 'gt': return value > bound;
      case 'gte': return value >= bound;
    }
  });
}
