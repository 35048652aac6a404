/** Reads what sbatch answered. What cannot be shown to be a refusal is ambiguous: the batch may run. */
import { SubmitError, type SubmitFailure } from '../executor.ts';
import type { ExecResult } from '../transport.ts';
import { NO_DIRECTORY_EXIT_CODE } from './commands.ts';

/** Answers that came after the request had been sent: nobody knows whether it was taken. */
const LOST_ANSWER = /timed out|zero bytes were transmitted|unexpected message|connection reset|broken pipe|message receive|\((send|receive|shutdown) failure\)|incomplete reply/i;
/** Answers of a cluster that does not take the request now but may later; nothing was submitted. */
const NOT_NOW = new RegExp([
  'unable to contact slurm controller \\(connect failure\\)', 'resource temporarily unavailable', 'temporarily unable to accept',
  'MaxSubmitJob', 'MaxSubmit\\w*Limit', 'backup mode|standby mode', 'munge|auth\\w* credential|protocol authentication', 'required partition not available',
  'i/o error writing', 'no space left', 'disk quota', 'unable to resolve|could not resolve', 'slurm\\.conf', 'slurm_persist|slurmdbd',
  'command not found|sbatch: not found|No such file or directory', 'cannot fork|out of memory|cannot allocate memory',
].join('|'), 'i');
const REFUSAL = /^sbatch: /m;

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
  if (LOST_ANSWER.test(complaint)) return 'ambiguous';
  if (exitCode === NO_DIRECTORY_EXIT_CODE || exitCode === 127 || exitCode === 126) return 'transient';
  if (NOT_NOW.test(complaint)) return 'transient';
  return REFUSAL.test(complaint) ? 'refused' : 'ambiguous';
}

/** Without the `sbatch: error: ` that stands before each line. */
function errorLines(complaint: string): string {
  return complaint.split('\n').map((line) => line.replace(/^sbatch: (error: |fatal: )?/, '')).filter((line) => line !== '').join('; ');
}
