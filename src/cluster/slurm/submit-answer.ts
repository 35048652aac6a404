/** Reads what sbatch answered. What cannot be shown to be a refusal is ambiguous: the batch may run. */
import { SubmitError, type SubmitFailure } from '../executor.ts';
import type { ExecResult } from '../transport.ts';
import { NO_DIRECTORY_EXIT_CODE } from './commands.ts';
import { SUBMIT_ERRORS } from './submit-errors.ts';

/** The id in `123` or `123;cluster`. Throws SubmitError when there is none. */
export function readSubmitAnswer(result: ExecResult): string {
  const answer = result.stdout.toString('utf8').trim();
  const complaint = result.stderr.toString('utf8').trim();
  const id = /^(\d+)(;[^\s;]+)?$/.exec(answer.split('\n').at(-1) ?? '')?.[1];
  if (result.exitCode === 0 && id !== undefined) return id;
  const said = [answer, complaint].filter((text) => text !== '').join('\n');
  const how = result.signal === null ? `exit code ${result.exitCode}` : `signal ${result.signal}`;
  const words = errorLines(complaint) || answer || 'it printed nothing';
  throw new SubmitError(failureOf(result, answer, complaint), `sbatch (${how}): ${words}`, said === '' ? null : said);
}

function failureOf({ exitCode }: ExecResult, answer: string, complaint: string): SubmitFailure {
  // Something came on standard output where a refusal prints nothing, or sbatch did not end by itself.
  if (exitCode === null || exitCode === 0 || (exitCode > 128 && exitCode <= 192) || answer !== '') return 'ambiguous';
  if (exitCode === NO_DIRECTORY_EXIT_CODE || exitCode === 127 || exitCode === 126) return 'transient';
  return SUBMIT_ERRORS.find(({ words }) => words.test(complaint))?.failure ?? 'ambiguous';
}

/** Without the `sbatch: error: ` that stands before each line. */
function errorLines(complaint: string): string {
  return complaint.split('\n').map((line) => line.replace(/^sbatch: (error: |fatal: )?/, '')).filter((line) => line !== '').join('; ');
}
