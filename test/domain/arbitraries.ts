/** Generated inputs that several domain tests share. */
import fc from 'fast-check';
import type { JobIdentity, Json, JsonObject } from '../../src/domain/job-spec.ts';

const names = fc.stringMatching(/^[a-z][a-z0-9]{0,5}$/);

export const dottedKeys = fc.array(names.filter((name) => name !== 'other'), { minLength: 1, maxLength: 4 }).map((parts) => parts.join('.'));

const scalars: fc.Arbitrary<Json> = fc.oneof(
  fc.constant(null), fc.boolean(), fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true, max: 1e6, min: -1e6 }).map((value) => value + 0), fc.string(),
);

export const jsonValues: fc.Arbitrary<Json> = fc.oneof(scalars, fc.array(scalars, { maxLength: 3 }));

/** Nested configurations that are accepted as they are. */
export const configs: fc.Arbitrary<JsonObject> = fc.letrec<{ config: JsonObject; node: Json }>((tie) => ({
  node: fc.oneof({ depthSize: 'small', withCrossShrink: true }, jsonValues, tie('config')),
  config: fc.dictionary(names, tie('node'), { maxKeys: 4, noNullPrototype: true }),
})).config;

export const identities: fc.Arbitrary<JobIdentity> = fc.record({
  command: fc.array(fc.string(), { minLength: 1, maxLength: 4 }),
  config: configs,
  environment: fc.dictionary(fc.stringMatching(/^[A-Z]{1,4}$/), fc.string(), { maxKeys: 3, noNullPrototype: true }),
  workingDirectory: fc.option(fc.string()),
  codeVersion: fc.option(fc.string()),
});
