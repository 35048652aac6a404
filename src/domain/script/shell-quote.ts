import { textProblem } from '../config-values.ts';
import { UserError } from '../errors.ts';

/**
 * A word that any POSIX shell reads back byte for byte. Throws UserError for what no argument can carry: a NUL byte, or
 * half of a surrogate pair.
 */
export function shellQuote(value: string): string {
  const problem = textProblem(value);
  if (problem !== null) throw UserError.of('BAD_USER_INPUT', problem);
  return `'${value.replaceAll("'", `'\\''`)}'`;
}

/** The same for bash. sbatch refuses a script with a carriage return before a newline, so those are written as `$'\r'`. */
export function bashQuote(value: string): string {
  return value.split('\r').map(shellQuote).join(`$'\\r'`);
}
