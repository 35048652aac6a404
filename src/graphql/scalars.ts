/** The scalars of the schema. Numbers that JavaScript cannot hold exactly are refused, never rounded. */
import { GraphQLError, GraphQLScalarType, Kind, type ObjectValueNode, type ValueNode, valueFromASTUntyped } from 'graphql';
import { GraphQLDateTime } from 'graphql-scalars';
import { isSafeNumber } from 'lossless-json';
import type { Json } from '../domain/job-spec.ts';

/** Above this, JSON.stringify writes an exponent, so the number was meant as floating point. */
const INTEGER_NOTATION_LIMIT = 1e21;

const dateTime = GraphQLDateTime.toConfig();

/** A moment. */
export const DateTime = new GraphQLScalarType<Date, Date>({
  ...dateTime,
  parseValue: (value) => inOurEra(dateTime.parseValue(value)),
  parseLiteral: (node, variables) => inOurEra(dateTime.parseLiteral(node, variables)),
  name: 'DateTime',
  description: 'A moment as an ISO 8601 text with a time zone, such as `2026-01-31T12:00:00.000Z`. Always given in UTC.',
  specifiedByURL: 'https://scalars.graphql.org/andimarek/date-time',
  extensions: {},
});

/** A 64-bit integer within what a double holds exactly. */
export const Long = new GraphQLScalarType<number, number>({
  name: 'Long',
  description: 'An integer from -(2^53 - 1) to 2^53 - 1. A larger one is refused, because JSON numbers do not carry it exactly.',
  serialize: (value) => safeInteger(value),
  parseValue: (value) => safeInteger(value),
  parseLiteral: (node) => {
    if (node.kind !== Kind.INT) throw new GraphQLError('a Long is an integer', { nodes: node });
    return safeInteger(Number(node.value), node.value);
  },
});

/** Any JSON value. */
export const JSONValue = new GraphQLScalarType<Json, Json>({
  name: 'JSON',
  description: 'Any JSON value. A number that a double does not hold exactly (an integer beyond 2^53, `1e-400`, more than 17 digits) is refused: '
    + 'send it as a string.',
  serialize: (value) => value as Json,
  parseValue: (value) => checkedJson(value),
  parseLiteral: (node, variables) => jsonOfLiteral(node, variables ?? {}),
});

/** Postgres has no year 0 and writes the years before it in a way of its own. */
function inOurEra(time: Date): Date {
  if (time.getUTCFullYear() < 1 || time.getUTCFullYear() > 9999) throw new GraphQLError(`${time.toISOString()} is not within the years 1 to 9999 of UTC`);
  return time;
}

function safeInteger(value: unknown, text = String(value)): number {
  const number = typeof value === 'bigint' ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isInteger(number)) throw new GraphQLError(`a Long is an integer, not ${text.slice(0, 50)}`);
  if (!Number.isSafeInteger(number)) throw new GraphQLError(`${text.slice(0, 50)} is beyond 2^53, where JSON numbers stop being exact; use a value from -(2^53 - 1) to 2^53 - 1`);
  return number;
}

function inexact(text: string): GraphQLError {
  return new GraphQLError(`the number ${text.slice(0, 50)} cannot be kept exactly as a 64-bit floating point number; send it as a string: "${text.slice(0, 50)}"`);
}

/** A value from the variables: already parsed, so only what survived parsing can be checked. */
function checkedJson(value: unknown): Json {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') {
    const isLostInteger = Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < INTEGER_NOTATION_LIMIT;
    if (!Number.isFinite(value) || isLostInteger) throw inexact(String(value));
    return value;
  }
  if (Array.isArray(value)) return value.map(checkedJson);
  if (typeof value === 'object' && value !== undefined) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, checkedJson(item)]));
  }
  throw new GraphQLError(`${typeof value} is no JSON value`);
}

function jsonOfLiteral(node: ValueNode, variables: Record<string, unknown>): Json {
  switch (node.kind) {
    case Kind.INT:
    case Kind.FLOAT:
      if (!isSafeNumber(node.value)) throw inexact(node.value);
      return Number(node.value);
    case Kind.LIST: return node.values.map((item) => jsonOfLiteral(item, variables));
    case Kind.OBJECT: return objectOfLiteral(node, variables);
    case Kind.VARIABLE: return checkedJson(variables[node.name.value] ?? null);
    case Kind.ENUM: throw new GraphQLError(`${node.value} is no JSON value; write "${node.value}" for a text`, { nodes: node });
    default: return valueFromASTUntyped(node) as Json;
  }
}

function objectOfLiteral(node: ObjectValueNode, variables: Record<string, unknown>): Json {
  return Object.fromEntries(node.fields.map((field) => [field.name.value, jsonOfLiteral(field.value, variables)]));
}
