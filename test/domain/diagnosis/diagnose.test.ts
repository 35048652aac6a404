import { performance } from 'node:perf_hooks';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { diagnoseFailure, failureNote, type FailureEvidence } from '../../../src/domain/diagnosis/diagnose.ts';
import { FAILURE_CLASSES } from '../../../src/domain/diagnosis/failure-class.ts';
import type { FailureRule } from '../../../src/domain/diagnosis/failure-rule.ts';
import { ATTEMPT_STATES } from '../../../src/domain/states.ts';
import { SAMPLES } from './samples.ts';

function left(changes: Partial<FailureEvidence>): FailureEvidence {
  return { state: 'FAILED', exitCode: 1, signal: null, reason: 'exit code 1', errorText: null, stderrTail: null, stdoutTail: null, ...changes };
}

describe('a failure is classed by what the job left, and the very line is quoted', () => {
  test.each(SAMPLES)('$class: $name', (sample) => {
    const failure = diagnoseFailure(left(sample.left), []);
    expect(failure?.class).toBe(sample.class);
    expect(failure?.evidence?.slice(0, sample.line.length)).toBe(sample.line);
  });

  test('the advice is that of the rule where the rule knows better than the class', () => {
    const adviceFor = (name: string) => diagnoseFailure(left(SAMPLES.find((sample) => sample.name === name)!.left), [])?.advice;
    expect(adviceFor('PyTorch, CUDA')).toMatch(/halve the batch size and double the gradient accumulation/i);
    expect(adviceFor('Python')).toMatch(/activation of the venv/);
    expect(adviceFor('a shared overlay')).toMatch(/:ro/);
    expect(adviceFor('Lmod')).toMatch(/module spider/);
  });
});

describe("what SLURM itself says outranks the text", () => {
  const cuda = 'torch.cuda.OutOfMemoryError: CUDA out of memory.';
  test.each([
    ['TIMEOUT', 'TIME_LIMIT'], ['DEADLINE', 'TIME_LIMIT'], ['OUT_OF_MEMORY', 'HOST_OUT_OF_MEMORY'], ['NODE_FAIL', 'NODE_FAILURE'],
    ['BOOT_FAIL', 'NODE_FAILURE'], ['PREEMPTED', 'PREEMPTED'], ['LOST', 'LOST'],
  ] as const)('%s is %s', (state, expected) => {
    expect(diagnoseFailure(left({ state, reason: 'as SLURM says', stderrTail: cuda }), [])).toMatchObject({ class: expected, evidence: 'as SLURM says' });
  });

  test('a line of the log that says the same is quoted before its words', () => {
    const stderrTail = 'step 1\nslurmstepd: error: *** JOB 1 ON n1 CANCELLED AT 2024-05-06T07:08:09 DUE TO TIME LIMIT ***\n';
    expect(diagnoseFailure(left({ state: 'TIMEOUT', reason: 'the time limit of 5 min was reached', stderrTail }), [])?.evidence).toContain('DUE TO TIME LIMIT');
  });

  test('its text outranks that of the program', () => {
    const stderrTail = `${cuda}\nslurmstepd: error: *** JOB 1 ON n1 CANCELLED AT 2024-05-06T07:08:09 DUE TO PREEMPTION ***\n`;
    expect(diagnoseFailure(left({ stderrTail }), [])?.class).toBe('PREEMPTED');
  });
});

describe('what is no failure', () => {
  test('has no diagnosis, whatever its log says', () => {
    const stderrTail = 'CUDA out of memory';
    for (const state of ['SUBMITTING', 'PENDING', 'RUNNING', 'COMPLETED', 'REVOKED'] as const) expect(diagnoseFailure(left({ state, stderrTail }), [])).toBeNull();
    expect(diagnoseFailure(left({ state: 'CANCELLED', reason: 'cancelled: by user id 1000', stderrTail }), [])).toBeNull();
  });

  test('a job that root ended without a word is shown as such', () => {
    expect(diagnoseFailure(left({ state: 'CANCELLED', reason: 'cancelled: by user id 0' }), [])).toMatchObject({ class: 'CANCELLED', evidence: 'cancelled: by user id 0' });
  });

  test('an exit by SIGKILL without evidence is not guessed to be memory', () => {
    expect(diagnoseFailure(left({ exitCode: 137, signal: 9, reason: 'killed by signal 9' }), [])).toMatchObject({ class: 'UNKNOWN', evidence: 'killed by signal 9' });
  });
});

