import { GraphQLList, GraphQLObjectType, GraphQLSchema, graphqlSync } from 'graphql';
import { describe, expect, it } from 'vitest';
import { DateTime, JSONValue, Long } from '../../src/graphql/scalars.ts';

const schema = new GraphQLSchema({
  query: new GraphQLObjectType({
    name: 'Query',
    fields: {
      json: { type: JSONValue, args: { value: { type: JSONValue } }, resolve: (_, { value }) => value },
      jsons: { type: new GraphQLList(JSONValue), args: { value: { type: new GraphQLList(JSONValue) } }, resolve: (_, { value }) => value },
      long: { type: Long, args: { value: { type: Long } }, resolve: (_, { value }) => value },
      time: { type: DateTime, args: { value: { type: DateTime } }, resolve: (_, { value }) => value },
    },
  }),
});

function literal(field: string, value: string): unknown {
  const result = graphqlSync({ schema, source: `{ ${field}(value: ${value}) }` });
  return result.errors ? result.errors[0]!.message : JSON.parse(JSON.stringify(result.data))[field];
}

function variable(field: string, type: string, value: unknown): unknown {
  const result = graphqlSync({ schema, source: `query ($v: ${type}) { ${field}(value: $v) }`, variableValues: { v: value } });
  return result.errors ? result.errors[0]!.message : JSON.parse(JSON.stringify(result.data))[field];
}

describe('JSON', () => {
  const values = [0, -0.1, 1e-7, 1.5e300, 9007199254740991, 'quote " \' $(rm -rf ~) `x` \n ü 🎉', true, null, [], [1, [null]], {}, { a: { 'b.c': [1, 'x'] } }];

  it.each(values)('carries %j as a variable', (value) => {
    expect(variable('json', 'JSON', value)).toEqual(value);
  });

  it('carries lists with nulls in them', () => {
    expect(variable('jsons', '[JSON]', [1, null, { a: null }])).toEqual([1, null, { a: null }]);
  });

  it.each([
    ['0.1', 0.1], ['1e-7', 1e-7], ['-12', -12], ['9007199254740991', 9007199254740991], ['1.50', 1.5], ['0.10000000000000000555', 0.1], ['3.14159265358979323846264338', Math.PI], ['"x"', 'x'], ['true', true], ['null', null],
    ['[1, [null]]', [1, [null]]], ['{a: {b: 1}}', { a: { b: 1 } }], ['{__proto__: {x: 1}, a: 2}', JSON.parse('{"__proto__":{"x":1},"a":2}')],
  ])('carries the literal %s', (text, value) => {
    expect(JSON.stringify(literal('json', text))).toBe(JSON.stringify(value));
  });

  it.each(['1e-400', '1e400', '9007199254740993', '9223372036854775808', '-1e-330', '{a: [1e-400]}'])(
    'refuses the literal %s rather than rounding it', (text) => {
      expect(literal('json', text)).toMatch(/(double|2\^53).*; send it as a string/);
    });

  it.each([2 ** 63, -(2 ** 53), { a: [2 ** 60] }])('refuses the integer %j that lost its last digits on the way', (value) => {
    expect(variable('json', 'JSON', value)).toMatch(/send it as a string/);
  });

  it('takes a variable inside a literal', () => {
    const result = graphqlSync({ schema, source: 'query ($v: JSON) { json(value: {a: [$v]}) }', variableValues: { v: { b: 1 } } });
    expect(JSON.parse(JSON.stringify(result.data))).toEqual({ json: { a: [{ b: 1 }] } });
  });
});

describe('Long', () => {
  it.each([0, -1, 2 ** 40, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER])('carries %i', (value) => {
    expect(variable('long', 'Long', value)).toBe(value);
    expect(literal('long', String(value))).toBe(value);
  });

  it('says why it refuses a larger one', () => {
    expect(variable('long', 'Long', 2 ** 53)).toMatch(/9007199254740992 is beyond 2\^53/);
    expect(literal('long', '9007199254740993')).toMatch(/9007199254740993 is beyond 2\^53/);
  });

  it.each([1.5, '1', null, true])('refuses %j unless it is null', (value) => {
    expect(variable('long', 'Long', value)).toEqual(value === null ? null : expect.stringContaining('a Long is an integer'));
  });
});

describe('DateTime', () => {
  it('is given in UTC with milliseconds', () => {
    expect(literal('time', '"2026-01-31T12:00:00+02:00"')).toBe('2026-01-31T10:00:00.000Z');
  });

  it.each(['"0000-12-31T23:59:59Z"', '"0001-01-01T00:00:00+01:00"', '"9999-12-31T23:59:59-01:00"'])('refuses %s, which the database cannot hold or give back', (text) => {
    expect(literal('time', text)).toEqual(expect.stringContaining('not within the years 1 to 9999'));
  });

  it.each(['"yesterday"', '"2026-02-30T00:00:00Z"', '"2026-01-01"', '5'])('refuses %s', (text) => {
    expect(literal('time', text)).toEqual(expect.stringMatching(/2026-01-31T12:00:00Z/));
  });
});
