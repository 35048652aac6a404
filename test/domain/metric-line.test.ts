import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseMetricLine } from '../../src/domain/metric-line.ts';

const NOW = new Date('2026-05-01T12:00:00.000Z');

function read(line: string, nextStep = 0) {
  const parsed = parseMetricLine(line, { nextStep, now: NOW });
  if (!parsed.ok) throw new Error(parsed.reason);
  return { ...parsed, values: Object.fromEntries(parsed.values.map(({ key, value }) => [key, value])) };
}

function reason(line: string): string | null {
  const parsed = parseMetricLine(line, { nextStep: 0, now: NOW });
  return parsed.ok ? null : parsed.reason;
}

describe('the values of a metric line', () => {
  it('are its numbers, nested keys joined; strings, booleans, nulls and lists are ignored', () => {
    expect(read('{"step": 3, "loss": 0.5, "a": {"b": {"c": 1}, "d": "x"}, "ok": true, "none": null, "hist": [1, 2]}').values)
      .toEqual({ 'loss': 0.5, 'a/b/c': 1 });
  });

  it('carry the phase in front, but not twice, and not in front of the epoch', () => {
    expect(read('{"step": 1, "epoch": 2, "phase": "val", "loss": 1, "val/acc": 2}').values).toEqual({ 'val/loss': 1, 'val/acc': 2, 'epoch': 2 });
  });

  it('may be what Python writes for numbers that are not finite, outside of strings only', () => {
    expect(read('{"step": 1, "a": NaN, "b": Infinity, "c": -Infinity, "NaN": 4, "s": "x\\"NaN, -Infinity", "d": {"e":NaN}}').values)
      .toEqual({ 'a': NaN, 'b': Infinity, 'c': -Infinity, 'NaN': 4, 'd/e': NaN });
    expect(reason('{"a": NaNs}')).toBe('is not valid JSON');
    expect(reason('{"a": Infinity')).toBe('is not valid JSON');
    expect(reason('NaN')).toBe('is not a JSON object');
  });

  it('hold no key twice', () => {
    const parsed = parseMetricLine('{"step": 1, "a/b": 1, "a": {"b": 2}}', { nextStep: 0, now: NOW });
    expect(parsed).toMatchObject({ values: [{ key: 'a/b', value: 2 }] });
  });

  it('are what was logged, for any numbers', () => {
    const keys = fc.stringMatching(/^[a-z_]{1,10}$/).filter((key) => !['step', 'epoch', 'phase', 'time', 'timestamp'].includes(key));
    fc.assert(fc.property(fc.dictionary(keys, fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0), { noNullPrototype: true }), fc.nat(), (values, step) => {
      expect(read(JSON.stringify({ step, ...values }))).toMatchObject({ step, values, nextStep: step + 1 });
    }));
  });
});

describe('the step of a metric line', () => {
  it('is step, else a whole epoch, else the running number', () => {
    expect(read('{"step": 7, "epoch": 1, "loss": 1}')).toMatchObject({ step: 7, values: { epoch: 1, loss: 1 } });
    expect(read('{"epoch": 4, "loss": 1}')).toMatchObject({ step: 4, values: { loss: 1 } });
    expect(read('{"step": null, "loss": 1}', 9)).toMatchObject({ step: 9, nextStep: 10 });
    expect(read('{"epoch": 1.5, "loss": 1}', 9)).toMatchObject({ step: 9, values: { epoch: 1.5, loss: 1 } });
    expect(read('{"step": 3.0, "loss": 1}').step).toBe(3);
  });

  it('goes on after the greatest step named, and is not used up by a line without numbers', () => {
    expect(read('{"step": 100, "loss": 1}', 5).nextStep).toBe(101);
    expect(read('{"step": 2, "loss": 1}', 50).nextStep).toBe(50);
    expect(read('{"note": "x"}', 5)).toMatchObject({ values: {}, nextStep: 5 });
  });

  it.each([
    ['{"step": 1.5}', 'has a step that is not a whole number'], ['{"step": "5"}', 'has a step that is not a whole number'], ['{"step": NaN}', 'has a step that is not a whole number'],
    ['{"step": -1}', 'has a negative step'], ['{"step": 9007199254740993}', 'has a step beyond 9007199254740991, where whole numbers are no longer exact'],
    ['{"step": 1e400}', 'has a step that is not a whole number'],
  ])('is refused in %s', (line, expected) => expect(reason(line)).toBe(expected));

  it('may be the greatest exact one', () => {
    expect(read('{"step": 9007199254740991, "a": 1}')).toMatchObject({ step: Number.MAX_SAFE_INTEGER, nextStep: Number.MAX_SAFE_INTEGER });
  });
});

