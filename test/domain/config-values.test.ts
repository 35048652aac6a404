import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  configLeaves, formatOverrideValue, getDotted, nestDottedKeys, setAllDotted, setDotted, validateConfig,
} from '../../src/domain/config-values.ts';
import { UserError } from '../../src/domain/errors.ts';
import { configs, dottedKeys, jsonValues } from './arbitraries.ts';

const LIMITS = { maxConfigBytes: 1_000_000 };
const messages = (config: unknown) => validateConfig(config, ['config'], LIMITS).map((fault) => `${fault.field.join('/')}: ${fault.message}`);

describe('config leaves', () => {
  it('are dotted keys in sorted order, with lists and empty objects as single values', () => {
    expect(configLeaves({ b: [1, { x: 2 }], a: { d: {}, c: null } })).toEqual([
      { key: 'a.c', value: null }, { key: 'a.d', value: {} }, { key: 'b', value: [1, { x: 2 }] },
    ]);
  });

  it('rebuild the configuration they came from', () => {
    fc.assert(fc.property(configs, (config) => {
      const rebuilt = configLeaves(config).reduce((built, { key, value }) => setDotted(built, key, value), {});
      expect(rebuilt).toEqual(config);
    }));
  });

  it('do not depend on whether keys are dotted or nested', () => {
    fc.assert(fc.property(configs, (config) => {
      const dotted = Object.fromEntries(configLeaves(config).map(({ key, value }) => [key, value]));
      expect(nestDottedKeys(dotted)).toEqual(config);
      expect(configLeaves(dotted)).toEqual(configLeaves(config));
      expect(validateConfig(dotted, [], LIMITS)).toEqual([]);
    }));
  });
});

describe('dotted keys', () => {
  it('read back what was set and leave the old configuration as it was', () => {
    fc.assert(fc.property(dottedKeys, jsonValues, (key, value) => {
      const before = { other: { x: 1 } };
      const after = setDotted(before, key, value);
      expect(getDotted(after, key)).toEqual(value);
      expect(before).toEqual({ other: { x: 1 } });
      expect(getDotted(after, 'other.x')).toBe(1);
    }));
  });

  it('are set in time that grows with their number only', () => {
    const flat = Object.fromEntries(Array.from({ length: 100_000 }, (_, index) => [`key${index}`, index]));
    const started = performance.now();
    expect(Object.keys(nestDottedKeys({ ...flat, 'a.b': 1, 'a.c': 2 }))).toHaveLength(100_001);
    // Under half a second; it was minutes when each value copied all others.
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  it('share what does not change, and never a copy with the old configuration', () => {
    const before = { kept: { x: 1 }, changed: { y: 1, deep: {} } };
    const after = setAllDotted(before, [{ key: 'changed.z', value: 2 }, { key: 'changed.deep.w', value: 3 }, { key: 'changed.y', value: 4 }]);
    expect(after).toEqual({ kept: { x: 1 }, changed: { y: 4, deep: { w: 3 }, z: 2 } });
    expect(before).toEqual({ kept: { x: 1 }, changed: { y: 1, deep: {} } });
    expect(after['kept']).toBe(before.kept);
    expect(Object.getPrototypeOf(setAllDotted({}, [{ key: '__proto__.polluted', value: 1 }]))).toBe(Object.prototype);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it('cannot be set below a plain value, but below null', () => {
    expect(() => setDotted({ optim: 3 }, 'optim.lr', 1)).toThrow(UserError);
    expect(() => setDotted({ optim: [3] }, 'optim.0', 1)).toThrow('"optim" is a plain value');
    expect(setDotted({ optim: null }, 'optim.lr', 1)).toEqual({ optim: { lr: 1 } });
  });

  it('do not reach what an object inherits', () => {
    expect(getDotted({}, 'constructor.name')).toBeUndefined();
    expect(getDotted({}, '__proto__.toString')).toBeUndefined();
  });
});

describe('override values', () => {
  it.each([
    ["it's $(x)", "it's $(x)"], [0.1, '0.1'], [1e-7, '1e-7'], [null, 'null'], [true, 'true'], [[1, 'a'], '[1,"a"]'], [{ a: 1 }, '{"a":1}'],
  ])('writes %j as %s', (value, written) => expect(formatOverrideValue(value)).toBe(written));
});

describe('validating a configuration', () => {
  it('takes quotes, newlines, shell syntax, unicode, 1e-300 and large text as they are', () => {
    const config = { a: 'quote\'"\n`$(rm -rf ~)`\\', b: 'ünï😀', c: 1e-300, d: 1e300, e: 'x'.repeat(900_000), f: { g: [[]] } };
    expect(messages(config)).toEqual([]);
  });

  it.each([
    ['a\0b', 'NUL'], ['\uD800', 'surrogate'], [Number.NaN, 'not a finite number'], [Infinity, 'not a finite number'],
    [2 ** 63, 'pass it as a string'], [undefined, 'is undefined'], [10n, 'is bigint'],
  ])('refuses the value %s and says where', (value, reason) => {
    expect(messages({ optim: { lr: [1, value] } })).toEqual([expect.stringMatching(new RegExp(`^config/optim/lr/1: .*${reason}`))]);
  });

  it.each([
    [{ '': 1 }, 'empty part'], [{ 'a..b': 1 }, 'empty part'], [{ 'a\0': 1 }, 'NUL'], [JSON.parse('{"__proto__": 1}'), '__proto__'],
  ])('refuses the key of %j', (config, reason) => expect(messages(config)).toEqual([expect.stringContaining(reason)]));

  it.each([
    [{ 'a.b': 1, 'a': { b: 2 } }, 'given twice'],
    [{ 'a': 1, 'a.b': 2 }, 'both a value and a group'],
    [{ 'a.b': 1, 'a.b.c': 2 }, 'both a value and a group'],
    [{ 'a': { 'b-': 1 }, 'a.b-.c': 2 }, 'both a value and a group'],
  ])('refuses the ambiguity of %j', (config, reason) => expect(messages(config)).toEqual([expect.stringContaining(reason)]));

  it('refuses anything but an object', () => {
    for (const value of [null, 1, 'a', [1]]) expect(messages(value)).toEqual([expect.stringContaining('must be an object')]);
  });

  it('refuses nesting without end and too many bytes, with the numbers', () => {
    const deep = JSON.parse(`${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`);
    expect(messages(deep)).toEqual([expect.stringContaining('more than 32 levels')]);
    expect(messages({ a: 'x'.repeat(1_000_001) })).toEqual([expect.stringMatching(/1000009 bytes.*limit is 1000000/)]);
  });

  it('names many faults, but not without end', () => {
    const faults = messages({ a: Array.from({ length: 1000 }, () => Number.NaN) });
    expect(faults.length).toBeGreaterThan(5);
    expect(faults.length).toBeLessThanOrEqual(20);
  });
});
