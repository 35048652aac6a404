/** Logging: one JSON line a fact on standard error (standard output is for the line that says the server is ready). */
import { destination, pino, stdTimeFunctions } from 'pino';
import type { DestinationStream, Logger } from 'pino';
import type { LogLevel } from './environment.ts';

export type { Logger } from 'pino';

const SECRET_FIELDS = ['authorization', 'Authorization', 'cookie', 'token', 'password', 'passphrase', 'databaseUrl'];
/** Secrets are left out at the top of a line and up to two objects down (`request.headers.authorization`). */
const REDACTED_PATHS = SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]);

/** @param stream where lines go instead of standard error */
export function createLogger(level: LogLevel, stream: DestinationStream = destination({ dest: 2, sync: true })): Logger {
  return pino({
    level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: REDACTED_PATHS, censor: '[redacted]' },
  }, stream);
}
