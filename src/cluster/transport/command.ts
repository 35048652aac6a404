import { MAX_OUTPUT_BYTES, type ExecResult } from '../transport.ts';
import { shellQuote } from '../../domain/script/shell-quote.ts';

/** Linux takes at most 128 KiB in one argument, and sshd hands the whole command line to the login shell as one. */
const MAX_COMMAND_BYTES = 120 * 1024;

/** From the request to end (TERM) to the end that cannot be refused (KILL): time for a command to remove its temporary files. */
export const KILL_GRACE_MS = 2000;

/**
 * One command line for a POSIX shell in which every element of argv arrives unchanged. `exec` lets the command replace the shell, so that
 * its exit code and signal are seen as they are. Throws RangeError for an empty or too long argv, UserError for a NUL byte.
 */
export function commandLine(argv: string[]): string {
  if (argv.length === 0 || argv[0] === '') throw new RangeError('a command needs a program to run');
  const line = `exec ${argv.map(shellQuote).join(' ')}`;
  if (Buffer.byteLength(line) > MAX_COMMAND_BYTES) {
    throw new RangeError(`a command of ${Buffer.byteLength(line)} bytes is longer than the ${MAX_COMMAND_BYTES} that can be sent: put the list on its standard input`);
  }
  return line;
}

/** Throws RangeError for a path that is not absolute and UserError for one with a NUL byte. */
export function assertAbsolutePath(path: string): void {
  if (!path.startsWith('/')) throw new RangeError(`not an absolute path: ${JSON.stringify(path)}`);
  shellQuote(path);
}

/** What a command prints, up to a bound on both streams together. */
export class OutputCollector {
  readonly maxBytes: number;
  readonly #chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  #byteCount = 0;

  constructor(maxBytes: number = MAX_OUTPUT_BYTES) {
    this.maxBytes = maxBytes;
  }

  /** False once there is more than the bound; what is over is not kept. */
  add(stream: 'stdout' | 'stderr', chunk: Buffer): boolean {
    this.#byteCount += chunk.length;
    if (this.#byteCount > this.maxBytes) return false;
    this.#chunks[stream].push(chunk);
    return true;
  }

  result(exitCode: number | null, signal: string | null): ExecResult {
    return { exitCode, signal, stdout: Buffer.concat(this.#chunks.stdout), stderr: Buffer.concat(this.#chunks.stderr) };
  }
}

/** The last of a text that comes in pieces. */
export class TextTail {
  static readonly #LIMIT = 4096;
  #text = '';

  add(chunk: Buffer): void {
    this.#text = (this.#text + chunk.toString('utf8')).slice(-TextTail.#LIMIT);
  }

  text(): string {
    return this.#text;
  }
}
