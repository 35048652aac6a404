/** The transport: how bytes and commands reach a machine. Knows nothing of SLURM. One contract suite runs over all of them. */

/** Default of `maxOutputBytes`: the listing of a queue of 100,000 tasks is a tenth of it. */
export const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

/** Default of `timeoutMs`: slower than any healthy login node, and short enough that a hung file system does not hold a channel for long. */
export const DEFAULT_TIMEOUT_MS = 120_000;

export interface ExecOptions {
  /** Written to the command's standard input, which is then closed. */
  stdin?: string | Buffer;
  /** Counted from when the command is sent; then it is ended (TERM, soon after KILL) and the call is `interrupted`. Default DEFAULT_TIMEOUT_MS. */
  timeoutMs?: number;
  /** More output than this ends the command with an error. Default MAX_OUTPUT_BYTES. */
  maxOutputBytes?: number;
}

export interface ExecResult {
  /** Null when the command was ended by a signal. */
  exitCode: number | null;
  signal: string | null;
  stdout: Buffer;
  stderr: Buffer;
}

/** How a stream ended. */
export interface StreamEnd {
  /** Null when the command was ended by a signal, and when its end was not seen. */
  exitCode: number | null;
  signal: string | null;
  /** The last of what it wrote to standard error. */
  stderr: string;
  /** Why the end of the command itself was not seen: the connection was lost, or our side closed the stream. Else null. */
  lost: string | null;
}

/**
 * A command that runs for as long as it is wanted. The command must end by itself when its standard input ends: that is all it
 * learns when our process is killed or the connection drops.
 */
export interface CommandStream {
  /** Standard output as it comes; what is not taken holds the command back. Ends with the stream, however that ends. To be read once. */
  stdout: AsyncIterable<Buffer>;
  /** Resolves when more may be written. Rejects with TransportError `interrupted` when the stream has ended. */
  write(text: string): Promise<void>;
  /** Always resolves. */
  ended: Promise<StreamEnd>;
  /** Ends the command's input, then the command (TERM, soon after KILL); resolves when it is over. */
  close(): Promise<void>;
}

export interface FileEntry {
  path: string;
  kind: 'file' | 'directory' | 'link' | 'other';
  sizeBytes: number;
  inode: string;
  modifiedAt: Date;
  /** What a link points at, as written; null for anything else. */
  linkTarget: string | null;
}

export interface ListRequest {
  /** Absolute directories; one that does not exist yields nothing. */
  directories: string[];
  /** 1 lists the directory's own entries, 2 those of its children too, ... Links are not followed. */
  maxDepth: number;
  /** Listing stops here, and `truncated` says so. */
  maxEntries: number;
}

export interface Listing {
  entries: FileEntry[];
  /** There are more entries than were asked for. */
  truncated: boolean;
  /** Those of the directories in or below which something could not be read: what is not listed of them may still be there. */
  unreadable: string[];
}

export interface ReadRange {
  path: string;
  offsetBytes: number;
  maxBytes: number;
}

/**
 * Every method rejects with a TransportError when the machine could not be asked (not reachable, refused, timed out, closed).
 * A command that ran and failed is not an error: it is an ExecResult.
 */
export interface Transport {
  /**
   * Runs argv in no particular directory; no shell ever interprets its elements (a transport that must pass through one quotes each).
   * As a shell says it: exit code 127 for a command that does not exist, 126 for one that may not be run. All of argv is at most 120 KiB.
   */
  exec(argv: string[], options?: ExecOptions): Promise<ExecResult>;
  /**
   * Starts a long-running command under the same rules as `exec`, of which one runs at a time: RangeError while another does. It takes one
   * of the channels for as long as it lasts and never the last one: where there is no second, this rejects with NoChannelError,
   * and a stream that turns out to hold the only channel that the machine opens is ended (`lost` says so).
   */
  stream(argv: string[]): Promise<CommandStream>;
  /** Writes a file whole or not at all (a sibling temporary file, then a rename), making its directory. FileError when the machine cannot. */
  put(path: string, content: Buffer): Promise<void>;
  /** Reads many ranges in O(1) round trips; null where the file does not exist or cannot be read. Shorter at the end of a file. */
  read(ranges: ReadRange[]): Promise<(Buffer | null)[]>;
  /** Lists many directories in O(1) round trips. */
  list(request: ListRequest): Promise<Listing>;
  close(): Promise<void>;
}

/**
 * - `unreachable`: no connection (refused, no route, name not found, connection lost before the command was sent)
 * - `authentication`: the key or agent was not accepted
 * - `host-key`: the host's key is unknown or changed; the message has the fingerprint and the command that accepts it
 * - `interrupted`: the connection was lost or the time ran out after the command was sent: it may or may not have run
 * - `output-limit`: the command printed more than allowed
 */
export type TransportFailure = 'unreachable' | 'authentication' | 'host-key' | 'interrupted' | 'output-limit';

export class TransportError extends Error {
  readonly failure: TransportFailure;
  constructor(failure: TransportFailure, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'TransportError';
    this.failure = failure;
  }
}

/** Nothing was sent, by a rule of our own: the machine did not answer before, or the loops that ask it are to end. */
export class NotTriedError extends TransportError {
  constructor(message: string) {
    super('unreachable', message);
    this.name = 'NotTriedError';
  }
}

/** There is a connection, but no channel of it for a stream beside those of commands. Says nothing about whether the machine can be reached. */
export class NoChannelError extends TransportError {
  constructor(message: string, options?: ErrorOptions) {
    super('unreachable', message, options);
    this.name = 'NoChannelError';
  }
}

/** The machine answered, and said that it cannot: no permission, quota, disk full, no GNU find. The message has the path and its words. */
export class FileError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'FileError';
  }
}