describe('in short a failure', () => {
  const noted = (changes: Partial<FailureEvidence>) => failureNote(diagnoseFailure(left(changes), [])!, left(changes));

  test('is its class and the line that says most, or one of them', () => {
    expect(noted({ stderrTail: 'loss is nan at step 3\n' })).toBe('NAN_LOSS: loss is nan at step 3');
    expect(noted({ stderrTail: 'Traceback\nValueError: bad value\n' })).toBe('ValueError: bad value');
    expect(noted({ exitCode: 127, reason: 'exit code 127' })).toBe('COMMAND_NOT_FOUND');
    expect(noted({ exitCode: 139, signal: 11, reason: 'segmentation fault (signal 11)' })).toBe('CRASHED');
    expect(noted({ stderrTail: `ValueError: ${'x'.repeat(1_000)}` })).toMatch(/^ValueError: x{188}\.\.\.$/);
  });

  test('says nothing where the reason says it already, nor what only the script of the job wrote', () => {
    expect(noted({ exitCode: 3, reason: 'exit code 3', errorText: 'The command ended with exit code 3.\n' })).toBeNull();
    expect(noted({ reason: 'sbatch: error: Batch job submission failed: Invalid account' })).toBeNull();
    expect(noted({ state: 'TIMEOUT', reason: 'the time limit of 5 min was reached', stderrTail: 'DUE TO TIME LIMIT' })).toBeNull();
  });
});

describe('rules of the site', () => {
  const rules: FailureRule[] = [
    { class: 'SITE_RULE', patterns: [/licen[cs]e server .* unreachable/i], advice: 'Ask licences@example.edu.' },
    { class: 'CONTAINER', patterns: [/CUDA out of memory/], exitCodes: [42] },
  ];

  test('come before the built-in text rules and bring their own advice', () => {
    const stderrTail = "License server lic1 is unreachable\nModuleNotFoundError: No module named 'x'\n";
    expect(diagnoseFailure(left({ stderrTail }), rules)).toEqual({ class: 'SITE_RULE', evidence: 'License server lic1 is unreachable', advice: 'Ask licences@example.edu.' });
  });

  test('hold only where all of their conditions do', () => {
    expect(diagnoseFailure(left({ stderrTail: 'CUDA out of memory', exitCode: 42 }), rules)?.class).toBe('CONTAINER');
    expect(diagnoseFailure(left({ stderrTail: 'CUDA out of memory' }), rules)?.class).toBe('CUDA_OUT_OF_MEMORY');
  });

  test('do not overrule what SLURM says', () => {
    expect(diagnoseFailure(left({ state: 'TIMEOUT', stderrTail: 'License server x unreachable' }), rules)?.class).toBe('TIME_LIMIT');
  });
});

test('terminal colours and progress bars do not hide the line', () => {
  const stderrTail = ' 10%|#         |\r 20%|##        |\r\u001b[31mRuntimeError: CUDA out of memory. Tried\u001b[0m\n';
  expect(diagnoseFailure(left({ stderrTail }), [])).toMatchObject({ class: 'CUDA_OUT_OF_MEMORY', evidence: 'RuntimeError: CUDA out of memory. Tried' });
});

test('any text whatever gives a class and bounded evidence, and quickly', () => {
  const text = fc.option(fc.string({ unit: 'binary', maxLength: 20_000 }), { nil: null });
  fc.assert(fc.property(fc.constantFrom(...ATTEMPT_STATES), text, text, text, (state, errorText, stderrTail, stdoutTail) => {
    const failure = diagnoseFailure(left({ state, errorText, stderrTail, stdoutTail }), []);
    return failure === null || (FAILURE_CLASSES.includes(failure.class) && (failure.evidence ?? '').length <= 500);
  }), { numRuns: 100 });
});

test('the most hostile text costs milliseconds, not minutes', () => {
  const lines = ['loss '.repeat(4_000), 'a'.repeat(16_000), 'overlay '.repeat(3_000), 'Error.'.repeat(4_000), ': line '.repeat(3_000), 'env: '.repeat(4_000), 'x\n'.repeat(8_000)];
  const started = performance.now();
  for (const line of lines) diagnoseFailure(left({ errorText: line, stderrTail: line, stdoutTail: line }), []);
  expect(performance.now() - started).toBeLessThan(2_000);
});
