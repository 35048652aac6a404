/**
 * Reading JSON without changing its numbers. JSON.parse turns 1e-400 into 0, 1e999 into Infinity and 2^63 into another
 * integer, all silently; here such a number is refused by name. A long decimal such as 0.1000000000000000055 is read as
 * the nearest double, as every program reads it.
 */
import { parse } from 'lossless-json';
import { UserError } from '../domain/errors.ts';
import { numberProblem } from '../graphql/number-text.ts';

/**
 * What every number that JSON.parse would change looks like: 16 digits before the point, an exponent of three digits,
 * or 200 digits after the point. It may match inside a string or a harmless number: then the exact reading decides.
 */
const SUSPICIOUS = /(?<![\d.])\d{16}|\d[eE][+-]?0*[1-9]\d\d|\.\d{200}/;
/** Far beyond any input: configurations may be 32 levels deep. */
const MAX_DEPTH = 100;
const SHOWN_CHARACTERS = 60;

function checkNumber(token: string): number {
  const reason = numberProblem(token);
  if (reason === null) return Number(token);
  const shown = token.length > SHOWN_CHARACTERS ? `${token.slice(0, SHOWN_CHARACTERS)}...` : token;
  throw UserError.of('BAD_USER_INPUT', `the number ${shown} ${reason}; where any JSON value is taken, a string keeps all of it`);
}

/** Level by level, because a recursion would end where the stack does. */
function isDeeperThan(value: unknown, depth: number): boolean {
  let level: unknown[] = [value];
  for (let reached = 0; level.length > 0; reached += 1) {
    if (reached > depth) return true;
    level = level.flatMap((each) => (typeof each === 'object' && each !== null ? Object.values(each).filter((child) => typeof child === 'object' && child !== null) : []));
  }
  return false;
}

/**
 * The value of a JSON text.
 * @throws UserError BAD_USER_INPUT naming the first number that does not survive, or when it is nested too deeply
 * @throws SyntaxError when the text is not JSON
 */
export function parseExactJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  if (isDeeperThan(value, MAX_DEPTH)) {
    throw UserError.of('BAD_USER_INPUT', `the request is nested too deeply to be read: lists and objects may lie ${MAX_DEPTH} levels deep`);
  }
  if (SUSPICIOUS.test(text)) parse(text, null, { parseNumber: checkNumber, onDuplicateKey: ({ newValue }) => newValue });
  return value;
}
