/** The scalars of the schema. A decimal is read as the nearest double; what has none, and an integer that would change, is refused. */
import { GraphQLError, GraphQLScalarType, Kind, type ObjectValueNode, type ValueNode, valueFromASTUntyped } from 'graphql';
import { GraphQLDateTime } from 'graphql-scalars';
import type { Json } from '../domain/job-spec.ts';
import { numberProblem } from './number-text.ts';

/** Above this, JSON.stringify writes an exponent, so the number was meant as floating point. */
const INTEGER_NOTATION_LIMIT = 1e21;

const dateTime = GraphQLDateTime.toConfig();

/** A moment. */
export const DateTime = new GraphQLScalarType<Date, Date>({
  ...dateTime,
  parseValue: (value) => moment(() => dateTime.parseValue(value)),
  parseLiteral: (node, variables) => moment(() => dateTime.parseLiteral(node, variables)),
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
  description: 'Any JSON value. A decimal is read as the nearest 64-bit floating point number; an integer beyond 2^53 and what is too large or too small (`1e999`, `1e-400`) is refused: '
    + 'send it as a string.',
  serialize: (value) => value as Json,
  parseValue: (value) => checkedJson(value),
  parseLiteral: (node, variables) => jsonOfLiteral(node, variables ?? {}),
});

function moment(read: () => Date): Date {
  let time: Date;
  try {
    time = read();
  } catch (error) {
    throw new GraphQLError(`${error instanceof Error ? error.message : String(error)} Write a moment as "2026-01-31T12:00:00Z" or "2026-01-31T12:00:00+01:00"`);
  }
  return inOurEra(time);
}

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

function refused(text: string, problem: string): GraphQLError {
  return new GraphQLError(`the number ${text.slice(0, 50)} ${problem}; send it as a string: "${text.slice(0, 50)}"`);
}

/** A value from the variables: already parsed, so only what survived parsing can be checked. */
function checkedJson(value: unknown): Json {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') {
    const isLostInteger = Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < INTEGER_NOTATION_LIMIT;
    if (!Number.isFinite(value)) throw refused(String(value), 'is no JSON number');
    if (isLostInteger) throw refused(String(value), 'is an integer beyond 2^53 - 1, which a double cannot hold exactly');
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
    case Kind.FLOAT: {
      const problem = numberProblem(node.value);
      if (problem !== null) throw refused(node.value, problem);
      return checkedJson(Number(node.value));
    }
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
