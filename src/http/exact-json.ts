/**
 * Reading JSON without changing its numbers. JSON.parse turns 1e-400 into 0, 1e999 into Infinity and 2^63 into another
 * integer, all silently; here such a number is refused by name. A long decimal such as 0.1000000000000000055 is read as
 * the nearest double, as every program reads it.
 */
import { UnsafeNumberReason, getUnsafeNumberReason, parse } from 'lossless-json';
import { UserError } from '../domain/errors.ts';

/**
 * What every number that JSON.parse would change looks like: 16 digits before the point, an exponent of three digits,
 * or 200 digits after the point. It may match inside a string or a harmless number: then the exact reading decides.
 */
const SUSPICIOUS = /(?<![\d.])\d{16}|\d[eE][+-]?0*[1-9]\d\d|\.\d{200}/;
/** Below this a double has fewer digits than usual, and none that were written can be relied on. */
const SMALLEST_NORMAL = 2 ** -1022;
const SHOWN_CHARACTERS = 60;

function reasonToRefuse(token: string): string | null {
  switch (getUnsafeNumberReason(token)) {
    case undefined: return null;
    case UnsafeNumberReason.overflow: return 'is larger than any double (about 1.8e308)';
    case UnsafeNumberReason.underflow: return 'would become 0, the smallest double is about 4.9e-324';
    case UnsafeNumberReason.truncate_integer: return 'is an integer beyond 2^53 - 1, which a double cannot hold exactly';
    case UnsafeNumberReason.truncate_float: return Math.abs(Number(token)) < SMALLEST_NORMAL ? 'is so close to 0 that a double would lose its digits' : null;
  }
}

function checkNumber(token: string): number {
  const reason = reasonToRefuse(token);
  if (reason === null) return Number(token);
  const shown = token.length > SHOWN_CHARACTERS ? `${token.slice(0, SHOWN_CHARACTERS)}...` : token;
  throw UserError.of('BAD_USER_INPUT', `the number ${shown} ${reason}; send it as a string`);
}

function checkNumbers(text: string): void {
  try {
    parse(text, null, { parseNumber: checkNumber, onDuplicateKey: ({ newValue }) => newValue });
  } catch (error) {
    // Unlike JSON.parse, this reader goes as deep as the text.
    if (error instanceof RangeError) throw UserError.of('LIMIT_EXCEEDED', 'the request is nested too deeply to be read');
    throw error;
  }
}

/**
 * The value of a JSON text.
 * @throws UserError BAD_USER_INPUT naming the first number that does not survive, LIMIT_EXCEEDED when it is nested too deeply
 * @throws SyntaxError when the text is not JSON
 */
export function parseExactJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  if (SUSPICIOUS.test(text)) checkNumbers(text);
  return value;
}
