/**
 * Lists and reads over the channel of a watch: a small look then costs the machine no process of its own, nor us a round trip for each. What is
 * large, or comes while there is no channel, goes by commands as ever. The answers are the same.
 */
import type { FileEntry, Listing, ListRequest, ReadRange, Transport } from '../transport.ts';

type Files = Pick<Transport, 'list' | 'read'>;

/** More directories or bytes than this would keep the program from its watch. */
const MOST = { directories: 250, entries: 20_000, ranges: 1_000, bytes: 512 * 1024 };
/** A file system that is slower than this is asked by commands, which are waited for longer. */
const ANSWER_MS = 5_000;

interface Question {
  rows: unknown[];
  settle: (rows: unknown[] | null) => void;
}

export class ChannelFiles implements Files {
  readonly #fallback: Files;
  readonly #questions = new Map<number, Question>();
  #tell: ((message: object) => void) | null = null;
  #nextId = 1;

  constructor(fallback: Files) {
    this.#fallback = fallback;
  }

  /** The channel is there. */
  open(tell: (message: object) => void): void {
    this.#tell = tell;
  }

  /** The channel is gone: what was asked over it is asked otherwise. */
  close(): void {
    this.#tell = null;
    for (const { settle } of this.#questions.values()) settle(null);
  }

  take(id: number, rows: unknown[], isLast: boolean): void {
    const question = this.#questions.get(id);
    question?.rows.push(...rows);
    if (isLast) question?.settle(question.rows);
  }

  async list(request: ListRequest): Promise<Listing> {
    const isSmall = request.directories.length > 0 && request.directories.length <= MOST.directories;
    const most = Math.min(request.maxEntries, MOST.entries) + 1;
    const answer = isSmall ? await this.#ask({ list: request.directories, depth: request.maxDepth, most }) : null;
    const rows = answer?.filter((row): row is EntryRow => !isUnreadableRow(row)) ?? null;
    if (answer === null || rows === null || (rows.length > MOST.entries && request.maxEntries > MOST.entries)) return this.#fallback.list(request);
    return {
      entries: rows.slice(0, request.maxEntries).map(entryOf), truncated: rows.length > request.maxEntries,
      unreadable: answer.filter(isUnreadableRow).map(([directory]) => directory),
    };
  }

  async read(ranges: ReadRange[]): Promise<(Buffer | null)[]> {
    const bytes = ranges.reduce((sum, range) => sum + range.maxBytes, 0);
    const isSmall = ranges.length > 0 && ranges.length <= MOST.ranges && bytes <= MOST.bytes;
    const rows = isSmall ? await this.#ask({ read: ranges.map(({ path, offsetBytes, maxBytes }) => [path, offsetBytes, maxBytes]) }) : null;
    if (rows === null || rows.length !== ranges.length) return this.#fallback.read(ranges);
    return rows.map((row) => (typeof row === 'string' ? Buffer.from(row, 'base64') : null));
  }

  /** Null when there is no answer, or not in time. */
  async #ask(question: object): Promise<unknown[] | null> {
    if (this.#tell === null) return null;
    const id = this.#nextId++;
    const tell = this.#tell;
    return new Promise((resolve) => {
      const timer = setTimeout(() => settle(null), ANSWER_MS);
      const settle = (rows: unknown[] | null): void => {
        clearTimeout(timer);
        this.#questions.delete(id);
        resolve(rows);
      };
      this.#questions.set(id, { rows: [], settle });
      tell({ ask: id, ...question });
    });
  }
}

type EntryRow = [path: string, kind: FileEntry['kind'], sizeBytes: number, inode: string, modifiedAtMs: number, linkTarget: string | null];

/** A directory alone: something in or below it could not be read. */
function isUnreadableRow(row: unknown): row is [directory: string] {
  return Array.isArray(row) && row.length === 1;
}

function entryOf([path, kind, sizeBytes, inode, modifiedAtMs, linkTarget]: EntryRow): FileEntry {
  return { path, kind, sizeBytes, inode, modifiedAt: new Date(modifiedAtMs), linkTarget };
}
