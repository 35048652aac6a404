/** What a failed statement means to whoever called; the SQL and its parameters stay here. */
import { UserError } from '../domain/errors.ts';

/** Failures to reach the server at all, as Node reports them. */
const NETWORK_CODES: ReadonlySet<string> = new Set([
  'ECONNREFUSED', 'ECONNRESET', 'ENOENT', 'ENOTFOUND', 'EAI_AGAIN', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH',
]);
/** pg reports a connection that broke or never came only in words. */
const CONNECTION_WORDS = /^(Connection terminated|Query read timeout|timeout exceeded when trying to connect|Client has encountered a conn|Client was closed|Cannot use a pool after)/;

/**
 * The UserError that a database failure is to a caller, or null when it is none the caller can act on (a bug).
 * Looks through wrapped errors; never repeats SQL, parameters or addresses.
 */
export function asDatabaseError(error: unknown): UserError | null {
  for (const cause of causesOf(error)) {
    if (cause instanceof UserError) return cause;
    const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
    const known = byCode(code) ?? (CONNECTION_WORDS.test(cause.message) ? unavailable() : null);
    if (known !== null) return known;
  }
  return null;
}

/** The SQLSTATE of a failed statement, or null. */
export function sqlStateOf(error: unknown): string | null {
  for (const cause of causesOf(error)) {
    if ('code' in cause && typeof cause.code === 'string' && /^[0-9A-Z]{5}$/.test(cause.code)) return cause.code;
  }
  return null;
}

/** Whether the database stopped the statement because it took too long. */
export function isTimeout(error: unknown): boolean {
  return sqlStateOf(error) === '57014';
}

function byCode(code: string): UserError | null {
  // 08: connection exceptions. 57P: the server is shutting down, crashed or starting. 53300: too many connections. 25P03: we were too slow for it.
  if (/^(08|57P)/.test(code) || code === '53300' || code === '25P03' || NETWORK_CODES.has(code)) return unavailable();
  switch (code) {
    case '57014': return UserError.of('LIMIT_EXCEEDED', 'the database stopped this request because it took too long; ask for less at once');
    case '40001':
    case '40P01': return UserError.of('CONFLICT', 'another request changed the same rows at the same time; try again');
    case '53100':
    case '53200': return UserError.of('DATABASE_UNAVAILABLE', 'the database server is out of disk space or memory');
    case '25006': return UserError.of('DATABASE_UNAVAILABLE', 'the database is read-only at the moment; try again later');
    case '22P05':
    case '22021': return UserError.of('BAD_USER_INPUT', 'a text holds a character that cannot be stored (a NUL or an unpaired surrogate)');
    default: return null;
  }
}

function unavailable(): UserError {
  return UserError.of('DATABASE_UNAVAILABLE', 'the database cannot be reached at the moment; try again later');
}

function* causesOf(error: unknown): Generator<Error> {
  const seen = new Set<unknown>();
  for (let current = error; current instanceof Error && !seen.has(current); current = current.cause) {
    seen.add(current);
    yield current;
    // A connection tried on several addresses fails with one error for each.
    if (current instanceof AggregateError) yield* current.errors.filter((each) => each instanceof Error);
  }
}
