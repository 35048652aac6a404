/** The transport: how bytes and commands reach a machine. Knows nothing of SLURM. One contract suite runs over all of them. */

export interface ExecOptions {
  /** Written to the command's standard input, which is then closed. */
  stdin?: string | Buffer;
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
  /** Runs argv; no shell ever interprets its elements (a transport that must pass through one quotes each). */
  exec(argv: string[], options?: ExecOptions): Promise<ExecResult>;
  /** Writes a file whole or not at all (a sibling temporary file, then a rename), making its directory. */
  put(path: string, content: Buffer): Promise<void>;
  /** Reads many ranges in O(1) round trips; null where the file does not exist or cannot be read. Shorter at the end of a file. */
  read(ranges: ReadRange[]): Promise<(Buffer | null)[]>;
  /** Lists many directories in O(1) round trips. */
  list(request: ListRequest): Promise<{ entries: FileEntry[]; truncated: boolean }>;
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
