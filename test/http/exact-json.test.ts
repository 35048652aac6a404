import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UserError } from '../../src/domain/errors.ts';
import { parseExactJson } from '../../src/http/exact-json.ts';

describe('numbers that a double would change are refused by name', () => {
  it.each([
    '1e-400', '-1e-400', '1e999', '-1E+0999', '9007199254740993', '9223372036854775808', '-9223372036854775809', '12345678901234567890',
    '0.' + '0'.repeat(400) + '1', '1' + '0'.repeat(400), '4e-324', '1.23456789e-320', '123456789e-0350', '0.' + '0'.repeat(250) + '1e-99',
  ])('%s', (token) => {
    for (const text of [token, `{"a":{"lr":[1,${token}]}}`, `[ ${token} ]`, `{"a":1,"a":${token}}`]) {
      expect(() => parseExactJson(text)).toThrow(UserError);
      expect(() => parseExactJson(text)).toThrow(token.slice(0, 60));
      expect(() => parseExactJson(text)).toThrow('a string keeps all of it');
    }
  });
});

describe('numbers that survive are taken', () => {
  it.each([
    '0', '-0', '0.0', '0e-400', '1e-05', '1e308', '1e-300', '5e-324', '2.2250738585072014e-308', '9007199254740991', '-9007199254740991',
    '0.1000000000000000055', '0.30000000000000004', '3.141592653589793238462643383279', '1e20', '6.02214076e23', '1' + '.' + '0'.repeat(300),
  ])('%s', (token) => {
    expect(parseExactJson(`{"x":${token}}`)).toEqual({ x: Number(token) });
  });

  it('and so is every finite double as JSON writes it, unless it is an integer beyond 2^53', () => {
    fc.assert(fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
      fc.pre(!(Number.isInteger(value) && /^-?\d+$/.test(JSON.stringify(value)) && !Number.isSafeInteger(value)));
      expect(parseExactJson(JSON.stringify([value]))).toEqual([JSON.parse(JSON.stringify(value))]);
    }), { numRuns: 2000 });
  });
});

describe('everything else is as JSON.parse reads it', () => {
  it('numbers inside strings are text', () => {
    const value = { 'a\\"1e999': 'x 1e-400 "9223372036854775808"', '9007199254740993': ['\\', '1e999'] };
    expect(parseExactJson(JSON.stringify(value))).toEqual(value);
  });

  it('any JSON value comes back', () => {
    fc.assert(fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
      const text = JSON.stringify(value).replace(/(?<![\d.])\d{16,}/g, '1');
      expect(parseExactJson(text)).toEqual(JSON.parse(text));
    }));
  });

  it.each(['', '{', '[1,]', '{"a":01}', '[1e999', 'NaN'])('%j is a syntax error', (text) => {
    expect(() => parseExactJson(text)).toThrow(SyntaxError);
  });
});
