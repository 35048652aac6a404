/** Why an attempt is in its state, in words. */
import type { AttemptState } from './states.ts';

/** What is known of the reason: the scheduler's word, and how the command ended. */
export interface SeenReason {
  reason: string | null;
  nodeList: string | null;
  exitCode: number | null;
  signal: number | null;
  /** The job had the warning signal that comes before its time limit. */
  warned?: boolean;
}

/** Why an attempt is in its state, in words a person can act on; null when there is nothing to say. */
export function describeReason(state: AttemptState, seen: SeenReason, known: { timeLimitMinutes: number | null }): string | null {
  const word = seen.reason === null || seen.reason === 'None' || seen.reason === '' ? null : seen.reason;
  const node = seen.nodeList ?? 'unknown';
  switch (state) {
    case 'SUBMITTING':
    case 'RUNNING':
    case 'COMPLETING':
    case 'COMPLETED': return null;
    case 'PENDING':
    case 'CONFIGURING':
    case 'SUSPENDED': return word;
    case 'FAILED': return describeFailure(seen, word);
    case 'CANCELLED': return describeCancellation(word);
    case 'TIMEOUT': return known.timeLimitMinutes === null ? 'the time limit was reached' : `the time limit of ${known.timeLimitMinutes} min was reached`;
    case 'OUT_OF_MEMORY': return 'the memory limit of the job was exceeded';
    case 'NODE_FAIL': return `node ${node} failed`;
    case 'PREEMPTED': return 'preempted by a job of higher priority';
    case 'DEADLINE': return 'its deadline passed before it could run to the end';
    case 'BOOT_FAIL': return `node ${node} did not boot`;
    case 'REVOKED': return 'revoked: it runs on a sibling cluster';
    case 'LOST': return word;
  }
}

function describeCancellation(word: string | null): string {
  if (word === null || word === 'requeued') return word ?? 'cancelled';
  // Of a job that its user or root cancels SLURM says by whom.
  const isByDependency = word === 'Dependency' || word === 'DependencyNeverSatisfied';
  return isByDependency ? 'cancelled by SLURM: the job it depends on ended in a way that its dependency rules out' : `cancelled: ${word}`;
}

/** SLURM's words for an end that the exit code does not explain. */
const END_WORDS: Readonly<Record<string, string>> = {
  JobLaunchFailure: 'SLURM could not start it: a file system, its log folder or its user was missing on the node',
  SystemFailure: 'SLURM, a file system or the network failed',
  InactiveLimit: 'it was inactive for longer than the site allows',
  OutOfMemory: 'the memory limit of the job was exceeded',
  TimeLimit: 'the time limit was reached',
};

/** What a signal means that a program gets for a fault of its own. */
const SIGNAL_WORDS: Readonly<Record<number, string>> = { 4: 'illegal instruction', 6: 'aborted', 7: 'bus error', 8: 'arithmetic error', 11: 'segmentation fault' };

function signalWords(signal: number): string {
  const word = SIGNAL_WORDS[signal];
  return word === undefined ? `killed by signal ${signal}` : `${word} (signal ${signal})`;
}

/** With this in the place of a signal SLURM says that it could not set up the output of a job. */
const NO_OUTPUT_SIGNAL = 53;

function describeFailure(seen: SeenReason, word: string | null): string {
  if (seen.signal === NO_OUTPUT_SIGNAL) return 'SLURM could not start it: its log folder was not there or not writable on the node';
  const how = seen.signal ? signalWords(seen.signal) : seen.exitCode === null ? 'failed' : `exit code ${seen.exitCode}`;
  if (seen.warned === true) return `${how} after the warning before its time limit`;
  if (word === null || word === 'NonZeroExitCode') return how;
  return `${how} (${END_WORDS[word] ?? word})`;
}
