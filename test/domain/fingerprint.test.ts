import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fingerprint } from '../../src/domain/fingerprint.ts';
import type { JobIdentity, Json } from '../../src/domain/job-spec.ts';
import { isJsonObject } from '../../src/domain/config-values.ts';
import { identities } from './arbitraries.ts';

const BASE: JobIdentity = {
  command: ['python', 'train.py', '{overrides}'], config: { optim: { lr: 0.1 }, seed: 1 }, environment: { A: '1', B: '2' }, workingDirectory: null, codeVersion: null,
};

/** The same value with the members of every object in reverse order. */
function reversed<T extends Json>(value: T): T {
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(Object.entries(value).toReversed().map(([key, member]) => [key, reversed(member)])) as T;
}

describe('fingerprint', () => {
  it('is the same in every version, because stored jobs are compared with it', () => {
    expect(fingerprint(BASE)).toBe('6d31e8f9ea26a591202095e945a3be373690715820de1dec6f5f9b1db01b9093');
  });

  it('does not depend on the order of keys', () => {
    fc.assert(fc.property(identities, (identity) => {
      expect(fingerprint({ ...identity, config: reversed(identity.config), environment: reversed(identity.environment) })).toBe(fingerprint(identity));
    }));
  });

  it('survives being written as JSON and read again, so that -0 is 0', () => {
    fc.assert(fc.property(identities, (identity) => {
      expect(fingerprint(JSON.parse(JSON.stringify(identity)))).toBe(fingerprint(identity));
    }));
    expect(fingerprint({ ...BASE, config: { x: -0 } })).toBe(fingerprint({ ...BASE, config: { x: 0 } }));
  });

  it('differs whenever the identities differ', () => {
    fc.assert(fc.property(identities, identities, (one, other) => {
      const same = JSON.stringify(sorted(one)) === JSON.stringify(sorted(other));
      expect(fingerprint(one) === fingerprint(other)).toBe(same);
    }));
  });

  it.each<[string, Partial<JobIdentity>]>([
    ['a value', { config: { optim: { lr: 0.2 }, seed: 1 } }],
    ['the type of a value', { config: { optim: { lr: '0.1' }, seed: 1 } }],
    ['the place of a value', { config: { lr: 0.1, seed: 1 } }],
    ['an argument', { command: ['python', 'train.py'] }],
    ['how arguments are cut', { command: ['python', 'train.py {overrides}'] }],
    ['a variable', { environment: { A: '1', B: '3' } }],
    ['the working directory', { workingDirectory: '/scratch' }],
    ['the code', { codeVersion: 'abc' }],
  ])('changes with %s', (_, change) => expect(fingerprint({ ...BASE, ...change })).not.toBe(fingerprint(BASE)));
});

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, member]) => [key, sorted(member)]));
}