describe('the time of a metric line', () => {
  it.each([
    ['"2026-01-02T03:04:05Z"', '2026-01-02T03:04:05.000Z'],
    ['"2026-01-02T03:04:05.123456+02:00"', '2026-01-02T01:04:05.123Z'],
    ['"2026-01-02 03:04:05,5"', '2026-01-02T03:04:05.500Z'],
    ['"2026-01-02T03:04-0530"', '2026-01-02T08:34:00.000Z'],
    ['1767322800.25', '2026-01-02T03:00:00.250Z'],
    ['1767322800250', '2026-01-02T03:00:00.250Z'],
    ['"yesterday"', NOW.toISOString()],
    ['"0000-06-01T00:00:00Z"', NOW.toISOString()],
    ['"2026-13-45T00:00:00Z"', NOW.toISOString()],
    ['null', NOW.toISOString()],
  ])('%s is %s', (time, expected) => {
    for (const key of ['time', 'timestamp']) {
      expect(read(`{"step": 1, "${key}": ${time}, "loss": 1}`)).toMatchObject({ time: new Date(expected), values: { loss: 1 } });
    }
  });

  it('is now where time is a duration, which is then a metric', () => {
    expect(read('{"step": 1, "time": 12.5}')).toMatchObject({ time: NOW, values: { time: 12.5 } });
  });
});

describe('a bad metric line', () => {
  it.each([
    ['', 'is not valid JSON'], ['{"a": 1', 'is not valid JSON'], ['[1]', 'is not a JSON object'], ['null', 'is not a JSON object'], ['5', 'is not a JSON object'],
    [`{"a": NaN, "b": "${'\\\\'.repeat(300_000)}`, 'is not valid JSON'],
  ])('says why: %.30s', (line, expected) => expect(reason(line)).toBe(expected));

  it.each([
    ['"": 1', 'has an empty key'], ['"a": {"": 1}', 'has an empty key'],
    [`"${'k'.repeat(257)}": 1`, 'has a key of more than 256 characters'],
    ['"a\\u0000": 1', 'has a key that contains a NUL byte, which neither a program nor the database can take; remove it'],
    ['"\\ud800": 1', 'has a key that contains half of a surrogate pair, which is not valid Unicode; remove or replace it'],
    [`"deep": ${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`, 'is nested more than 16 levels deep'],
  ])('loses only the value that cannot be taken: %.30s', (member, expected) => {
    expect(read(`{"step": 7, "before": 1, ${member}, "after": {"it": 2}}`)).toMatchObject({ step: 7, values: { 'before': 1, 'after/it': 2 }, refused: [expected] });
  });

  it('may hold 10,000 numbers', () => {
    const values = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`metric "number" ${index}/größe.зеркало`, index]));
    expect(read(JSON.stringify({ step: 1, ...values })).values).toEqual(values);
  });

  it('never throws, whatever it holds', () => {
    fc.assert(fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.json(), fc.json().map((text) => text.replace('1', 'NaN'))), (line) => {
      expect(typeof parseMetricLine(line, { nextStep: 0, now: NOW }).ok).toBe('boolean');
    }));
  });
});
