import { getIntrospectionQuery, parse, validate } from 'graphql';
import { describe, expect, it } from 'vitest';
import { buildSubgraph } from '../../src/graphql/build-schema.ts';
import type { Viewer } from '../../src/graphql/context.ts';
import { checkOperation, DEFAULT_OPERATION_LIMITS } from '../../src/graphql/limits.ts';

const schema = buildSubgraph();
const READER: Viewer = { tokenName: 'notebook', scopes: ['read'] };
const WRITER: Viewer = { tokenName: 'bot', scopes: ['write'] };

function check(query: string, over: { viewer?: Viewer | null; variables?: Record<string, unknown>; operationName?: string; maxDepth?: number; maxCost?: number } = {}) {
  const { viewer = READER, variables, operationName, ...limits } = over;
  const document = parse(query);
  expect(validate(schema, document)).toEqual([]);
  return checkOperation({ schema, document, operationName, variables, viewer, limits: { ...DEFAULT_OPERATION_LIMITS, ...limits } })
    .map((error) => ({ code: error.extensions['code'], message: error.message }));
}

describe('access', () => {
  it('needs a token', () => {
    expect(check('{ viewer { tokenName } }', { viewer: null })).toMatchObject([{ code: 'UNAUTHENTICATED', message: expect.stringContaining('Authorization: Bearer') }]);
  });

  it('needs the scope of the operation that runs', () => {
    const both = 'query q { viewer { tokenName } } mutation m { cancelJobs(input: {ids: []}) { changedCount } }';
    expect(check(both, { operationName: 'q' })).toEqual([]);
    expect(check(both, { operationName: 'm' })).toMatchObject([{ code: 'FORBIDDEN', message: expect.stringContaining('"write"') }]);
    expect(check(both, { operationName: 'm', viewer: WRITER })).toEqual([]);
    expect(check('subscription { jobEvents { cursor } }', { viewer: WRITER })).toMatchObject([{ code: 'FORBIDDEN', message: expect.stringContaining('"read"') }]);
  });
});

describe('depth', () => {
  it('counts through fragments and says both numbers', () => {
    const query = 'query { job(id: "1") { ...F } } fragment F on Job { experiment { ... on Experiment { jobs { nodes { experiment { id } } } } } }';
    expect(check(query, { maxDepth: 6 })).toEqual([]);
    expect(check(query, { maxDepth: 5 })).toEqual([{ code: 'LIMIT_EXCEEDED', message: expect.stringMatching(/6 fields deep, over the limit of 5/) }]);
  });

  it('refuses what goes round in circles', () => {
    const nested = (levels: number): string => (levels === 0 ? 'id' : `experiment { jobs(first: 1) { nodes { ${nested(levels - 1)} } } }`);
    expect(check(`{ job(id: "1") { ${nested(6)} } }`)).toMatchObject([{ code: 'LIMIT_EXCEEDED' }]);
  });

  it('lets tools introspect', () => {
    expect(check(getIntrospectionQuery({ descriptions: true, inputValueDeprecation: true, specifiedByUrl: true }))).toEqual([]);
    const aliases = Array.from({ length: 300 }, (_, index) => `a${index}: __schema { types { fields { args { type { name } } } } }`);
    expect(check(`{ ${aliases.join(' ')} }`)).toMatchObject([{ code: 'LIMIT_EXCEEDED', message: expect.stringContaining('over the limit') }]);
  });
});

describe('cost', () => {
  it('multiplies by the size of each page', () => {
    const query = 'query ($n: Int) { jobs(first: $n) { nodes { id name } } }';
    expect(check(query, { variables: { n: 10 }, maxCost: 31 })).toEqual([]);
    expect(check(query, { variables: { n: 10 }, maxCost: 30 })).toEqual([{ code: 'LIMIT_EXCEEDED', message: expect.stringMatching(/cost of 31, over the limit of 30/) }]);
    expect(check(query, { variables: { n: 20 }, maxCost: 31 })).toMatchObject([{ message: expect.stringContaining('cost of 61') }]);
  });

  it('counts default page sizes, nested pages, assumed sizes and fragments', () => {
    expect(check('{ jobs { nodes { id } } }', { maxCost: 100 })).toMatchObject([{ message: expect.stringContaining('cost of 101') }]);
    expect(check('{ experiments(first: 10) { nodes { jobs(first: 10) { nodes { attempts { ...A } } } } } } fragment A on Attempt { id }', { maxCost: 1 }))
      .toMatchObject([{ message: expect.stringContaining(`cost of ${1 + 10 * (1 + (1 + 10 * (1 + (1 + 3))))}`) }]);
  });

  it('counts type names, which are values as any other', () => {
    const names = Array.from({ length: 500 }, (_, index) => `a${index}: __typename`).join(' ');
    expect(check(`{ experiments(first: 500) { nodes { jobs(first: 500) { nodes { ${names} } } } } }`)).toMatchObject([{ code: 'LIMIT_EXCEEDED' }]);
  });

  it('counts the references of a gateway', () => {
    const query = 'query ($r: [_Any!]!) { _entities(representations: $r) { ... on Job { id name } } }';
    const variables = { r: Array.from({ length: 100 }, (_, id) => ({ __typename: 'Job', id })) };
    expect(check(query, { variables, maxCost: 200 })).toMatchObject([{ message: expect.stringContaining('cost of 201') }]);
  });

  it('lets a hundred jobs with all their details pass', () => {
    expect(check(`{ jobs(first: 100) { nodes { id experiment { name } sweep { id } attempts { number script } checkpoints { path metrics { key value } }
      metrics { key steps values last { checkpoint { path } } } result { metrics } bestCheckpoint { path } cluster { name } } } }`)).toEqual([]);
  });

  it('leaves a variable of the wrong type to the executor', () => {
    expect(check('query ($n: Int) { jobs(first: $n) { nodes { id } } }', { variables: { n: 'many' } }).map(({ message }) => message)).not.toEqual([expect.stringContaining('undefined')]);
  });
});
