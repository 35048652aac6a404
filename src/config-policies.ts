/** The sections `failureRules` and `retryPolicy` of the configuration file: how a site recognises failures, and which it tries again. */
import { z } from 'zod';
import safeRegex from 'safe-regex2';
import { listOf, number, oneOf, parseReporting, section, text, trueOrFalse, wholeNumber, type ReportFault } from './config-fields.ts';
import { FAILURE_CLASSES } from './domain/diagnosis/failure-class.ts';
import type { FailureRule } from './domain/diagnosis/failure-rule.ts';
import { completeRetryPolicy, RETRYABLE_CLASSES, validateRetryPolicy, type RetryRule, type RetryRuleInput } from './domain/retry-policy.ts';
import { ATTEMPT_STATES } from './domain/states.ts';

const MAX_RULES = 100;
const MAX_PATTERNS = 20;
const MAX_PATTERN_LENGTH = 300;
/** More than this in one pattern, and a line that nearly matches may take seconds. */
const MAX_REPETITIONS = 6;

const failureRule = section({
  class: oneOf(FAILURE_CLASSES),
  patterns: listOf(text('a regular expression in quotes'), 'a list of regular expressions').default([]),
  states: listOf(oneOf(ATTEMPT_STATES), 'a list of attempt states').optional(),
  exitCodes: listOf(wholeNumber(0, 255), 'a list of exit codes').optional(),
  signals: listOf(wholeNumber(1, 64), 'a list of signal numbers').optional(),
  quotedLines: wholeNumber(1, 10).optional(),
  advice: text('one line that says what to do').optional(),
});

const configChange = section({
  key: text('a dotted configuration key'),
  multiply: number().optional(),
  set: z.json().optional(),
  integer: trueOrFalse().optional(),
  optional: trueOrFalse().optional(),
});

const retryRule = section({
  failureClass: oneOf(RETRYABLE_CLASSES as [string, ...string[]]),
  maxRetries: number().optional(),
  backoffSeconds: number().optional(),
  excludeFailedNode: trueOrFalse().optional(),
  memoryFactor: number().optional(),
  timeLimitFactor: number().optional(),
  configChanges: listOf(configChange, 'a list of changes, each with key and multiply or set').optional(),
  priorityBoost: number().optional(),
});

/** Without those rules that have a fault, which was reported. */
export function readFailureRules(raw: unknown, report: ReportFault): FailureRule[] {
  const rules = parseReporting(listOf(failureRule, 'a list of rules, each with class and patterns'), raw ?? [], ['failureRules'], report) ?? [];
  if (rules.length > MAX_RULES) report(['failureRules'], `has ${rules.length} rules; the limit is ${MAX_RULES}`);
  return rules.slice(0, MAX_RULES).map(({ patterns, states, exitCodes, signals, quotedLines, advice, ...rule }, index) => {
    const path = ['failureRules', String(index)];
    if (patterns.length === 0 && !states && !exitCodes && !signals) report(path, 'would hold for every failure; give patterns, states, exitCodes or signals');
    if (patterns.length > MAX_PATTERNS) report([...path, 'patterns'], `has ${patterns.length} patterns; the limit is ${MAX_PATTERNS}`);
    const compiled = patterns.slice(0, MAX_PATTERNS).flatMap((pattern, at) => compile(pattern, [...path, 'patterns', String(at)], report));
    return {
      ...rule, patterns: compiled, ...(states && { states }), ...(exitCodes && { exitCodes }), ...(signals && { signals }),
      ...(quotedLines !== undefined && { quotedLines }), ...(advice !== undefined && { advice }),
    };
  });
}

/** Patterns ignore case. They see single lines of at most 1,000 characters; those that could still take long are refused. */
function compile(pattern: string, path: string[], report: ReportFault): RegExp[] {
  if (pattern.length > MAX_PATTERN_LENGTH) {
    report(path, `is ${pattern.length} characters long; the limit is ${MAX_PATTERN_LENGTH}`);
    return [];
  }
  try {
    const compiled = new RegExp(pattern, 'i');
    if (safeRegex(pattern, { limit: MAX_REPETITIONS })) return [compiled];
    report(path, `repeats inside a repetition, or more than ${MAX_REPETITIONS} times, and could take for ever on a line; say it more simply`);
  } catch (error) {
    report(path, `is not a regular expression: ${(error as Error).message}`);
  }
  return [];
}

export function readRetryPolicy(raw: unknown, report: ReportFault): RetryRule[] {
  const rules = parseReporting(listOf(retryRule, 'a list of rules, each with failureClass'), raw ?? [], ['retryPolicy'], report);
  if (rules === undefined) return [];
  const inputs = rules as RetryRuleInput[];
  const faults = validateRetryPolicy(inputs, ['retryPolicy']);
  for (const { field, message } of faults) report(field, message);
  return faults.length > 0 ? [] : completeRetryPolicy(inputs);
}
