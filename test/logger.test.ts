import { expect, it } from 'vitest';
import { createLogger } from '../src/logger.ts';

function lineOf(level: 'info' | 'warn', write: (logger: ReturnType<typeof createLogger>) => void): Record<string, unknown> | null {
  let text = '';
  write(createLogger(level, { write: (line) => { text += line; } }));
  return text === '' ? null : (JSON.parse(text) as Record<string, unknown>);
}

it('a fact is one JSON line with its time and level', () => {
  expect(lineOf('info', (logger) => logger.info({ jobId: 'a' }, 'submitted')))
    .toEqual({ level: 'info', time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/), jobId: 'a', msg: 'submitted' });
});

it('lines below the level are left out', () => {
  expect(lineOf('warn', (logger) => logger.info('quiet'))).toBeNull();
});

it('secrets never reach a line', () => {
  const secret = 'eg_secret';
  const line = lineOf('info', (logger) => logger.info({
    token: secret, password: secret, headers: { authorization: secret }, request: { headers: { authorization: secret, cookie: secret } }, database: { password: secret },
  }, 'request'));
  expect(JSON.stringify(line)).not.toContain(secret);
});
