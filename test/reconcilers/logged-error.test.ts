import { expect, it } from 'vitest';
import { SubmitError } from '../../src/cluster/executor.ts';
import { TransportError } from '../../src/cluster/transport.ts';
import { createLogger } from '../../src/logger.ts';
import { loggedError } from '../../src/reconcilers/logged-error.ts';

function lineOf(error: unknown): Record<string, unknown> {
  let text = '';
  createLogger('info', { write: (line) => { text += line; } }).warn(loggedError(error), 'failed');
  return JSON.parse(text) as Record<string, unknown>;
}

it('a refusal is logged by its words, once and without a stack', () => {
  const cause = new Error('connect ECONNREFUSED 10.0.0.1:22');
  const line = lineOf(new TransportError('unreachable', `cannot reach me@10.0.0.1: ${cause.message}`, { cause }));
  expect(line).toMatchObject({ reason: 'cannot reach me@10.0.0.1: connect ECONNREFUSED 10.0.0.1:22' });
  expect(line).not.toHaveProperty('err');
  expect(lineOf(new SubmitError('refused', 'sbatch: error: invalid account'))).toMatchObject({ reason: 'sbatch: error: invalid account' });
});

it('a fault of ours is logged with its stack', () => {
  expect(lineOf(new TypeError('x is not a function'))).toMatchObject({ err: { message: 'x is not a function', stack: expect.stringContaining('at ') } });
});
