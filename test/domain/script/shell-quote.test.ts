import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UserError } from '../../../src/domain/errors.ts';
import { shellQuote } from '../../../src/domain/script/shell-quote.ts';

function throughShell(values: string[]): string[] {
  const line = `printf '%s\\0' ${values.map(shellQuote).join(' ')}`;
  return execFileSync('/bin/sh', ['-c', line]).toString('utf8').split('\0').slice(0, -1);
}

describe('shellQuote', () => {
  it('carries every value through a real shell unchanged', () => {
    const values = ['', 'plain', "it's", "''", 'a "b"', '$(touch /tmp/x) `id` $HOME', 'two\nlines\n', '\\', "\\'", '-n', '*?[a]', '~', '#', '!x', 'é 雪 🙂', '\t\r'];
    expect(throughShell(values)).toEqual(values);
  });

  it('carries arbitrary unicode through a real shell unchanged', () => {
    const word = fc.string({ unit: 'binary', maxLength: 40 }).filter((text) => !text.includes('\0') && Buffer.from(text).toString() === text);
    fc.assert(fc.property(fc.array(word, { minLength: 1, maxLength: 20 }), (values) => {
      expect(throughShell(values)).toEqual(values);
    }), { numRuns: 30 });
  });

  it('refuses a NUL byte', () => {
    expect(() => shellQuote('a\0b')).toThrow(UserError);
  });
});
