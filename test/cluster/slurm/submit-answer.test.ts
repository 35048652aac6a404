import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { SubmitError, type SubmitFailure } from '../../../src/cluster/executor.ts';
import { readSubmitAnswer } from '../../../src/cluster/slurm/submit-answer.ts';
import type { ExecResult } from '../../../src/cluster/transport.ts';

const folder = new URL('../../recorded/', import.meta.url);
const recorded = (name: string): string => readFileSync(new URL(name, folder), 'utf8');
const result = (exitCode: number | null, stdout: string, stderr = '', signal: string | null = null): ExecResult =>
  ({ exitCode, signal, stdout: Buffer.from(stdout), stderr: Buffer.from(stderr) });

function failureOf(answer: ExecResult): SubmitError {
  try {
    readSubmitAnswer(answer);
  } catch (error) {
    if (error instanceof SubmitError) return error;
    throw error;
  }
  throw new Error('was read as accepted');
}

describe('sbatch\'s answer', () => {
  it('holds the id', () => {
    expect(readSubmitAnswer(result(0, recorded('sbatch-accepted.txt')))).toMatch(/^\d+$/);
    expect(readSubmitAnswer(result(0, '123;cluster\n'))).toBe('123');
    expect(readSubmitAnswer(result(0, 'Welcome to the cluster\n123\n'))).toBe('123');
  });

  const notRefusals: Record<string, SubmitFailure> = {
    'sbatch-refused-submit-limit.stderr.txt': 'limit', 'sbatch-refused-partition-drained.stderr.txt': 'transient', 'sbatch-no-slurmctld.stderr.txt': 'transient',
  };
  const refusals = readdirSync(folder).filter((name) => name.startsWith('sbatch-refused-') && !(name in notRefusals));

  it.each(refusals)('%s is a refusal', (name) => {
    const { failure, message, answer } = failureOf(result(name.includes('option') ? 255 : 1, '', recorded(name)));
    expect({ failure, answer }).toEqual({ failure: 'refused', answer: recorded(name).trim() });
    expect(message).not.toContain('sbatch: error');
  });

  it.each(Object.entries(notRefusals))('%s is %s', (name, failure) => {
    expect(failureOf(result(1, '', recorded(name))).failure).toBe(failure);
  });

  /** As SLURM's sources have them, versions 22.05 to 25.05. */
  it.each<[SubmitFailure, string]>([
    ['ambiguous', 'Socket timed out on send/recv operation'],
    ['ambiguous', 'Unable to contact slurm controller (send failure)'],
    ['ambiguous', 'Unable to contact slurm controller (receive failure)'],
    ['ambiguous', 'Unable to contact slurm controller (shutdown failure)'],
    ['ambiguous', 'Zero Bytes were transmitted or received'],
    ['ambiguous', 'Unexpected message received'],
    ['ambiguous', 'Insane message length'],
    ['ambiguous', 'Message send failure'],
    ['ambiguous', 'Message receive failure'],
    ['ambiguous', 'Connection timed out reading'],
    ['transient', 'Unable to contact slurm controller (connect failure)'],
    ['transient', 'Communication connection failure'],
    ['transient', 'Resource temporarily unavailable'],
    ['transient', 'Rate limit exceeded, please retry momentarily'],
    ['transient', 'Requested partition configuration not available now'],
    ['transient', 'Required partition not available (inactive or drain)'],
    ['transient', 'Partition in DOWN state'],
    ['transient', 'System submissions disabled'],
    ['transient', 'Slurm backup controller in standby mode'],
    ['transient', 'Controller is in standby mode, try a different controller'],
    ['transient', 'Requested operation is presently disabled'],
    ['transient', 'Protocol authentication error'],
    ['transient', 'Invalid authentication credential'],
    ['transient', 'I/O error writing script/environment to file'],
    ['limit', 'Job violates accounting/QOS policy (job submit limit, user\'s size and/or time limits)'],
    ['limit', 'Unable to create job record, try again'],
    ['limit', 'MaxJobCount limit reached'],
    ['refused', 'Invalid account or account/partition combination specified'],
    ['refused', 'Invalid partition name specified'],
    ['refused', 'No partition specified or system default partition'],
    ['refused', 'User\'s group not permitted to use this partition'],
    ['refused', 'Requested node configuration is not available'],
    ['refused', 'Node count specification invalid'],
    ['refused', 'Job dependency problem'],
    ['refused', 'Invalid job array specification'],
    ['refused', 'Invalid feature specification'],
    ['refused', 'Invalid qos specification'],
    ['refused', 'Requested time limit is invalid (missing or exceeds some limit)'],
    ['refused', 'Access/permission denied'],
    ['refused', 'Memory required by task is not available'],
  ])('is %s: %s', (failure, words) => {
    expect(failureOf(result(1, '', `sbatch: error: Batch job submission failed: ${words}\n`)).failure).toBe(failure);
  });

  it.each(['AssocMaxSubmitJobLimit', 'AssocGrpSubmitJobsLimit', 'QOSMaxSubmitJobPerUserLimit', 'QOSMaxSubmitJobPerAccountLimit', 'QOSGrpSubmitJobsLimit'])('is a limit: %s', (word) => {
    const policy = 'Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user\'s size and/or time limits)';
    const failure = failureOf(result(1, '', `sbatch: error: ${word}\nsbatch: error: ${policy}\n`));
    expect(failure.failure).toBe('limit');
    expect(failure.message).toContain(word);
  });

  it('tells more than one job may ask for from too many jobs', () => {
    const policy = 'sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user\'s size and/or time limits)\n';
    expect(failureOf(result(1, '', `sbatch: error: QOSMaxWallDurationPerJobLimit\n${policy}`)).failure).toBe('refused');
  });

  it('goes by what sbatch said last, after it had tried again by itself', () => {
    const waited = 'sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n';
    expect(failureOf(result(1, '', `${waited}sbatch: error: Batch job submission failed: Resource temporarily unavailable\n`)).failure).toBe('transient');
    expect(failureOf(result(1, '', `${waited}sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n`)).failure).toBe('ambiguous');
  });

  it.each([
    ['success without an id', result(0, 'Submitted batch job\n')],
    ['an id with a failure', result(1, '123\n')],
    ['a killed sbatch', result(null, '', '', 'SIGKILL')],
    ['a sbatch killed behind a shell', result(137, '')],
    ['a failure without words', result(1, '')],
    ['somebody else\'s words', result(1, '', 'lua: plugin failed\n')],
  ])('%s is ambiguous', (_, answer) => {
    expect(failureOf(answer).failure).toBe('ambiguous');
  });

  it.each([
    ['no sbatch', result(127, '', 'sh: 1: exec: sbatch: not found\n')],
    ['no batch directory', result(73, '', 'mkdir: cannot create directory: Permission denied\n')],
  ])('%s says not now', (_, answer) => {
    expect(failureOf(answer).failure).toBe('transient');
  });
});
