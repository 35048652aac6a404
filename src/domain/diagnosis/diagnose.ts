/** Why an attempt failed: its state, how it ended and its last words, held against the rules. Pure. */
import { LOG_TAIL_BYTES } from '../harvest-plan.ts';
import type { AttemptState } from '../states.ts';
import { STATE_RULES, TEXT_RULES } from './built-in-rules.ts';
import { ADVICE, type FailureClass } from './failure-class.ts';
import type { FailureRule } from './failure-rule.ts';

/** What an attempt left behind. */
export interface FailureEvidence {
  state: AttemptState;
  exitCode: number | null;
  signal: number | null;
  /** The cluster's words. */
  reason: string | null;
  errorText: string | null;
  stderrTail: string | null;
  stdoutTail: string | null;
}

export interface Failure {
  class: FailureClass;
  /** The very line that says so; null when nothing was said. */
  evidence: string | null;
  advice: string;
}

/** Longer lines are cut before a pattern sees them, which bounds what a careless pattern can cost. */
const MAX_LINE_LENGTH = 1_000;
const MAX_EVIDENCE_LENGTH = 500;
const ESCAPE = String.fromCharCode(27);
/** Colours and the like. */
const TERMINAL_CODES = new RegExp(`${ESCAPE}\\[[0-9;?]*[A-Za-z]`, 'g');
/** Ended by root, so by no wish of the user's: what accounting says as `CANCELLED by 0`. */
const BY_ROOT = /\bby user id 0$/;

/** What bash says of a command that our script runs, with the line of the script behind it: only its words about the end tell something. */
const WORDS_OF_BASH = /^\S+: line \d+: +\d+ (\S.*?) +(?:\(core dumped\) +)?env "\$\{expgraph_.*$/;
/** What the script of a job writes where the job itself left no error.txt: no more than the exit record. */
const WORDS_OF_SCRIPT = /^The command (?:ended with exit code|was ended by signal) \d+\.$/;

/** The failure of an ended attempt; null where it did not fail: under way, completed, or cancelled by its user. */
export function diagnoseFailure(evidence: FailureEvidence, siteRules: readonly FailureRule[]): Failure | null {
  if (!hasFailed(evidence)) return null;
  const texts = [evidence.errorText, evidence.stderrTail, evidence.stdoutTail, evidence.reason].map(linesOf);
  const rules = [...STATE_RULES, ...siteRules, ...TEXT_RULES];
  for (const rule of rules) {
    if (!suits(rule, evidence)) continue;
    const quoted = quote(texts, rule);
    if (quoted === null && rule.patterns.length > 0) continue;
    const said = quoted ?? quoteOfClass(texts, rules, rule.class) ?? lastWords(texts, evidence, rule);
    return { class: rule.class, evidence: said, advice: rule.advice ?? ADVICE[rule.class] };
  }
  throw new Error('the last rule holds for every failure');
}

function hasFailed({ state, reason }: FailureEvidence): boolean {
  switch (state) {
    case 'FAILED': case 'TIMEOUT': case 'OUT_OF_MEMORY': case 'NODE_FAIL': case 'PREEMPTED': case 'DEADLINE': case 'BOOT_FAIL': case 'LOST': return true;
    case 'CANCELLED': return BY_ROOT.test(reason ?? '');
    case 'SUBMITTING': case 'PENDING': case 'CONFIGURING': case 'RUNNING': case 'SUSPENDED': case 'COMPLETING': case 'COMPLETED': case 'REVOKED': return false;
  }
}

/** Longer evidence is cut in a note. */
const MAX_NOTED_LENGTH = 200;

/** The class and the decisive line in short, for the reason that is shown beside the state; null where the reason says as much already. */
export function failureNote({ class: failureClass, evidence }: Failure, { state, reason }: Pick<FailureEvidence, 'state' | 'reason'>): string | null {
  // The other states are causes by themselves, and their reasons say so.
  if (state !== 'FAILED') return null;
  const isSaid = evidence === null || (reason ?? '').includes(evidence);
  if (isSaid && (failureClass === 'UNKNOWN' || failureClass === 'SUBMISSION_REFUSED')) return null;
  const line = isSaid ? null : evidence.replaceAll(/\s+/g, ' ');
  const short = line === null || line.length <= MAX_NOTED_LENGTH ? line : `${Array.from(line).slice(0, MAX_NOTED_LENGTH).join('')}...`;
  return [...(failureClass === 'UNKNOWN' ? [] : [failureClass]), ...(short === null ? [] : [short])].join(': ');
}

function suits({ states, exitCodes, signals }: FailureRule, { state, exitCode, signal }: FailureEvidence): boolean {
  return (states === undefined || states.includes(state))
    && (exitCodes === undefined || (exitCode !== null && exitCodes.includes(exitCode)))
    && (signals === undefined || (signal !== null && signals.includes(signal)));
}

function linesOf(text: string | null): string[] {
  if (text === null) return [];
  return text.slice(-LOG_TAIL_BYTES).replaceAll(TERMINAL_CODES, '').split(/\r\n|\n|\r/).map((line) => line.slice(0, MAX_LINE_LENGTH).trim())
    .filter((line) => line !== '' && !WORDS_OF_SCRIPT.test(line)).map((line) => line.replace(WORDS_OF_BASH, '$1'));
}

/** The last line that matches, because what ends a program comes last; texts that speak of the failure itself go first. */
function quote(texts: string[][], { patterns, quotedLines = 1 }: FailureRule): string | null {
  for (const lines of texts) {
    const at = lines.findLastIndex((line) => patterns.some((pattern) => pattern.test(line)));
    if (at !== -1) return lines.slice(at, at + quotedLines).join('\n').slice(0, MAX_EVIDENCE_LENGTH);
  }
  return null;
}

function quoteOfClass(texts: string[][], rules: readonly FailureRule[], wanted: FailureClass): string | null {
  for (const rule of rules) {
    if (rule.class !== wanted || wanted === 'UNKNOWN') continue;
    const quoted = quote(texts, rule);
    if (quoted !== null) return quoted;
  }
  return null;
}

/** Where SLURM says what happened its words tell more than the log's last line; otherwise the log does. */
function lastWords([errorLines = [], stderrLines = []]: string[][], { reason }: FailureEvidence, rule: FailureRule): string | null {
  const logged = (errorLines.at(-1) ?? stderrLines.at(-1))?.slice(0, MAX_EVIDENCE_LENGTH) ?? null;
  return rule.states === undefined ? logged ?? reason : reason ?? logged;
}
