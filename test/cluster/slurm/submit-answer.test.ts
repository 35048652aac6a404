import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { SubmitError } from '../../../src/cluster/executor.ts';
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

  const laterWelcome = ['sbatch-refused-submit-limit.stderr.txt', 'sbatch-refused-partition-drained.stderr.txt', 'sbatch-no-slurmctld.stderr.txt'];
  const refusals = readdirSync(folder).filter((name) => name.startsWith('sbatch-refused-') && !laterWelcome.includes(name));

  it.each(refusals)('%s is a refusal', (name) => {
    const { failure, message, answer } = failureOf(result(name.includes('option') ? 255 : 1, '', recorded(name)));
    expect({ failure, answer }).toEqual({ failure: 'refused', answer: recorded(name).trim() });
    expect(message).not.toContain('sbatch: error');
  });

  it.each(laterWelcome)('%s says not now', (name) => {
    expect(failureOf(result(1, '', recorded(name))).failure).toBe('transient');
  });

  it.each([
    ['a time-out after the request was sent', result(1, '', 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n')],
    ['a lost answer', result(1, '', 'sbatch: error: Batch job submission failed: Unable to contact slurm controller (receive failure)\n')],
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
    ['a controller that takes no more', result(1, '', 'sbatch: error: Batch job submission failed: Resource temporarily unavailable\n')],
  ])('%s says not now', (_, answer) => {
    expect(failureOf(answer).failure).toBe('transient');
  });
});
