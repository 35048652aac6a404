import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { slug } from '../../src/domain/slug.ts';

describe('slug', () => {
  it.each([
    ['resnet sweep', 'resnet-sweep'],
    ['Größe/é', 'Gro-e-e'],
    ['../../etc/passwd', 'etc-passwd'],
    ['-rf ~', 'rf'],
    ['.hidden', 'hidden'],
    ['v1.2_a', 'v1.2_a'],
    ['$(rm -rf ~)', 'rm--rf'],
  ])('makes %j into %j', (text, expected) => expect(slug(text)).toBe(expected));

  it('tells names without any ASCII apart', () => {
    expect(slug('实验一')).toMatch(/^x[0-9a-f]{8}$/);
    expect(slug('实验一')).not.toBe(slug('实验二'));
  });

  it('is a safe directory name of bounded length for any text, and its own slug', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), fc.integer({ min: 1, max: 80 }), (text, maxLength) => {
      const name = slug(text, maxLength);
      expect(name).toMatch(/^[A-Za-z0-9_][A-Za-z0-9._-]*$/);
      expect(name.length).toBeLessThanOrEqual(maxLength);
      expect(slug(name, maxLength)).toBe(name);
    }));
  });
});
